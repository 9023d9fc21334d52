"""Measures models on one labelled data set."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.arrays import FloatArray
from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.data.table import Table
from instrec_live.training.evaluation.listen import Predictions
from instrec_live.training.evaluation.metrics import MIN_POSITIVES, measured
from instrec_live.training.evaluation.scorecard import OVERALL, Comparison, Known, Scorecard, compare, resamples, score

Number = float | NDArray[np.floating]  # an array without axes


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The results of some models on one data set.

    Attributes:
        spec: the KIND:PATH of the data.
        chosen: a description of the clips that were measured.
        table: these clips, without unreadable ones.
        splits: number of clips in each split of the data.
        known: their labels.
        probabilities, thresholds, scorecards: of each model, [n, 20], [20].
        compared: label -> label of the model trained without synthetic data.
        comparisons: label -> the difference to that model.
        unreadable: the clips that were skipped, and why.
    """

    spec: str
    chosen: str
    table: Table
    splits: Mapping[str, int]
    known: Known
    probabilities: Mapping[str, FloatArray]
    thresholds: Mapping[str, FloatArray]
    scorecards: Mapping[str, Scorecard]
    compared: Mapping[str, str]
    comparisons: Mapping[str, Comparison]
    unreadable: tuple[str, ...]

    @property
    def title(self) -> str:
        """The kind of data and the name of its folder or file; of several, joined."""
        parts = [spec.partition(":") for spec in self.spec.split(" + ")]
        return " + ".join(f"{kind} {Path(path).resolve().name}" for kind, _, path in parts)

    @property
    def groups(self) -> int:
        """Number of recordings or artists."""
        return len(np.unique(self.table.group))


def choose(spec: str, table: Table, split: str | None) -> tuple[Table, str]:
    """The clips to measure, and a description: those of the split; by default the test split, or all if there is none.

    Raises:
        UsageError: the data have no clip of that split.
    """
    there = {name: int((table.split == name).sum()) for name in np.unique(table.split)}
    counts = ", ".join(f"{count} {name or 'without a split'}" for name, count in there.items())
    if split == "all" or (split is None and "test" not in there):
        return table, f"all clips: {counts}"
    split = split or "test"
    if split not in there:
        raise UsageError(f"{spec} has no clips of the split {split!r}", f"it has {counts}; use --split all")
    return table.of(split), f"the {split} split"


def evaluate(
    spec: str,
    chosen: str,
    everything: Table,
    table: Table,
    predictions: Predictions,
    thresholds: Mapping[str, FloatArray],
    pairs: Mapping[str, str],
    *,
    boot: int,
    seed: int,
    min_positives: int = MIN_POSITIVES,
) -> Evaluation:
    """Measure the predictions for `table`.

    Args:
        thresholds: float32 [20] of each model, by label.
        pairs: label -> label of the model to compare with.
        boot: resamples for intervals; with fewer than two recordings there are no intervals.

    Raises:
        InputFileError: no clip has a label.
    """
    table = table[predictions.kept]
    if not (table.mask > 0).any():
        raise InputFileError(f"{spec}: none of its {len(table)} clips has a label")
    classes = measured(table.labels, table.mask, min_positives)
    drawable = boot if len(np.unique(table.group)) > 1 else 0
    known = Known(table.labels, table.mask, classes, resamples(table.group, drawable, seed))
    cards = {label: score(known, p, thresholds[label]) for label, p in predictions.probabilities.items()}
    return Evaluation(
        spec,
        chosen,
        table,
        {str(name): int(count) for name, count in zip(*np.unique(everything.split, return_counts=True), strict=True)},
        known,
        predictions.probabilities,
        thresholds,
        cards,
        pairs,
        {new: compare(cards[new], cards[old], classes) for new, old in pairs.items()},
        predictions.unreadable,
    )


def clip_names(paths: tuple[Path, ...]) -> list[str]:
    """Short names: file names if they are unique, otherwise paths below the common folder."""
    names = [path.name for path in paths]
    if len(set(names)) == len(names):
        return names
    parts = [path.resolve().parts for path in paths]
    shared = next((i for i, level in enumerate(zip(*parts, strict=False)) if len(set(level)) > 1), 0)
    return ["/".join(part[shared:]) for part in parts]


def as_data(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation without the probabilities, for JSON; undefined values are None."""
    known, table = evaluation.known, evaluation.table
    return {
        "data": evaluation.spec,
        "clips": len(table),
        "chosen": evaluation.chosen,
        "splits": evaluation.splits,
        "sources": {str(name): int((table.source == name).sum()) for name in np.unique(table.source)},
        "groups": evaluation.groups,
        "cells": {"known": int((known.mask > 0).sum()), "of": known.mask.size,
                  "positive": int(((known.truth > 0.5) & (known.mask > 0)).sum())},
        "measured": [name for name, yes in zip(INSTRUMENTS, known.classes, strict=True) if yes],
        "resamples": len(known.weights),
        "unreadable": list(evaluation.unreadable),
        "models": {label: _card(card, evaluation) for label, card in evaluation.scorecards.items()},
        "differences": {label: _comparison(found) for label, found in evaluation.comparisons.items()},
    }  # fmt: skip


def _card(card: Scorecard, evaluation: Evaluation) -> dict[str, Any]:
    each = [name for name in card.value if name not in OVERALL]
    spans = {name: card.interval(name) for name in card.value}
    known = evaluation.known.mask > 0
    positive = ((evaluation.known.truth > 0.5) & known).sum(0)
    return {
        **{name: _figure(card.value[name], *spans[name]) for name in OVERALL},
        "reliability": {name: [number(x) for x in values] for name, values in card.reliability._asdict().items()},
        "instruments": {
            instrument: {
                "positives": int(positive[c]),
                "negatives": int(known[:, c].sum() - positive[c]),
                **{name.removesuffix(" each"): _figure(card.value[name][c], spans[name][0][c], spans[name][1][c])
                   for name in each},
            }
            for c, instrument in enumerate(INSTRUMENTS)
        },
    }  # fmt: skip


def _comparison(found: Comparison) -> dict[str, Any]:
    return {
        **{name: _figure(found.value[name], found.low[name], found.high[name]) for name in found.value},
        "instruments": {
            name: {
                "up": found.up(name),
                "down": found.down(name),
                **{instrument: _figure(found.each[name][c], found.each_low[name][c], found.each_high[name][c])
                   for c, instrument in enumerate(INSTRUMENTS)},
            }
            for name in found.each
        },
    }  # fmt: skip


def _figure(value: Number, low: Number, high: Number) -> dict[str, float | None]:
    return {"value": number(value), "low": number(low), "high": number(high)}


def number(value: Number) -> float | None:
    """For JSON, which has no NaN."""
    return float(value) if np.isfinite(value) else None
