"""How sure a figure is: the percentile bootstrap over recordings (Efron, 1979).

Whole recordings (or artists) are drawn, not clips: clips of one recording are right or wrong together.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]

_BLOCK = 50  # resamples at a time: what stays in the cache


def resamples(group: NDArray[np.str_], count: int, seed: int = 0) -> FloatArray:
    """How often each clip counts in each resample, float64 [count, n], whole numbers.

    Args:
        group: str [n], the recording or artist of each clip.
    """
    names, of = np.unique(group, return_inverse=True)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)
    return drawn[:, of].astype(np.float64)


def drawn(figure: Callable[[FloatArray], dict[str, FloatArray]], weights: FloatArray) -> dict[str, FloatArray]:
    """Figures of every resample, [B, ...] each; `figure` takes weights [b, n] for some of them at a time."""
    parts = [figure(weights[start : start + _BLOCK]) for start in range(0, len(weights), _BLOCK)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def interval(draws: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The middle 95 % of [B, ...] -> (low, high) of [...]; resamples without a figure (NaN) are left out."""
    out = np.full((2, *draws.shape[1:]), np.nan)
    some = np.isfinite(draws).any(axis=0)
    out[:, some] = np.nanpercentile(draws[:, some], [2.5, 97.5], axis=0)
    return out[0][()], out[1][()]
