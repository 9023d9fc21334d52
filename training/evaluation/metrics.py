"""Metrics over labelled cells only: a masked cell has no effect.

In all of them truth, scores, hit and mask are [n, 20]: one row per clip; mask 1 where the truth is known; truth over
0.5 where the instrument sounds. `weights` are the weights of the clips, [n], or [B, n] for B bootstrap resamples at
once; results then have the same leading shape [...]. Undefined values are NaN.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.arrays import BoolArray

FloatArray = NDArray[np.floating]

MIN_POSITIVES = 4  # with fewer, average precision is unreliable


def measured(truth: FloatArray, mask: FloatArray, min_positives: int = MIN_POSITIVES) -> BoolArray:
    """bool [20]: the instruments with at least `min_positives` positive clips and one negative clip."""
    positive, negative = _positive_negative(truth, mask)
    return np.asarray((positive.sum(0) >= min_positives) & (negative.sum(0) >= 1))


def enough(truth: FloatArray, mask: FloatArray) -> int | None:
    """The number of positives an instrument needs to enter means: MIN_POSITIVES, or 1 if no instrument has as many;
    None if nothing can be measured."""
    return next((n for n in (MIN_POSITIVES, 1) if measured(truth, mask, n).any()), None)


def average_precision(
    truth: FloatArray,
    scores: FloatArray,
    mask: FloatArray,
    min_positives: int = MIN_POSITIVES,
    weights: FloatArray | None = None,
) -> FloatArray:
    """Average precision per instrument, [..., 20]: the sum over thresholds of precision times the step of recall.

    scikit-learn's `average_precision_score`, not interpolated. NaN for what is not `measured`, and in resamples that
    left no positive or no negative clip.

    Raises:
        ValueError: a score of a labelled cell is not finite.
    """
    return _per_instrument(_area_of_precision, truth, scores, mask, min_positives, weights)


def roc_auc(
    truth: FloatArray,
    scores: FloatArray,
    mask: FloatArray,
    min_positives: int = MIN_POSITIVES,
    weights: FloatArray | None = None,
) -> FloatArray:
    """Area under the ROC curve per instrument, [..., 20]; NaN and errors as `average_precision`."""
    return _per_instrument(_area_of_roc, truth, scores, mask, min_positives, weights)


def mean_average_precision(
    truth: FloatArray, scores: FloatArray, mask: FloatArray, min_positives: int = MIN_POSITIVES
) -> float:
    """Macro mean of `average_precision` over the instruments that have one; NaN where none has."""
    each = average_precision(truth, scores, mask, min_positives)
    return float(np.nanmean(each)) if np.isfinite(each).any() else float("nan")


def micro_average_precision(
    truth: FloatArray, scores: FloatArray, mask: FloatArray, weights: FloatArray | None = None
) -> FloatArray:
    """Average precision of all labelled cells pooled, [...]."""
    y, p, clip = _pooled(truth, scores, mask)
    return _area_of_precision(*_curve(y, p, clip, _weights(weights, len(truth))))


def top1(
    truth: FloatArray,
    scores: FloatArray,
    solo: BoolArray,
    weights: FloatArray | None = None,
    mask: FloatArray | None = None,
) -> FloatArray:
    """Share of solo clips, bool [n], whose highest instrument is right, [...]. With a mask, unknown instruments do not
    count: one of them may sound."""
    rows = np.flatnonzero(solo)
    if mask is not None:
        scores = np.where(np.asarray(mask) > 0, scores, -np.inf)
    w = _weights(weights, len(truth))[..., rows]
    right = truth[rows, scores[rows].argmax(1)] > 0.5
    return _ratio(w @ right, w.sum(-1))


def solos(truth: FloatArray, mask: FloatArray) -> BoolArray:
    """bool [n]: the clips with full labels and exactly one instrument."""
    positive, negative = _positive_negative(truth, mask)
    return np.asarray((positive.sum(1) == 1) & (negative.sum(1) == truth.shape[1] - 1))


class Counts(NamedTuple):
    """Labelled cells by truth and decision, [..., 20] each: true and false positives, false and true negatives."""

    tp: FloatArray
    fp: FloatArray
    fn: FloatArray
    tn: FloatArray


def counts(truth: FloatArray, hit: BoolArray, mask: FloatArray, weights: FloatArray | None = None) -> Counts:
    """Counts of decisions, bool [n, 20]."""
    positive, negative = _positive_negative(truth, mask)
    w = _weights(weights, len(truth))
    return Counts(*(w @ cells for cells in (hit & positive, hit & negative, ~hit & positive, ~hit & negative)))


def precision(of: Counts) -> FloatArray:
    """[..., 20]; NaN where nothing was detected."""
    return _ratio(of.tp, of.tp + of.fp)


def recall(of: Counts) -> FloatArray:
    """[..., 20]; NaN where nothing was there to be detected."""
    return _ratio(of.tp, of.tp + of.fn)


def f1(of: Counts) -> FloatArray:
    """The paper's F1, of presence, [..., 20]; NaN where nothing was there to be detected."""
    return _ratio(2 * of.tp, np.where(of.tp + of.fn > 0, 2 * of.tp + of.fp + of.fn, 0))


