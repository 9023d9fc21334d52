"""Labelled clips: a folder of audio with a labels.csv (file, labels, absent, kind, source), and any table's sound.

`labels` sound, `absent` do not ('|'-separated); every other cell is unknown and masked. "some brass" among the labels
says that at least one instrument of a family sounds (table.FAMILIES). Windows of one recording have the same `source`
except for a trailing '@12s'; splits and bootstraps go by it. Where recordings are not independent (one album, the same
players), a column `group` joins them: those with the same text in it count as one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from instrec_live.models.arrays import FloatArray
from instrec_live.models.errors import InputFileError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import SAMPLE_RATE, log_mel
from instrec_live.training.data.sounds import load
from instrec_live.training.data.table import FAMILIES, Row, Table, label_row, read_rows

_NO_CELLS = tuple(np.zeros((0, width), np.float32) for width in (len(INSTRUMENTS), len(INSTRUMENTS), len(FAMILIES)))


@dataclass(frozen=True)
class Clips:
    """files [n]; truth and mask float32 [n, 20]; recording [n]; solo bool [n]; log_mels n times float32 [128, T]."""

    files: list[str]
    truth: FloatArray
    mask: FloatArray
    recording: NDArray[np.str_]
    solo: NDArray[np.bool_]
    log_mels: list[FloatArray]


def read_clip_table(folder: Path) -> Table:
    """The clips of such a folder, without their audio: source "clips", split "valid", group the recording.

    Raises:
        InputFileError: no labels.csv, a missing column, or an unknown instrument or one that is present and absent.
    """
    path = folder / "labels.csv"
    numbered = read_rows(path, ("file", "labels", "absent", "kind", "source"))[1]
    cells = []
    for line, row in numbered:
        present, absent = ([name for name in row[column].split("|") if name] for column in ("labels", "absent"))
        if both := sorted({*present} & {*absent}):
            raise InputFileError(f"{path}, line {line}: {both[0]} is in labels and in absent")
        try:
            cells.append(label_row(present, absent))
        except ValueError as error:
            raise InputFileError(f"{path}, line {line}: unknown instrument {str(error)!r}") from error
    labels, mask, some = (np.stack([each[part] for each in cells]) for part in range(3)) if cells else _NO_CELLS
    rows = [row for _, row in numbered]
    return Table(
        tuple(folder / row["file"] for row in rows),
        np.full(len(rows), "clips"),
        np.array([group_of(row) for row in rows], np.str_),
        np.full(len(rows), "valid"),
        labels,
        mask,
        some,
        np.array([row.get("licence") or "" for row in rows], np.str_),
    )


def read_songs(folder: Path) -> Table:
    """Whole songs, by a songs.csv (file, labels, complete): the labels sound somewhere in a song; that is all that is
    known unless `complete` is yes. Source "songs", split "train", each its own group.

    Raises:
        InputFileError: no songs.csv, a missing column, an unknown instrument, or another `complete` than yes or no.
    """
    path = folder / "songs.csv"
    numbered = read_rows(path, ("file", "labels", "complete"))[1]
    cells = []
    for line, row in numbered:
        if row["complete"] not in ("yes", "no", ""):
            raise InputFileError(f"{path}, line {line}: complete must be yes or no, not {row['complete']!r}")
        names = [name for name in row["labels"].split("|") if name]
        absent = [name for name in INSTRUMENTS if name not in names] if row["complete"] == "yes" else []
        try:
            cells.append(label_row(names, absent))
        except ValueError as error:
            raise InputFileError(f"{path}, line {line}: unknown instrument {str(error)!r}") from error
    files = [row["file"] for _, row in numbered]
    labels, mask, some = (np.stack([each[part] for each in cells]) for part in range(3)) if cells else _NO_CELLS
    n, groups = len(files), np.array([f"song {file}" for file in files], np.str_)
    paths = tuple(folder / file for file in files)
    return Table(
        paths, np.full(n, "songs"), groups, np.full(n, "train"), labels, mask, some, _licences_of_songs(folder, files)
    )


def _licences_of_songs(folder: Path, files: Sequence[str]) -> NDArray[np.str_]:
    """What sources.csv states of each song's folder, <class>/<source>; "" where it is not there."""
    path = folder / "sources.csv"
    rows = [row for _, row in read_rows(path, ("class", "source", "licence"))[1]] if path.is_file() else []
    licences = {f"{row['class']}/{row['source']}": row["licence"] for row in rows}
    return np.array([licences.get(file.rpartition("/")[0], "") for file in files], np.str_)


def clips_of(table: Table, *, quiet: bool = False) -> Clips:
    """Any table's clips with the log-mels of their (at most) first 10 s, to validate on; solo are the clips with
    exactly one instrument and full labels. A progress bar appears on a terminal, unless `quiet`.

    Raises:
        InputFileError: a clip is missing, unreadable, empty, or has samples that are not finite.
    """
    mels = [log_mel(_whole(load(path))) for path in tqdm(table.paths, unit="clip", leave=False, disable=quiet or None)]
    solo = (table.labels.sum(1) == 1) & table.mask.all(1)
    return Clips([str(path) for path in table.paths], table.labels, table.mask, table.group, solo, mels)


def group_of(row: Row) -> str:
    """What a row of a labels.csv counts to: its group, or else its recording."""
    return row.get("group") or recording_of(row["source"])


def recording_of(source: str) -> str:
    """The recording a clip is from, by its `source`: windows of one recording share all but '@12s', the chorales of
    Bach10 are one recording, and a mixture's voices are joined by ' + '."""
    source = source.removeprefix("mix ")
    voices = (re.sub(r"\s*@\d+s$", "", voice) for voice in source.split(" + "))
    return " + ".join("bach10" if "bach10" in voice.lower() else voice for voice in voices)


def _whole(samples: FloatArray) -> FloatArray:
    """At most 10 s; at least 2 s, silence added."""
    samples = samples[: 10 * SAMPLE_RATE]
    return np.pad(samples, (0, max(0, 2 * SAMPLE_RATE - len(samples))))
