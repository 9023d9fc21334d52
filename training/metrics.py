"""Figures over labelled cells only: a masked cell adds exactly nothing."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

FloatArray = NDArray[np.float32]


def average_precision(truth: FloatArray, scores: FloatArray, mask: FloatArray, min_positives: int = 4) -> FloatArray:
    """Average precision per instrument, NaN where positives are fewer than `min_positives` or nothing is negative.

    Args:
        truth, scores, mask: [n, 20]; mask 1 where the truth is known.
    """
    out = np.full(truth.shape[1], np.nan, np.float32)
    for c in range(truth.shape[1]):
        known = mask[:, c] > 0
        y = truth[known, c] > 0.5
        if y.sum() >= min_positives and (~y).any():
            out[c] = average_precision_score(y, scores[known, c])
    return out


def mean_average_precision(truth: FloatArray, scores: FloatArray, mask: FloatArray, min_positives: int = 4) -> float:
    """Macro mean of `average_precision` over the instruments that have one."""
    return float(np.nanmean(average_precision(truth, scores, mask, min_positives)))


def top1(truth: FloatArray, scores: FloatArray, solo: NDArray[np.bool_]) -> float:
    """Share of solo clips whose highest instrument is right."""
    rows = np.flatnonzero(solo)
    return float((truth[rows, scores[rows].argmax(1)] > 0.5).mean()) if len(rows) else float("nan")
