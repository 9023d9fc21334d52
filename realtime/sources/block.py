"""A block of sound: how long it is, which rates it may have, and what in it is no sound."""

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
    """Set NaN, infinite and absurdly large samples to zero, in place, and say how many there were."""
    bad = ~(np.abs(block) <= LOUDEST)  # so written, NaN is bad
    count = int(np.count_nonzero(bad))
    if count:
        block[bad] = 0.0
    return count
