"""Any rate and any number of channels to one channel at the networks' rate, block by block."""

from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from instrec_live.models.logmel import SAMPLE_RATE


class Resampler:
    """A stream of blocks to mono at `rate_out`; the sum of its outputs equals resampling the whole at once.

    The channels are averaged before resampling. It delays the sound by some milliseconds (soxr HQ: 15 ms from
    48 kHz), which `flush` hands out at the end; output sample k is input time k / rate_out, with no offset.

    Args:
        rate_in: Hz of the blocks.
        rate_out: Hz wanted.
    """

    def __init__(self, rate_in: int, rate_out: int = SAMPLE_RATE) -> None:
        if rate_in < 1 or rate_out < 1:
            raise ValueError(f"cannot resample from {rate_in} Hz to {rate_out} Hz")
        self._stream: Any = None
        if rate_in != rate_out:
            self._stream = soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32", quality="HQ")

    def push(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [m, channels] or [m] -> float32 [k], contiguous, k about m * rate_out / rate_in."""
        mono = block.mean(axis=1, dtype=np.float32) if block.ndim == 2 else block.astype(np.float32)
        return mono if self._stream is None else self._resample(mono, last=False)

    def flush(self) -> NDArray[np.float32]:
        """The rest of the sound, float32 [k]. The next push begins a new sound."""
        rest = np.empty(0, np.float32)
        if self._stream is not None:
            rest = self._resample(rest, last=True)
            self._stream.clear()
        return rest

    def _resample(self, mono: NDArray[np.float32], last: bool) -> NDArray[np.float32]:
        return np.ascontiguousarray(self._stream.resample_chunk(mono, last=last), np.float32)
