"""Twelve seconds of the demo clip, in any rate, number of channels and file format."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

CLIP = Path(__file__).resolve().parent.parent / "realtime" / "demo" / "demo.ogg"
RATE = 32_000  # the networks'
FROM_S, SECONDS = 43.0, 12.0

FORMATS = {  # suffix, subtype, whether it keeps the sound as it is
    "wav 16-bit": (".wav", "PCM_16", True),
    "wav 24-bit": (".wav", "PCM_24", True),
    "wav float": (".wav", "FLOAT", True),
    "flac": (".flac", "PCM_16", True),
    "ogg": (".ogg", "VORBIS", False),
    "mp3": (".mp3", "MPEG_LAYER_III", False),
}


class Way(NamedTuple):
    """One way in: a file's or a pipe's format, its rate, its channels, and how much of the clip."""

    format: str
    rate: int = 44_100
    channels: int = 2
    seconds: float = SECONDS


def clip(seconds: float = SECONDS) -> np.ndarray:
    """That much of the demo clip, float32 [n, 2] at 44.1 kHz."""
    start = round(FROM_S * 44_100)
    return soundfile.read(CLIP, start=start, frames=round(seconds * 44_100), dtype="float32")[0]


def at_rate(sound: np.ndarray, rate: int, of: int = 44_100) -> np.ndarray:
    """The sound [n, channels] or [n] at another rate, by soxr's best."""
    return soxr.resample(sound, of, rate, quality="VHQ")


def spread(sound: np.ndarray, channels: int) -> np.ndarray:
    """A stereo sound over an even number of channels, or mixed into one; the mean of the channels stays."""
    return sound.mean(axis=1, keepdims=True) if channels == 1 else np.tile(sound, channels // 2)


def reference(seconds: float = SECONDS, through: int = RATE) -> np.ndarray:
    """The clip, float32 [n] at 32 kHz, having lost what a rate of `through` cannot carry."""
    mono = clip(seconds).mean(axis=1)
    return at_rate(mono, RATE) if through >= RATE else at_rate(at_rate(mono, through), RATE, of=through)


def write(way: Way, folder: Path) -> Path:
    """The clip as a file of that format."""
    suffix, subtype, _ = FORMATS[way.format]
    path = folder / f"{'-'.join(map(str, way)).replace(' ', '-')}{suffix}"
    soundfile.write(path, spread(at_rate(clip(way.seconds), way.rate), way.channels), way.rate, subtype)
    return path


def lag_of(sound: np.ndarray, recorded: np.ndarray) -> int:
    """Samples after which `sound` begins in `recorded`, by cross-correlation."""
    size = len(sound) + len(recorded)
    cross = np.fft.irfft(np.fft.rfft(recorded, size) * np.conj(np.fft.rfft(sound, size)), size)
    return int(np.argmax(cross[: len(recorded)]))
