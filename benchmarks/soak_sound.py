"""Music without end for soak.py: of recordings, alone and in pairs, loud and soft, with pauses and noise between."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

Int16Array = NDArray[np.int16]

RATE, CHANNELS = 44_100, 2
_SHORTEST, _LONGEST = 5.0, 40.0  # s of a piece
_PAUSES, _NOISES = 0.05, 0.03  # of all pieces
_SOFTEST = -24.0  # dB
_KEPT = 32  # recordings


@lru_cache(_KEPT)
def read(path: Path) -> NDArray[np.float32]:
    """A recording, float32 [n] at 44.1 kHz."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return np.asarray(soxr.resample(samples.mean(1), rate, RATE), np.float32)


def endless(paths: Sequence[Path], seed: int = 0) -> Iterator[Int16Array]:
    """Piece after piece, int16 [n, 2] at 44.1 kHz: the same of the same seed and recordings.

    A piece is of one recording or of two at once, from any place in it; one in twenty is digital silence, one in thirty
    faint noise.
    """
    random = np.random.default_rng(seed)
    while True:
        frames = int(RATE * random.uniform(_SHORTEST, _LONGEST))
        kind = random.random()
        if kind < _PAUSES:
            piece = np.zeros(frames, np.float32)
        elif kind < _PAUSES + _NOISES:
            piece = random.normal(0.0, 1e-3, frames).astype(np.float32)
        else:
            chosen = random.choice(len(paths), random.integers(1, 3))
            piece = sum((_part(read(paths[i]), frames, random) for i in chosen), np.zeros(frames, np.float32))
        mono = np.round(np.clip(piece, -1.0, 1.0) * 32_767).astype(np.int16)
        yield np.repeat(mono[:, None], CHANNELS, axis=1)


def cut(pieces: Iterator[Int16Array], seconds: float) -> Iterator[bytes]:
    """So many seconds of them, as s16le."""
    left = round(seconds * RATE)
    while left:
        piece = next(pieces)[:left]
        left -= len(piece)
        yield piece.astype("<i2").tobytes()


def _part(sound: NDArray[np.float32], frames: int, random: np.random.Generator) -> NDArray[np.float32]:
    turned = np.roll(sound, -int(random.integers(len(sound))))
    gain = 10 ** (random.uniform(_SOFTEST, 0.0) / 20)
    return np.resize(turned, frames) * np.float32(gain)