def f1_both(of: Counts) -> FloatArray:
    """The OpenMIC literature's F1, [..., 20]: the mean of the F1 of presence and that of absence (Humphrey et al.,
    ISMIR 2018); NaN where either is."""
    return (f1(of) + f1(Counts(of.tn, of.fn, of.fp, of.tp))) / 2


def log_loss(truth: FloatArray, scores: FloatArray, mask: FloatArray, weights: FloatArray | None = None) -> FloatArray:
    """Binary cross-entropy of probabilities [nats], the mean over labelled cells, [...]."""
    known = np.asarray(mask) > 0
    tiny = np.finfo(np.float32).eps  # as scikit-learn clips float32
    p = np.clip(np.where(known, scores, 0.5).astype(np.float64), tiny, 1 - tiny)
    return _mean_of_cells(-np.where(truth > 0.5, np.log(p), np.log1p(-p)), known, weights)


def brier(truth: FloatArray, scores: FloatArray, mask: FloatArray, weights: FloatArray | None = None) -> FloatArray:
    """Mean squared error of probabilities over labelled cells, [...] (Brier, 1950)."""
    known = np.asarray(mask) > 0
    return _mean_of_cells((np.where(known, scores, 0.0).astype(np.float64) - (truth > 0.5)) ** 2, known, weights)


class Reliability(NamedTuple):
    """Bins of equal mass, from the lowest probabilities to the highest, [..., bins] each."""

    mass: FloatArray  # labelled cells in it
    told: FloatArray  # their mean probability
    true: FloatArray  # the share of them that hold the instrument


