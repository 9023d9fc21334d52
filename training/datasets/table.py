"""Labelled sound of any origin in one shape: a table with one row a clip, kept as a csv file.

Columns: path (relative paths are relative to the csv's folder), source, group, split, then y_<instrument> and
m_<instrument> for each of the 20. y is 1 where the instrument sounds, 0 where it does not; m is 1 where that is known
and 0 where nobody said. A masked cell's y means nothing. Other columns are let be.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.errors import InputFileError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.datasets.rows import Row, read_rows
from instrec_live.training.staging import staged_file

FloatArray = NDArray[np.float32]
StringArray = NDArray[np.str_]

SPLITS = ("train", "valid", "test", "")
COLUMNS = ("path", "source", "group", "split", *(f"{kind}_{name}" for kind in "ym" for name in INSTRUMENTS))


@dataclass(frozen=True, eq=False)
class Table:
    """Labelled clips.

    Attributes:
        paths: the audio files, n of them.
        source: str [n], which data set or generator a clip comes from, e.g. "openmic", "synthetic".
        group: str [n], the recording or artist: clips of one group stay on one side of every split, fold and bootstrap.
        split: str [n], "train", "valid", "test", or "" where that is undecided.
        labels: float32 [n, 20] in 0…1.
        mask: float32 [n, 20], 1 where the label is known.
    """

    paths: tuple[Path, ...]
    source: StringArray
    group: StringArray
    split: StringArray
    labels: FloatArray
    mask: FloatArray

    def __post_init__(self) -> None:
        shape = (len(self.paths), len(INSTRUMENTS))
        assert self.labels.shape == self.mask.shape == shape
        assert self.source.shape == self.group.shape == self.split.shape == shape[:1]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> "Table":
        """Some of the rows, in the order given."""
        chosen = np.arange(len(self))[rows]
        return Table(
            tuple(self.paths[i] for i in chosen),
            self.source[chosen],
            self.group[chosen],
            self.split[chosen],
            self.labels[chosen],
            self.mask[chosen],
        )

    def of(self, *splits: str) -> "Table":
        """The rows of these splits."""
        return self[np.isin(self.split, splits)]

    def resplit(self, split: Sequence[str] | StringArray) -> "Table":
        """The same clips, split anew; str [n]."""
        return Table(self.paths, self.source, self.group, np.array(split, np.str_), self.labels, self.mask)

    @staticmethod
    def join(tables: Iterable["Table"]) -> "Table":
        """All rows, one table after another."""
        parts = list(tables)
        return Table(
            tuple(path for table in parts for path in table.paths),
            np.concatenate([table.source for table in parts]),
            np.concatenate([table.group for table in parts]),
            np.concatenate([table.split for table in parts]),
            np.concatenate([table.labels for table in parts]),
            np.concatenate([table.mask for table in parts]),
        )


def read_table(path: Path) -> Table:
    """Read a table's csv.

    Raises:
        InputFileError: not found, a column is missing, an unknown instrument, or a value that does not belong.
    """
    header, rows = read_rows(path, COLUMNS)
    for column in header:
        if column[:2] in ("y_", "m_") and column not in COLUMNS:
            raise InputFileError(f"{path}: unknown instrument {column[2:]!r}")
    labels = np.zeros((len(rows), len(INSTRUMENTS)), np.float32)
    mask = np.zeros_like(labels)
    for i, (line, row) in enumerate(rows):
        if not row["path"]:
            raise InputFileError(f"{path}, line {line}: path is empty")
        if row["split"] not in SPLITS:
            raise InputFileError(f"{path}, line {line}: split {row['split']!r} is none of train, valid, test")
        for c, name in enumerate(INSTRUMENTS):
            labels[i, c] = _number(path, line, f"y_{name}", row, whole=False)
            mask[i, c] = _number(path, line, f"m_{name}", row, whole=True)
    return Table(
        tuple(path.parent / row["path"] for _, row in rows),
        np.array([row["source"] for _, row in rows], np.str_),
        np.array([row["group"] for _, row in rows], np.str_),
        np.array([row["split"] for _, row in rows], np.str_),
        labels,
        mask,
    )


def _number(path: Path, line: int, column: str, row: Row, whole: bool) -> float:
    try:
        value = float(row[column])
    except (TypeError, ValueError):
        value = float("nan")
    if not 0 <= value <= 1 or (whole and value not in (0, 1)):
        raise InputFileError(
            f"{path}, line {line}: {column} must be {'0 or 1' if whole else '0 to 1'}, not {row[column]!r}"
        )
    return value


def write_table(path: Path, table: Table) -> None:
    """Write a table's csv, whole or not at all; paths become relative to its folder where they lie under it."""
    base = path.parent.resolve()
    with staged_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(COLUMNS)
        for i, clip in enumerate(table.paths):
            place = clip.resolve()
            shown = place.relative_to(base) if place.is_relative_to(base) else place
            writer.writerow(
                [shown.as_posix(), table.source[i], table.group[i], table.split[i],
                 *(f"{y:g}" for y in table.labels[i]), *(f"{m:g}" for m in table.mask[i])]
            )  # fmt: skip


def check_audio(table: Table, where: str) -> None:
    """See that every clip's file is there.

    Raises:
        InputFileError: some are not; says how many, and names the first.
    """
    missing = [path for path in table.paths if not path.is_file()]
    if missing:
        raise InputFileError(f"{where}: {len(missing)} of {len(table)} clips are not there, the first is {missing[0]}")
