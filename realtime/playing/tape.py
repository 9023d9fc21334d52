"""Blocks of a file -> sound for the loudspeakers, faster or slower with its pitch, as a tape would."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Piece:
    """Sound to be played.

    Attributes:
        sound: float32 [frames, channels].
        position: second of the file at which it begins.
        speed: seconds of the file a second.
    """

    sound: FloatArray
    position: float
    speed: float


class Tape:
    """Resamples a file's blocks to be played.

    Args:
        rate_in: Hz of the file.
        rate_out: Hz of the loudspeakers.
        channels: of the loudspeakers, 1 or 2.
        position: second of the file at which the first block begins.
        speed: seconds of the file a second.

    Attributes:
        position: second of the file that the sound given so far reaches.
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int, position: float, speed: float) -> None:
        self._stream: Any = soxr.ResampleStream(rate_in * speed, rate_out, channels, dtype="float32")
        self._rate, self._channels = rate_out, channels
        self.position, self.speed = position, speed

    def push(self, block: FloatArray) -> Piece:
        """float32 [m, channels of the file] -> what is to be played of it by now."""
        return self._piece(spread(block, self._channels), last=False)

    def rest(self) -> Piece:
        """What is left at the end."""
        return self._piece(np.empty((0, self._channels), np.float32), last=True)

    def _piece(self, block: FloatArray, last: bool) -> Piece:
        flat = block[:, 0] if self._channels == 1 else block
        sound = np.asarray(self._stream.resample_chunk(flat, last=last), np.float32).reshape(-1, self._channels)
        piece = Piece(sound, self.position, self.speed)
        self.position += len(sound) / self._rate * self.speed
        return piece


def spread(block: FloatArray, channels: int) -> FloatArray:
    """float32 [m, any] -> [m, channels]: as it is where the channels fit, else their mean on each."""
    if block.shape[1] == channels:
        return block
    return np.repeat(block.mean(axis=1, keepdims=True, dtype=np.float32), channels, axis=1)
