"""All figures of one model on one set of labelled clips, and of two models on the same clips, with intervals.

Intervals are percentile bootstraps over recordings (Efron, 1979). Whole recordings (or artists) are drawn, not clips:
errors on clips of one recording are not independent.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.arrays import BoolArray
from instrec_live.training.evaluation import metrics

FloatArray = NDArray[np.floating]

_BLOCK = 50  # resamples at a time: what stays in the cache


def resamples(group: NDArray[np.str_], count: int, seed: int = 0) -> FloatArray:
    """The weight of each clip in each resample, float64 [count, n], whole numbers.

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
    """The central 95 % of [B, ...] -> (low, high) of [...]; resamples without a value (NaN) are left out."""
    out = np.full((2, *draws.shape[1:]), np.nan)
    some = np.isfinite(draws).any(axis=0)
    out[:, some] = np.nanpercentile(draws[:, some], [2.5, 97.5], axis=0)
    return out[0][()], out[1][()]


Figures = dict[str, FloatArray]

THRESHOLDS = (0.2, 0.3, 0.5)  # the paper's, and one between
OVERALL = ("loss", *(f"F1@{t:g}" for t in THRESHOLDS), "F1@own", "mAP", "micro-AP", "ROC-AUC", "F1±", "ECE", "Brier",
           "top-1")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Known:
    """The labels of some clips.

    Attributes:
        truth, mask: [n, 20]; mask 1 where the truth is known.
        classes: bool [20], the instruments that macro means run over.
        weights: float64 [B, n], the bootstrap's resamples; B 0 for no intervals.
    """

    truth: FloatArray
    mask: FloatArray
    classes: BoolArray
    weights: FloatArray


@dataclass(frozen=True, eq=False)
class Scorecard:
    """Figures by name, `OVERALL` and, of every instrument ([20] each), "AP", "P@0.5", "R@0.5", "F1@0.5 each", ….

    Attributes:
        value: of the clips as they are.
        draws: of every resample, one axis more in front; empty without intervals.
        reliability: of the probabilities, in 15 bins.
    """

    value: Figures
    draws: Figures
    reliability: metrics.Reliability

    def interval(self, name: str) -> tuple[FloatArray, FloatArray]:
        """95 % interval (low, high) of a figure; NaN without resamples."""
        return interval(self.draws[name]) if self.draws else (self.value[name] * np.nan,) * 2


def score(known: Known, probabilities: FloatArray, thresholds: FloatArray) -> Scorecard:
    """Measure one model.

    Args:
        probabilities: [n, 20].
        thresholds: [20], the model's own.

    Raises:
        ValueError: a probability of a labelled cell is not finite.
    """

    def figures(weights: FloatArray | None) -> Figures:
        return _figures(known, probabilities, thresholds, weights)

    draws = drawn(figures, known.weights) if len(known.weights) else {}
    return Scorecard(figures(None), draws, metrics.reliability(known.truth, probabilities, known.mask))


def _figures(known: Known, p: FloatArray, thresholds: FloatArray, weights: FloatArray | None) -> Figures:
    truth, mask = known.truth, known.mask
    ap = metrics.average_precision(truth, p, mask, 1, weights)
    out = {
        "loss": metrics.log_loss(truth, p, mask, weights),
        "mAP": macro(ap, known.classes),
        "micro-AP": metrics.micro_average_precision(truth, p, mask, weights),
        "ROC-AUC": macro(metrics.roc_auc(truth, p, mask, 1, weights), known.classes),
        "ECE": metrics.calibration_error(metrics.reliability(truth, p, mask, weights=weights)),
        "Brier": metrics.brier(truth, p, mask, weights),
        "top-1": metrics.top1(truth, p, metrics.solos(truth, mask), weights),
        "AP": ap,
    }
    at = {f"{t:g}": np.full_like(thresholds, t) for t in THRESHOLDS} | {"own": thresholds}
    for name, threshold in at.items():
        found = metrics.counts(truth, p >= threshold, mask, weights)
        out[f"P@{name}"], out[f"R@{name}"] = metrics.precision(found), metrics.recall(found)
        out[f"F1@{name} each"] = metrics.f1(found)
        out[f"F1@{name}"] = macro(out[f"F1@{name} each"], known.classes)
        if name == "0.5":
            out["F1±"] = macro(metrics.f1_both(found), known.classes)
    return out


def macro(values: FloatArray, classes: BoolArray) -> FloatArray:
    """Mean over instruments, [..., 20] -> [...]; those without a figure are left out."""
    chosen = values[..., classes]
    there = np.isfinite(chosen)
    total = np.where(there, chosen, 0.0).sum(-1)
    mean: FloatArray = np.divide(total, there.sum(-1), out=np.full(total.shape, np.nan), where=there.any(-1))[()]
    return mean


@dataclass(frozen=True, eq=False)
class Comparison:
    """One model minus another, on the same clips and the same resamples.

    Attributes:
        value, low, high: "loss", "mAP", "F1@…" (macro) and "median F1@…", differences of figures and 95 % intervals.
        each, each_low, each_high: "F1@…", [20], per instrument; NaN for those that are not measured.
    """

    value: Figures
    low: Figures
    high: Figures
    each: Figures
    each_low: Figures
    each_high: Figures

    def up(self, name: str) -> int:
        """Number of instruments with a gain."""
        return int((self.each[name] > 0).sum())

    def down(self, name: str) -> int:
        """Number of instruments with a loss."""
        return int((self.each[name] < 0).sum())


def compare(new: Scorecard, old: Scorecard, classes: BoolArray) -> Comparison:
    """`new` minus `old`; both scored on the same `Known`."""
    names = [f"F1@{t:g}" for t in THRESHOLDS]
    value = _differences(new.value, old.value, names, classes)
    draws = _differences(new.draws, old.draws, names, classes) if new.draws and old.draws else {}
    bounds = {name: interval(draws[name]) if draws else (v * np.nan, v * np.nan) for name, v in value.items()}
    overall = [name for name in value if not name.endswith(" each")]
    return Comparison(
        *({n: x[n] for n in overall} for x in (value, *_sides(bounds))),
        *({n: x[f"{n} each"] for n in names} for x in (value, *_sides(bounds))),
    )


def _sides(bounds: dict[str, tuple[FloatArray, FloatArray]]) -> tuple[Figures, Figures]:
    return {n: low for n, (low, _) in bounds.items()}, {n: high for n, (_, high) in bounds.items()}


def _differences(new: Figures, old: Figures, names: Sequence[str], classes: BoolArray) -> Figures:
    out: Figures = {name: new[name] - old[name] for name in ("loss", "mAP", *names)}
    for name in names:
        each = np.where(classes, new[f"{name} each"] - old[f"{name} each"], np.nan)
        out[f"{name} each"], out[f"median {name}"] = each, _median(each)
    return out


def _median(values: FloatArray) -> FloatArray:
    """Median over the last axis without NaNs; NaN if there are only NaNs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # for slices of NaNs only
        return np.asarray(np.nanmedian(values, axis=-1))[()]
