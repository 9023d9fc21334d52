"""Logits to probabilities, and probabilities to decisions, from a few hundred labelled clips.

Most instruments have only a handful of clips, so what is fitted per instrument is pulled towards what holds for all.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from instrec_live.models.calibration import Platt

FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]


def weighed(mask: FloatArray, recording: NDArray[np.str_]) -> FloatArray:
    """A mask [n, 20] in which a recording of n clips counts as the root of n: many clips of one recording say little
    more than one, and should not decide what holds for all."""
    _, which, clips = np.unique(recording, return_inverse=True, return_counts=True)
    return np.asarray(mask / np.sqrt(clips[which])[:, None], np.float32)


def fit_platt(logits: FloatArray, truth: FloatArray, mask: FloatArray, pull: float = 3000.0) -> Platt:
    """One scale and bias for all, and per instrument a deviation from them under a ridge penalty.

    Args:
        logits, truth, mask: [n, 20]; the mask is what a cell weighs, 0 where the truth is unknown.
        pull: strength of the ridge, in clips. By cross-validation on 200 clips, the stronger the better: mAP falls by
            .05 at 30 and by .01 at 300.
    """
    classes = logits.shape[1]
    z, y, m = logits.astype(np.float64), truth.astype(np.float64), mask.astype(np.float64)

    def split(x: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
        return np.exp(x[0] + x[2 : 2 + classes]), x[1] + x[2 + classes :]

    def objective(x: DoubleArray) -> tuple[float, DoubleArray]:
        scale, bias = split(x)
        logit = z * scale + bias
        loss = (m * (np.logaddexp(0, logit) - y * logit)).sum() + 0.5 * pull * np.square(x[2:]).sum()
        error = m * (0.5 * (1 + np.tanh(0.5 * logit)) - y)
        by_scale, by_bias = (error * z).sum(0) * scale, error.sum(0)
        gradient = np.concatenate([[by_scale.sum(), by_bias.sum()], by_scale + pull * x[2 : 2 + classes],
                                   by_bias + pull * x[2 + classes :]])  # fmt: skip
        return float(loss), gradient

    # A network that knows nothing would be scaled to nothing, and its order of the clips lost in rounding.
    bounds = [(-3.0, 3.0), *[(None, None)] * (1 + 2 * classes)]
    found = minimize(objective, np.zeros(2 + 2 * classes), jac=True, method="L-BFGS-B", bounds=bounds)
    scale, bias = split(found.x)
    return Platt(scale.astype(np.float32), bias.astype(np.float32))


def choose_thresholds(
    probabilities: FloatArray, truth: FloatArray, mask: FloatArray, pull: float = 400.0
) -> FloatArray:
    """Thresholds of highest F1 per instrument, its counts joined by those of all, worth `pull` positives.

    F1 hardly changes over wide ranges; of all thresholds within .01 of the best, the lowest is taken, for a live
    display has other means against false names (a margin, hysteresis), and none against missed ones.

    Args:
        probabilities, truth, mask: [n, 20]; the mask is what a cell weighs.

    Returns:
        float32 [20], inside 0.1…0.9.
    """
    grid = np.linspace(0.1, 0.9, 161)
    hit = probabilities[None] >= grid[:, None, None]
    positive, negative = (np.where(truth > 0.5, mask, 0.0), np.where(truth > 0.5, 0.0, mask))
    tp, fp, fn = (hit * positive).sum(1), (hit * negative).sum(1), (~hit * positive).sum(1)
    prior = pull / max(1.0, float(positive.sum()))
    tp, fp, fn = (x + prior * x.sum(1, keepdims=True) for x in (tp, fp, fn))
    f1 = 2 * tp / np.maximum(2 * tp + fp + fn, 1e-9)
    return grid[(f1 >= f1.max(0) - 0.01).argmax(0)].astype(np.float32)


def folds(recording: NDArray[np.str_], count: int = 5, seed: int = 0) -> NDArray[np.int64]:
    """A fold for every clip, all clips of a recording in one."""
    names = np.random.default_rng(seed).permutation(np.unique(recording))
    of = {name: i % count for i, name in enumerate(names)}
    return np.array([of[name] for name in recording])
