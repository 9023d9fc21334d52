"""Logits to probabilities, and probabilities to decisions, from a few hundred labelled clips.

Most instruments have only a few clips, so parameters per instrument are regularised towards those common to all.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from instrec_live.models.arrays import DoubleArray, FloatArray
from instrec_live.models.calibration import Platt, logit, sigmoid


def recording_weights(mask: FloatArray, recording: NDArray[np.str_]) -> FloatArray:
    """A mask [n, 20] in which a recording of n clips has the weight sqrt(n): clips of one recording are not
    independent."""
    _, which, clips = np.unique(recording, return_inverse=True, return_counts=True)
    return np.asarray(mask / np.sqrt(clips[which])[:, None], np.float32)


def fit_platt(logits: FloatArray, truth: FloatArray, mask: FloatArray, pull: float = 3000.0) -> Platt:
    """A scale and a bias common to all instruments, and per instrument a deviation from them under a ridge penalty.

    Args:
        logits, truth, mask: [n, 20]; the mask is the weight of a cell, 0 where the truth is unknown.
        pull: strength of the ridge, in clips. In cross-validation on 200 clips, stronger was better: mAP falls by .05
            at 30 and by .01 at 300.
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

    # The scale of an uninformative network would go to 0, and its ranking of clips would be lost in rounding.
    bounds = [(-3.0, 3.0), *[(None, None)] * (1 + 2 * classes)]
    found = minimize(objective, np.zeros(2 + 2 * classes), jac=True, method="L-BFGS-B", bounds=bounds)
    scale, bias = split(found.x)
    return Platt(scale.astype(np.float32), bias.astype(np.float32))


def fit_common(logits: FloatArray, truth: FloatArray, mask: FloatArray) -> Platt:
    """One scale and one bias for all instruments.

    Args:
        logits, truth, mask: as `fit_platt`'s.
    """
    scale, bias = _logistic(logits[..., None], truth, mask)
    return Platt(np.full(logits.shape[1], scale, np.float32), np.full(logits.shape[1], bias, np.float32))


def fit_weights(logits: Sequence[FloatArray], truth: FloatArray, mask: FloatArray) -> FloatArray:
    """Weights of networks [M], not negative, summing to 1, from their calibrated logits, M times [n, 20]."""
    found = _logistic(np.stack(logits, -1), truth, mask)[:-1]
    return np.asarray(found / found.sum(), np.float32)


def _logistic(features: FloatArray, truth: FloatArray, mask: FloatArray, pull: float = 1e-3) -> DoubleArray:
    """Coefficients [F + 1], the last a constant, of a logistic regression on features [n, 20, F]; all but the last are
    at least a little over 0. `pull` is the strength of a ridge towards 0, relative to a mean loss."""
    known = mask > 0
    x = np.concatenate([features[known], np.ones((int(known.sum()), 1))], 1).astype(np.float64)
    y, m = truth[known].astype(np.float64), mask[known].astype(np.float64)
    m /= m.sum()

    def objective(w: DoubleArray) -> tuple[float, DoubleArray]:
        logit = x @ w
        loss = float(m @ (np.logaddexp(0, logit) - y * logit) + pull * (w @ w))
        return loss, x.T @ (m * (0.5 * (1 + np.tanh(0.5 * logit)) - y)) + 2 * pull * w

    count = features.shape[-1]
    bounds = [(0.01, None)] * count + [(None, None)]
    start = np.r_[np.full(count, 1 / count), 0.0]
    return np.asarray(minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds).x)


def balanced(mask: FloatArray, which: NDArray[np.int64]) -> FloatArray:
    """A mask [n, 20] in which each of several sets of clips counts as much as any other; `which` set a clip is of."""
    out = mask.astype(np.float32).copy()
    sets = np.unique(which)
    for each in sets:
        rows = which == each
        out[rows] *= mask.sum() / len(sets) / max(float(mask[rows].sum()), 1e-9)
    return out


def choose_thresholds(
    probabilities: FloatArray, truth: FloatArray, mask: FloatArray, pull: float = 1000.0, slack: float = 0.005
) -> FloatArray:
    """Thresholds of maximum F1 per instrument; the counts of all instruments are added with a weight of `pull`
    positives.

    F1 is nearly the same over a wide range of thresholds, and where in it the maximum lies is chance. So the middle of
    those whose F1 is within `slack` of it is taken, in logits.

    Args:
        probabilities, truth, mask: [n, 20]; the mask is the weight of a cell.

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
    good = f1 >= f1.max(0) - slack
    lowest, highest = grid[good.argmax(0)], grid[::-1][good[::-1].argmax(0)]
    return sigmoid(0.5 * (logit(lowest) + logit(highest)))


def splits(recording: NDArray[np.str_]) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Cross-validation over recordings: clips to measure, bool [n], and the clips to fit for them on, which share no
    recording with them. A clip that shares some with all others is in none.

    There are many folds, because a mixture of four leaves out four of them, and because fits that differ little rank
    the clips of different folds alike.
    """
    inside = np.stack(folds(recording), 1)
    for held_out in np.unique(inside, axis=0):
        measured = np.asarray((inside == held_out).all(1))
        fitted = np.asarray(~inside[:, held_out].any(1))
        if fitted.any():
            yield measured, fitted


def folds(recording: NDArray[np.str_], count: int = 20, seed: int = 0) -> list[NDArray[np.bool_]]:
    """For each fold, which clips are in it, bool [n]: all clips of a recording in one, and a mixture (its recordings
    joined by ' + ') in every fold that one of its voices is in."""
    voices = [name.split(" + ") for name in recording]
    names = np.random.default_rng(seed).permutation(np.unique([name for each in voices for name in each]))
    of = {name: i % count for i, name in enumerate(names)}
    clips = [{of[name] for name in each} for each in voices]
    return [np.array([k in each for each in clips]) for k in range(count)]
