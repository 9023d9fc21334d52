"""Labelled clips: a folder of audio with a labels.csv (file, labels, absent, kind, source).

`labels` sound, `absent` do not ('|'-separated), every other cell is unknown and masked. Windows of one recording
share their `source` but for a trailing '@12s'; split and bootstrap by it.
"""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.errors import InputFileError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import SAMPLE_RATE, log_mel
from instrec_live.training.datasets.sounds import load

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
        InputFileError: no labels.csv, an unknown instrument, or an unreadable clip.
    """
    table = folder / "labels.csv"
    if not table.is_file():
        raise InputFileError(f"{table}: not found")
    with table.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    truth = np.zeros((len(rows), len(INSTRUMENTS)), np.float32)
    mask = np.zeros_like(truth)
    for i, row in enumerate(rows):
        for field, value in (("absent", 0.0), ("labels", 1.0)):
            for name in filter(None, row[field].split("|")):
                if name not in INSTRUMENTS:
                    raise InputFileError(f"{table}, line {i + 2}: unknown instrument {name!r}")
                truth[i, INSTRUMENTS.index(name)], mask[i, INSTRUMENTS.index(name)] = value, 1.0
    recording = np.array([re.sub(r"\s*@\d+s$", "", row["source"]) for row in rows])
    solo = np.array([row["kind"] == "solo" for row in rows]) & (truth.sum(1) == 1)
    mels = [log_mel(_whole(load(folder / row["file"]))) for row in rows]
    return Clips([row["file"] for row in rows], truth, mask, recording, solo, mels)


def _whole(samples: FloatArray) -> FloatArray:
    """At most 10 s; at least 2 s, silence added."""
    samples = samples[: 10 * SAMPLE_RATE]
    return np.pad(samples, (0, max(0, 2 * SAMPLE_RATE - len(samples))))
