"""Labelled clips: a folder of audio with a labels.csv (file, labels, absent, kind, source), and any table's sound.

`labels` sound, `absent` do not ('|'-separated), every other cell is unknown and masked. Windows of one recording
share their `source` but for a trailing '@12s'; split and bootstrap by it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from instrec_live.models.errors import InputFileError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import SAMPLE_RATE, log_mel
from instrec_live.training.datasets.rows import Row, read_rows
from instrec_live.training.datasets.sounds import load
from instrec_live.training.datasets.table import Table

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Clips:
    """files [n]; truth and mask float32 [n, 20]; recording [n]; solo bool [n]; log_mels n times float32 [128, T]."""

    files: list[str]
    truth: FloatArray
    mask: FloatArray
    recording: NDArray[np.str_]
    solo: NDArray[np.bool_]
    log_mels: list[FloatArray]


def read_clips(folder: Path) -> Clips:
    """Read labels and the log-mels of the (at most) first 10 s of every clip.

    Raises:
        InputFileError: no labels.csv, a missing column, an unknown instrument, or an unreadable clip.
    """
    table, rows = _read_labels(folder)
    solo = np.array([row["kind"] == "solo" for row in rows], bool) & (table.labels.sum(1) == 1)
    mels = [log_mel(_whole(load(path))) for path in table.paths]
    return Clips([row["file"] for row in rows], table.labels, table.mask, table.group, solo, mels)


def read_clip_table(folder: Path) -> Table:
    """The clips of such a folder, unheard: source "clips", split "valid", group the recording.

    Raises:
        InputFileError: no labels.csv, a missing column, or an unknown instrument.
    """
    return _read_labels(folder)[0]


def clips_of(table: Table, *, quiet: bool = False) -> Clips:
    """Any table's clips with the log-mels of their (at most) first 10 s, to validate on; solo are the clips of which it
    is known that one instrument sounds and no other. A progress bar shows on a terminal, unless `quiet`.

    Raises:
        InputFileError: a clip is missing, unreadable, empty, or has samples that are no finite numbers.
    """
    mels = [log_mel(_whole(load(path))) for path in tqdm(table.paths, unit="clip", leave=False, disable=quiet or None)]
    solo = (table.labels.sum(1) == 1) & table.mask.all(1)
    return Clips([str(path) for path in table.paths], table.labels, table.mask, table.group, solo, mels)


def _read_labels(folder: Path) -> tuple[Table, list[Row]]:
    path = folder / "labels.csv"
    numbered = read_rows(path, ("file", "labels", "absent", "kind", "source"))[1]
    labels = np.zeros((len(numbered), len(INSTRUMENTS)), np.float32)
    mask = np.zeros_like(labels)
    for i, (line, row) in enumerate(numbered):
        for field, value in (("absent", 0.0), ("labels", 1.0)):
            for name in filter(None, row[field].split("|")):
                if name not in INSTRUMENTS:
                    raise InputFileError(f"{path}, line {line}: unknown instrument {name!r}")
                labels[i, INSTRUMENTS.index(name)], mask[i, INSTRUMENTS.index(name)] = value, 1.0
    rows = [row for _, row in numbered]
    table = Table(
        tuple(folder / row["file"] for row in rows),
        np.full(len(rows), "clips"),
        np.array([re.sub(r"\s*@\d+s$", "", row["source"]) for row in rows], np.str_),
        np.full(len(rows), "valid"),
        labels,
        mask,
    )
    return table, rows


def _whole(samples: FloatArray) -> FloatArray:
    """At most 10 s; at least 2 s, silence added."""
    samples = samples[: 10 * SAMPLE_RATE]
    return np.pad(samples, (0, max(0, 2 * SAMPLE_RATE - len(samples))))