def reliability(
    truth: FloatArray, scores: FloatArray, mask: FloatArray, bins: int = 15, weights: FloatArray | None = None
) -> Reliability:
    """How probabilities of labelled cells compare with what came true.

    Cells of one probability on both sides of a bin's edge are shared out in proportion, so that the order of the clips
    does not matter.
    """
    y, p, clip = _pooled(truth, scores, mask)
    order = np.argsort(p, kind="stable")
    y, p, w = y[order], p[order].astype(np.float64), _weights(weights, len(truth))[..., clip[order]]
    ends = np.r_[np.flatnonzero(np.diff(p)), len(p) - 1] if len(p) else np.zeros(0, np.int64)
    sums = np.stack([np.cumsum(w * x, axis=-1)[..., ends] for x in (np.ones_like(p), p, y)])
    sums = np.concatenate([np.zeros((*sums.shape[:-1], 1)), sums], axis=-1)
    rows = sums.reshape(3, -1, sums.shape[-1])
    parts = np.zeros((3, rows.shape[1], bins))
    for b, total in enumerate(np.rint(rows[0, :, -1]).astype(int)):
        edges = np.r_[0, np.cumsum(total // bins + (np.arange(bins) < total % bins))]  # as numpy.array_split
        parts[:, b] = [np.diff(np.interp(edges, rows[0, b], row)) for row in rows[:, b]]
    mass, told, true = parts.reshape(3, *w.shape[:-1], bins)
    return Reliability(mass, _ratio(told, mass), _ratio(true, mass))


def calibration_error(of: Reliability) -> FloatArray:
    """Expected calibration error, [...]: |predicted - observed|, mean over bins by mass (Naeini et al., AAAI 2015)."""
    gaps = np.where(of.mass > 0, of.mass * np.abs(of.told - of.true), 0.0)
    return _ratio(gaps.sum(-1), of.mass.sum(-1))


def _weights(weights: FloatArray | None, clips: int) -> FloatArray:
    return np.ones(clips) if weights is None else np.asarray(weights, np.float64)


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    out = np.full(np.broadcast(part, whole).shape, np.nan)
    ratio: FloatArray = np.divide(part, whole, out=out, where=whole > 0)[()]  # a number where there is no axis left
    return ratio


def _positive_negative(truth: FloatArray, mask: FloatArray) -> tuple[BoolArray, BoolArray]:
    known, sounds = np.asarray(mask) > 0, np.asarray(truth) > 0.5
    return known & sounds, known & ~sounds


def _mean_of_cells(cells: FloatArray, known: BoolArray, weights: FloatArray | None) -> FloatArray:
    w = _weights(weights, len(cells))
    return _ratio(w @ np.where(known, cells, 0.0).sum(1), w @ known.sum(1))


def _pooled(truth: FloatArray, scores: FloatArray, mask: FloatArray) -> tuple[BoolArray, FloatArray, NDArray[np.int64]]:
    """(sounds, score, row) of every labelled cell."""
    clip, column = np.nonzero(np.asarray(mask) > 0)
    p = _finite(scores[clip, column])
    return truth[clip, column] > 0.5, p, clip


def _finite(scores: FloatArray) -> FloatArray:
    if not np.isfinite(scores).all():
        raise ValueError("a score of a labelled cell is not finite")
    return scores


def _curve(
    sounds: BoolArray, scores: FloatArray, clip: NDArray[np.int64], weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """True and false positives at every distinct score, from the highest down, [..., k] each."""
    order = np.argsort(-scores, kind="stable")
    ends = np.r_[np.flatnonzero(np.diff(scores[order])), len(order) - 1] if len(order) else order
    w = weights[..., clip[order]]
    hits = np.cumsum(w * sounds[order], axis=-1)[..., ends]
    return hits, np.cumsum(w, axis=-1)[..., ends] - hits


def _per_instrument(
    area: Callable[[FloatArray, FloatArray], FloatArray],
    truth: FloatArray,
    scores: FloatArray,
    mask: FloatArray,
    min_positives: int,
    weights: FloatArray | None,
) -> FloatArray:
    w = _weights(weights, len(truth))
    out = np.full((*w.shape[:-1], truth.shape[1]), np.nan)
    for c in np.flatnonzero(measured(truth, mask, min_positives)):
        rows = np.flatnonzero(np.asarray(mask)[:, c] > 0)
        out[..., c] = area(*_curve(truth[rows, c] > 0.5, _finite(scores[rows, c]), rows, w))
    return out


def _area_of_precision(tp: FloatArray, fp: FloatArray) -> FloatArray:
    if not tp.shape[-1]:
        return np.full(tp.shape[:-1], np.nan)[()]
    found = np.divide(tp, tp + fp, out=np.zeros_like(tp), where=tp + fp > 0)
    area = (np.diff(tp, prepend=0.0) * found).sum(-1)
    return _ratio(area, np.where(fp[..., -1] > 0, tp[..., -1], 0))


def _area_of_roc(tp: FloatArray, fp: FloatArray) -> FloatArray:
    tp, fp = (np.concatenate([np.zeros((*x.shape[:-1], 1)), x], axis=-1) for x in (tp, fp))
    return _ratio((np.diff(fp) * (tp[..., 1:] + tp[..., :-1]) / 2).sum(-1), tp[..., -1] * fp[..., -1])
