"""Folders of single-instrument sound: `<root>/<instrument>/<source>/*.ogg` (or .flac, .wav, …), and a `sources.csv`.

sources.csv has one row per (source, instrument): source, licence, package, class, n_files, seconds, kind. The kind
determines how a file is used: notes and samples are played as phrases, phrases (recorded, or rendered through a
soundfont) are cut, a song contains its instrument, and other instruments unknown.
"""

import csv
import io
import os
import shutil
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from instrec_live.models.arrays import FloatArray
from instrec_live.models.audioset import FITTED
from instrec_live.models.conditioning import mono
from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.training.data.table import read_rows

DISTRACTORS = FITTED  # a network without bassoons in its training calls one a trombone
EVERYTHING = INSTRUMENTS + DISTRACTORS
# Timbres that no bundled network was trained on, to measure generalisation.
HELD_OUT_SOURCES = ("sf_timgm", "sf_timgm6mb", "sf_gmbank", "tamtam", "sms_tools")  # the first two are one soundfont
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
        """Whether files are continuous playing, to be cut, and not single notes."""
        return self.kind in ("phrases", "rendered phrases", "song")


def read_sources(root: Path, held_out: Iterable[str] = HELD_OUT_SOURCES, only_held_out: bool = False) -> list[Source]:
    """The sources under `root`, without the demo's files and without (or only) the held-out ones.

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


def audio_files(folder: Path, deep: bool = False) -> list[Path]:
    """The sound files directly in a folder, or `deep` in all below it, by name; none if there is no such folder. Hidden
    ones are left out: macOS writes a "._take.wav" for each take.wav."""
    return sorted(
        path
        for path in folder.glob("**/*" if deep else "*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def read(path: Path) -> tuple[FloatArray, int]:
    """Mono float32 [n] at the file's own rate, and that rate; channels that cancel each other out and floats that hold
    integers are dealt with as in `Tagger.tag`.

    Raises:
        InputFileError: missing, unreadable, empty, or with values that are not finite.
    """
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise unreadable(path, error) from error
    if not len(samples):
        raise InputFileError(f"{path}: no audio in it", "remove the file")
    if bad := int(np.count_nonzero(~np.isfinite(samples).all(axis=1))):
        raise InputFileError(f"{path}: {bad} of its samples are not finite numbers", "remove the file")
    return mono(samples, rate), rate


def unreadable(path: Path, error: OSError | soundfile.LibsndfileError) -> InputFileError:
    """The error for a sound file that cannot be read."""
    if not path.is_file():
        return InputFileError(f"{path}: {'is a folder' if path.is_dir() else 'not found'}", "give a sound file")
    if not os.access(path, os.R_OK):
        return InputFileError(f"{path}: no permission to read it", "change its permissions")
    why = error.error_string if isinstance(error, soundfile.LibsndfileError) else error.strerror
    return InputFileError(f"{path}: not a readable sound file: {why}", "remove or replace the file")


def load(path: Path) -> FloatArray:
    """Mono float32 [n] at 32 kHz; see `read` for what it raises."""
    samples, rate = read(path)
    return np.asarray(soxr.resample(samples, rate, SAMPLE_RATE), np.float32)


def full_band(path: Path) -> FloatArray:
    """The same for training: the bandwidth of a file with a lower sample rate is extended, so that an empty treble does
    not identify the source. The extension of a file is always the same."""
    samples, rate = read(path)
    sound = soxr.resample(samples, rate, SAMPLE_RATE).astype(np.float32)
    if rate >= SAMPLE_RATE:
        return np.asarray(sound, np.float32)
    return extend_bandwidth(sound, 0.47 * rate, np.random.default_rng(zlib.crc32(path.name.encode())))


def extend_bandwidth(samples: FloatArray, cutoff: float, rng: np.random.Generator) -> FloatArray:
    """Extend the bandwidth of a sound with a low sample rate above its cut-off.

    The rectified upper band supplies overtones, which follow its envelope; they are shaped to continue the slope of the
    spectrum below the cut-off, with a random deviation of a few dB (as in spectral band replication, Dietz et al.,
    AES 112, 2002).

    Args:
        samples: float32 [n], mono at 32 kHz, empty above the cut-off.
        cutoff: Hz, a little under half of the rate it was sampled at.

    Returns:
        float32 [n].
    """
    # 0.1 s of silence, so that the end does not wrap into the beginning
    size = next_fast_len(len(samples) + 3200, real=True)
    spectrum = rfft(samples, size)
    hz = np.arange(len(spectrum)) * (SAMPLE_RATE / size)
    upper = irfft(np.where((hz > cutoff / 3) & (hz < cutoff), spectrum, 0), size)
    overtones = rfft(np.abs(upper), size)
    low, high = (
        _level_db(spectrum, hz, 0.35 * cutoff, 0.6 * cutoff),
        _level_db(spectrum, hz, 0.6 * cutoff, 0.95 * cutoff),
    )
    slope = np.clip((high - low) / np.log2(0.755 / 0.458), -24, -4) + rng.normal(0, 3)  # dB per octave
    offset = high + rng.normal(-1, 3)
    edges = cutoff * 2 ** np.arange(0, np.log2(SAMPLE_RATE / 2 / cutoff) + 0.2, 0.25)
    centres = np.sqrt(edges[:-1] * edges[1:])
    there = np.array([_level_db(overtones, hz, a, b) for a, b in pairwise(edges)])
    wanted = offset + slope * np.log2(centres / (0.755 * cutoff))
    gain = 10 ** (np.interp(hz, centres, wanted - there) / 20)
    rise = np.clip((hz - 0.96 * cutoff) / (0.06 * cutoff), 0, 1)
    return np.asarray(samples + irfft(overtones * gain * rise, size)[: len(samples)], np.float32)


def _level_db(spectrum: NDArray[np.complex64], hz: NDArray[np.float64], low: float, high: float) -> float:
    """Mean power between two frequencies, dB."""
    part = spectrum[(hz >= low) & (hz < high)]
    return float(10 * np.log10(np.mean(part.real**2 + part.imag**2) + 1e-20)) if len(part) else -200.0


def split_on_silence(samples: FloatArray, floor_db: float = -45.0, gap: float = 0.15) -> list[FloatArray]:
    """The notes of a file, each from its onset to its decay.

    Args:
        samples: float32 [n] at 32 kHz.
        floor_db: level of silence, relative to the loudest 20 ms.
        gap: shorter silence [s] does not split.
    """
    frame = SAMPLE_RATE // 50
    energy = np.square(samples[: len(samples) // frame * frame].reshape(-1, frame)).mean(1)
    if not len(energy) or energy.max() < 1e-9:
        return []
    loud = np.flatnonzero(energy > energy.max() * 10 ** (floor_db / 10))
    parts = np.split(loud, np.flatnonzero(np.diff(loud) > gap * 50) + 1)
    notes = [samples[part[0] * frame : (part[-1] + 1) * frame] for part in parts]
    return [note for note in notes if len(note) > 0.05 * SAMPLE_RATE]


COLUMNS = ("source", "licence", "package", "class", "n_files", "seconds", "kind")
NEEDED = ("source", "licence", "package", "class", "kind")  # columns that are read


def check_free(to: Path, name: str, instruments: Sequence[str]) -> None:
    """Check that no source of one of these instruments has this name.

    Raises:
        UsageError: there is one.
    """
    table = to / "sources.csv"
    taken = [row["class"] for _, row in read_rows(table, NEEDED)[1] if row["source"] == name] if table.exists() else []
    for instrument in instruments:
        if instrument in taken or (to / instrument / name).exists():
            raise UsageError(f"{to / instrument / name}: already there", "give another --name, or remove it first")


def move_in(partial: Path, to: Path, name: str, rows: list[list[object]]) -> None:
    """Move the folders `partial`/INSTRUMENT to `to`, then add their rows to its table: all or nothing.

    Args:
        rows: of sources.csv, in the order of COLUMNS.
    """
    table, lines = to / "sources.csv", io.StringIO()
    before = table.read_bytes() if table.exists() else (",".join(COLUMNS) + "\n").encode()
    end = "\r\n" if b"\r\n" in before else "\n"
    header = next(csv.reader([before.decode("utf-8-sig").splitlines()[0]]))
    writer = csv.DictWriter(lines, header, restval="", extrasaction="ignore", lineterminator=end)
    writer.writerows(dict(zip(COLUMNS, row, strict=True)) for row in rows)
    glue = b"" if before.endswith(b"\n") else end.encode()
    (partial / table.name).write_bytes(before + glue + lines.getvalue().encode())
    moved: list[Path] = []
    try:
        for row in rows:
            place = to / str(row[3]) / name
            place.parent.mkdir(exist_ok=True)
            os.replace(partial / str(row[3]), place)
            moved.append(place)
        os.replace(partial / table.name, table)
    except BaseException:
        for place in moved:
            shutil.rmtree(place, ignore_errors=True)
        raise
