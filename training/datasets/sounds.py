"""Folders of single-instrument sound: `<root>/<instrument>/<source>/*.ogg` (or .flac, .wav, …), and a `sources.csv`.

sources.csv has one row a (source, instrument): source, licence, package, class, n_files, seconds, kind. The kind says
how a file may be used: notes and samples are played into phrases, phrases (recorded, or rendered through a soundfont)
are cut, a song is known to hold its instrument and says nothing of the others.
"""

import os
import zlib
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
from instrec_live.training.augment import extend_bandwidth
from instrec_live.training.datasets.rows import read_rows

FloatArray = NDArray[np.float32]

# What stands beside our 20 in bands and orchestras and is surely none of them: who has never met a bassoon calls it a
# trombone. Networks learn that it is nothing they have a name for.
STRANGERS = ("bassoon", "french_horn", "harmonica", "harp", "oboe", "tuba")
EVERYTHING = INSTRUMENTS + STRANGERS
# Timbres that no bundled network was trained on: for measuring how they meet new ones.
HELD_OUT_SOURCES = ("sf_timgm", "sf_timgm6mb", "tamtam", "sms_tools")  # the first two are one soundfont
DEMO_FILES = Path(__file__).with_name("demo_files.txt")
SUFFIXES = (".ogg", ".flac", ".wav", ".mp3", ".opus")


@dataclass(frozen=True, slots=True)
class Source:
    """All files of one instrument from one source."""

    instrument: str
    name: str
    kind: str  # "notes", "recorded samples", "sampled soundfont", "phrases", "rendered phrases", "song"
    licence: str
    package: str
    files: tuple[Path, ...]

    @property
    def continuous(self) -> bool:
        """Files are playing to be cut, not notes to be played."""
        return self.kind in ("phrases", "rendered phrases", "song")


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
    for line, row in read_rows(table, ("class", "source", "kind", "licence", "package"))[1]:
        instrument, name = row["class"], row["source"]
        kind, licence, package = row["kind"], row["licence"], row["package"]
        if instrument not in EVERYTHING:
            raise InputFileError(f"{table}, line {line}: unknown instrument {instrument!r}")
        if (name in kept_apart) != only_held_out:
            continue
        there = audio_files(root / instrument / name)
        files = tuple(path for path in there if path.relative_to(root).as_posix() not in demo)
        if not there:
            raise InputFileError(f"{root / instrument / name}: no sound files, though {table.name} line {line} "
                                 "names them")  # fmt: skip
        if files:
            sources.append(Source(instrument, name, kind, licence, package, files))
    return sources


def audio_files(folder: Path) -> list[Path]:
    """The sound files right in a folder, by name; none where there is no such folder."""
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)


def read(path: Path) -> tuple[FloatArray, int]:
    """Mono float32 [n] at the file's own rate, and that rate.

    Raises:
        InputFileError: missing, unreadable, empty, or with values in it that are no numbers.
    """
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise unreadable(path, error) from error
    mono = samples.mean(1)
    if not len(mono):
        raise InputFileError(f"{path}: no sound in it", "take the file out")
    if not np.isfinite(mono).all():
        raise InputFileError(
            f"{path}: {np.count_nonzero(~np.isfinite(mono))} of its samples are not finite numbers", "take the file out"
        )
    return mono, rate


def unreadable(path: Path, error: OSError | soundfile.LibsndfileError) -> InputFileError:
    """Why a sound file cannot be read, in words for a user."""
    if not path.is_file():
        return InputFileError(f"{path}: {'is a folder' if path.is_dir() else 'not found'}", "give a sound file")
    if not os.access(path, os.R_OK):
        return InputFileError(f"{path}: may not be read", "change its rights")
    why = error.error_string if isinstance(error, soundfile.LibsndfileError) else error.strerror
    return InputFileError(f"{path}: not a sound file that can be read: {why}", "take the file out, or replace it")


def load(path: Path) -> FloatArray:
    """Mono float32 [n] at 32 kHz; see `read` for what it raises."""
    samples, rate = read(path)
    return soxr.resample(samples, rate, SAMPLE_RATE).astype(np.float32)


def full_band(path: Path) -> FloatArray:
    """The same for training: what was sampled at a lower rate goes on above its cut-off, so that an empty treble does
    not tell one source from another. A file always goes on in the same way."""
    samples, rate = read(path)
    sound = soxr.resample(samples, rate, SAMPLE_RATE).astype(np.float32)
    if rate >= SAMPLE_RATE:
        return sound
    return extend_bandwidth(sound, 0.47 * rate, np.random.default_rng(zlib.crc32(path.name.encode())))


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
