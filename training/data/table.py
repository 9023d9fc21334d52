"""Labelled clips of any origin in one format: a table with one row per clip, kept as a csv file.

Columns: path (relative paths are relative to the csv's folder), source, group, split, then y_<instrument> and
m_<instrument> for each of the 20. y is 1 where the instrument sounds, 0 where it does not; m is 1 where that is known,
0 where it is not labelled. A masked cell's y has no meaning. Columns some_<family> may follow: 1 where at least one
instrument of the family is known to sound, whichever. Other columns are ignored.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.arrays import FloatArray, StringArray
from instrec_live.models.errors import InputFileError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.staging import exclusive_file

Row = dict[str, str]


def read_rows(path: Path, columns: Sequence[str]) -> tuple[list[str], list[tuple[int, Row]]]:
    """The header of a csv file, and every row with the number of its last line.

    Raises:
        InputFileError: no such file, no csv file, one of `columns` is missing, or a row is not as long as the header.
    """
    if not path.is_file():
        raise InputFileError(f"{path}: not found")
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            header = list(reader.fieldnames or [])
            for column in columns:
                if column not in header:
                    raise InputFileError(f"{path}: column {column!r} is missing")
            return header, list(_complete_rows(path, reader))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputFileError(f"{path}: not a csv file: {error}") from error


def _complete_rows(path: Path, reader: "csv.DictReader[str]") -> Iterator[tuple[int, Row]]:
    for row in reader:
        if None in row.values():
            raise InputFileError(f"{path}, line {reader.line_num}: shorter than the header")
        if any(row.pop(None, ())):  # csv keeps what has no column under None
            raise InputFileError(f"{path}, line {reader.line_num}: longer than the header", "quote cells with commas")
        yield reader.line_num, row


# What is often said of music without saying more. That all of a family are absent needs no such label.
FAMILIES: dict[str, tuple[str, ...]] = {
    "brass": ("trombone", "trumpet"),
    "keyboards": ("accordion", "organ", "piano", "synthesizer"),
    "percussion": ("cymbals", "drums", "mallet_percussion"),
    "plucked": ("banjo", "guitar", "mandolin", "ukulele"),
    "strings": ("bass", "cello", "violin"),
    "woodwind": ("clarinet", "flute", "saxophone"),
}
SPLITS = ("train", "valid", "test", "")
COLUMNS = ("path", "source", "group", "split", *(f"{kind}_{name}" for kind in "ym" for name in INSTRUMENTS))


@dataclass(frozen=True, eq=False)
class Table:
    """Labelled clips.

    Attributes:
        paths: the audio files, n of them.
        source: str [n], the data set or generator of a clip, e.g. "openmic", "synthetic".
        group: str [n], the recording or artist: clips of one group stay on one side of every split, fold and bootstrap.
        split: str [n], "train", "valid", "test", or "" if undecided.
        labels: float32 [n, 20] in 0…1.
        mask: float32 [n, 20], 1 where the label is known.
        some: float32 [n, 6], 1 where some instrument of one of the FAMILIES sounds, whichever; without it, 0.
        licence: str [n], of each clip, as its data set states it; "" where it is not stated.
    """

    paths: tuple[Path, ...]
    source: StringArray
    group: StringArray
    split: StringArray
    labels: FloatArray
    mask: FloatArray
    some: FloatArray = field(default_factory=lambda: np.zeros((0, len(FAMILIES)), np.float32))
    licence: StringArray = field(default_factory=lambda: np.array([], np.str_))

    def __post_init__(self) -> None:
        if not len(self.some):
            object.__setattr__(self, "some", np.zeros((len(self.paths), len(FAMILIES)), np.float32))
        if not len(self.licence):
            object.__setattr__(self, "licence", np.full(len(self.paths), ""))
        assert self.some.shape == (len(self.paths), len(FAMILIES))
        shape = (len(self.paths), len(INSTRUMENTS))
        assert self.labels.shape == self.mask.shape == shape
        assert self.source.shape == self.group.shape == self.split.shape == self.licence.shape == shape[:1]

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
            self.some[chosen],
            self.licence[chosen],
        )

    def of(self, *splits: str) -> "Table":
        """The rows of these splits."""
        return self[np.isin(self.split, splits)]

    def resplit(self, split: Sequence[str] | StringArray) -> "Table":
        """The same clips with another split, str [n]."""
        return replace(self, split=np.array(split, np.str_))

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
            np.concatenate([table.some for table in parts]),
            np.concatenate([table.licence for table in parts]),
        )


def read_table(path: Path) -> Table:
    """Read a table's csv.

    Raises:
        InputFileError: not found, a column is missing, an unknown instrument, or an invalid value.
    """
    header, rows = read_rows(path, COLUMNS)
    for column in header:
        if column[:2] in ("y_", "m_") and column not in COLUMNS:
            raise InputFileError(f"{path}: unknown instrument {column[2:]!r}")
        if column.startswith("some_") and column[5:] not in FAMILIES:
            raise InputFileError(f"{path}: unknown family {column[5:]!r}, none of {', '.join(FAMILIES)}")
    labels = np.zeros((len(rows), len(INSTRUMENTS)), np.float32)
    mask = np.zeros_like(labels)
    some = np.zeros((len(rows), len(FAMILIES)), np.float32)
    for i, (line, row) in enumerate(rows):
        if not row["path"]:
            raise InputFileError(f"{path}, line {line}: path is empty")
        if row["split"] not in SPLITS:
            raise InputFileError(f"{path}, line {line}: split {row['split']!r} is not train, valid or test")
        for c, name in enumerate(INSTRUMENTS):
            labels[i, c] = _number(path, line, f"y_{name}", row, whole=False)
            mask[i, c] = _number(path, line, f"m_{name}", row, whole=True)
        for c, family in enumerate(FAMILIES):
            if f"some_{family}" in row:
                some[i, c] = _number(path, line, f"some_{family}", row, whole=True)
    return Table(
        tuple(path.parent / row["path"] for _, row in rows),
        np.array([row["source"] for _, row in rows], np.str_),
        np.array([row["group"] for _, row in rows], np.str_),
        np.array([row["split"] for _, row in rows], np.str_),
        labels,
        mask,
        some,
        np.array([row.get("licence") or "" for _, row in rows], np.str_),
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
    """Write a table's csv completely or not at all; paths below its folder become relative to it. Families and licences
    are further columns, if there are any."""
    base = path.parent.resolve()
    with exclusive_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        families = [family for c, family in enumerate(FAMILIES) if table.some[:, c].any()]
        licensed = bool((table.licence != "").any())
        writer.writerow([*COLUMNS, *(f"some_{family}" for family in families), *(["licence"] * licensed)])
        columns = [list(FAMILIES).index(family) for family in families]
        for i, clip in enumerate(table.paths):
            place = clip.resolve()
            shown = place.relative_to(base) if place.is_relative_to(base) else place
            numbers = np.concatenate([table.labels[i], table.mask[i], table.some[i, columns]])
            texts = [shown.as_posix(), table.source[i], table.group[i], table.split[i]]
            writer.writerow([*texts, *(f"{number:g}" for number in numbers), *([table.licence[i]] * licensed)])


def label_row(labels: Iterable[str], absent: Iterable[str]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Labels and mask float32 [20], and families float32 [6], of a clip from its labels ("piano", "some brass") and
    what is absent.

    Raises:
        ValueError: an instrument or family that is not known; its text is the name.
    """
    values, known = np.zeros(len(INSTRUMENTS), np.float32), np.zeros(len(INSTRUMENTS), np.float32)
    some = np.zeros(len(FAMILIES), np.float32)
    for names, value in ((absent, 0.0), (labels, 1.0)):
        for name in names:
            if value and (family := name.removeprefix("some ")) != name and family in FAMILIES:
                some[list(FAMILIES).index(family)] = 1.0
            elif name in INSTRUMENTS:
                values[INSTRUMENTS.index(name)], known[INSTRUMENTS.index(name)] = value, 1.0
            else:
                raise ValueError(name)
    return values, known, some


def check_audio(table: Table, where: str) -> None:
    """Check that every clip's file exists.

    Raises:
        InputFileError: some do not.
    """
    missing = [path for path in table.paths if not path.is_file()]
    if missing:
        raise InputFileError(f"{where}: {len(missing)} of {len(table)} clips are missing, the first is {missing[0]}")
