"""What every source of sound is, and the block it gives: its length, the legal rates, which samples are no sound."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

BLOCK_SECONDS = 0.1
MIN_RATE, MAX_RATE = 1_000, 1_000_000  # Hz; beyond them a header lies, and buffers would grow with the lie
MAX_CHANNELS = 64
LOUDEST = 1e6  # 120 dB over full scale; squares of more could overflow float32 further on


def block_frames(rate: int) -> int:
    """Frames in one block."""
    return max(1, round(rate * BLOCK_SECONDS))


def why_not(rate: int, channels: int) -> str | None:
    """What is wrong with this rate and these channels, in words, or None."""
    if not MIN_RATE <= rate <= MAX_RATE:
        return f"a sample rate of {rate} Hz (from {MIN_RATE} to {MAX_RATE} are supported)"
    if not 1 <= channels <= MAX_CHANNELS:
        return f"{channels} channels (from 1 to {MAX_CHANNELS} are supported)"
    return None


def zero_bad_samples(block: NDArray[np.float32]) -> int:
    """Set NaN, infinite and absurdly large samples to zero, in place, and return how many there were."""
    bad = ~(np.abs(block) <= LOUDEST)  # so written, NaN is bad
    count = int(np.count_nonzero(bad))
    if count:
        block[bad] = 0.0
    return count


class Source(Protocol):
    """Sound, block by block, at its own rate.

    Attributes:
        label: what to call it on the screen: "concert.wav", "[2] Scarlett 2i2", "stdin".
        rate: Hz.
        channels: how many.
        duration: seconds it will give, None if unknown.
        live: it cannot wait for its reader.
        xruns: blocks of sound lost so far.
        bad_samples: samples zeroed so far because they were no sound (NaN, infinite, absurdly large).
    """

    @property
    def label(self) -> str: ...
    @property
    def rate(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def duration(self) -> float | None: ...
    @property
    def live(self) -> bool: ...
    @property
    def xruns(self) -> int: ...
    @property
    def bad_samples(self) -> int: ...

    def read(self) -> NDArray[np.float32] | None:
        """The next block, float32 [m, channels], m about 0.1 s; waits for it. None at the end or once closed.

        Raises:
            InputFileError: the file or pipe cannot be read any further.
            AudioDeviceError: the device is gone.
        """

    def close(self) -> None:
        """Close the file or device; from any thread, any number of times."""
