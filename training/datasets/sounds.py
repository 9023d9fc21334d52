"""Folders of single-instrument sound: `<root>/<instrument>/<source>/*.ogg`, with a `sources.csv` beside them.

sources.csv has one row a (source, instrument): source, licence, package, class, n_files, seconds, kind. The kind says
how a file may be used: notes and samples are played into phrases, phrases are cut, a song is known to hold its
instrument and says nothing of the others.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from instrec_live.models.errors import InputFileError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import SAMPLE_RATE

FloatArray = NDArray[np.float32]

# Timbres that no bundled network was trained on: for measuring how they meet new ones.
HELD_OUT_SOURCES = ("sf_timgm", "tamtam", "sms_tools")
DEMO_FILES = Path(__file__).with_name("demo_files.txt")


@dataclass(frozen=True, slots=True)
class Source:
    """All files of one instrument from one source."""

    instrument: str
    name: str
    kind: str  # "notes", "recorded samples", "sampled soundfont", "phrases", "song"
    licence: str
    package: str
    files: tuple[Path, ...]

    @property
    def continuous(self) -> bool:
        """Files are playing to be cut, not notes to be played."""
        return self.kind in ("phrases", "song")


def read_sources(root: Path, held_out: Iterable[str] = HELD_OUT_SOURCES, only_held_out: bool = False) -> list[Source]:
    """The sources under `root`, without the demo's files and without (or with only) the held-out ones.

    Raises:
        InputFileError: no sources.csv, a column is missing, an unknown instrument, or a source without files.
    """
    table = root / "sources.csv"
    if not table.is_file():
        raise InputFileError(f"{table}: not found", "give the folder that holds sources.csv")
    kept_apart = set(held_out)
    demo = set(DEMO_FILES.read_text().splitlines()) if DEMO_FILES.is_file() else set()
    sources = []
    with table.open(newline="", encoding="utf-8") as handle:
        for line, row in enumerate(csv.DictReader(handle), 2):
            try:
                instrument, name = row["class"], row["source"]
                kind, licence, package = row["kind"], row["licence"], row["package"]
            except KeyError as error:
                raise InputFileError(f"{table}: column {error} is missing") from error
            if instrument not in INSTRUMENTS:
                raise InputFileError(f"{table}, line {line}: unknown instrument {instrument!r}")
            if (name in kept_apart) != only_held_out:
                continue
            folder = root / instrument / name
            files = tuple(p for p in sorted(folder.glob("*.ogg")) if p.relative_to(root).as_posix() not in demo)
            if not files and not any(folder.glob("*.ogg")):
                raise InputFileError(f"{folder}: no .ogg files, though {table.name} line {line} names them")
            if files:
                sources.append(Source(instrument, name, kind, licence, package, files))
    return sources


def load(path: Path) -> FloatArray:
    """Mono float32 [n] at 32 kHz.

    Raises:
        InputFileError: unreadable.
    """
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise InputFileError(f"{path}: {error}") from error
    return np.nan_to_num(soxr.resample(samples.mean(1), rate, SAMPLE_RATE)).astype(np.float32)


def split_on_silence(samples: FloatArray, floor_db: float = -45.0, gap: float = 0.15) -> list[FloatArray]:
    """The sounding parts of a file of notes, each from its onset to its decay.

    Args:
        samples: float32 [n] at 32 kHz.
        floor_db: what counts as silence, relative to the loudest 20 ms.
        gap: silence shorter than this [s] does not split.
    """
    frame = SAMPLE_RATE // 50
    energy = np.square(samples[: len(samples) // frame * frame].reshape(-1, frame)).mean(1)
    if not len(energy) or energy.max() < 1e-9:
        return []
    loud = np.flatnonzero(energy > energy.max() * 10 ** (floor_db / 10))
    parts = np.split(loud, np.flatnonzero(np.diff(loud) > gap * 50) + 1)
    notes = [samples[part[0] * frame : (part[-1] + 1) * frame] for part in parts]
    return [note for note in notes if len(note) > 0.05 * SAMPLE_RATE]
