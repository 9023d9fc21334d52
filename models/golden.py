"""A sound that is the same on every machine: what a bundle is checked with when there is no better one."""

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.logmel import HOP, SAMPLE_RATE, log_mel

FloatArray = NDArray[np.float32]


def chord(seconds: float = 2.0) -> FloatArray:
    """Log-mel float32 [128, 100 * seconds] of a chord struck every two seconds, over a little noise."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tones = sum(np.sin(2 * np.pi * hz * k * t) / k for hz in (220.0, 277.18, 329.63) for k in range(1, 9))
    noise = np.random.default_rng(0).standard_normal(len(t))
    return log_mel((0.1 * tones * np.exp(-(t % 2)) + 1e-3 * noise).astype(np.float32))[:, : len(t) // HOP]
