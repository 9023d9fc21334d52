"""The report of an evaluation in Markdown: the paper's tables, the literature's figures, and the method."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.arrays import FloatArray
from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.training.evaluation.detections import detections, micro
from instrec_live.training.evaluation.measure import Evaluation, clip_names
from instrec_live.training.evaluation.metrics import average_precision
from instrec_live.training.evaluation.scorecard import THRESHOLDS, Comparison, Scorecard

Number = float | NDArray[np.floating]  # an array without axes
Pictures = Sequence[tuple[str, str]]  # (file, what it shows)

_LEAST = 0.05  # a probability worth showing
_LITERATURE = ("mAP", "micro-AP", "ROC-AUC", "F1±", "top-1", "ECE", "Brier")


def figure(value: Number, low: Number = np.nan, high: Number = np.nan, digits: int = 3, sign: bool = False) -> str:
    """A number with its interval if there is one; – if there is no number."""
    if not np.isfinite(value):
        return "–"
    form = f"{'+' if sign else ''}.{digits}f"
    return f"{value:{form}}" + (f" [{low:{form}}, {high:{form}}]" if np.isfinite(low) and np.isfinite(high) else "")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> list[str]:
    """Lines of a Markdown table and an empty one; the first `words` columns are words, the others figures."""
    shown = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    rule = ["---"] * words + ["---:"] * (len(head) - words)
    return [f"| {' | '.join(row)} |" for row in (shown[0], rule, *shown[1:])] + [""]


def section(evaluation: Evaluation, own: bool, pictures: Pictures) -> list[str]:
    """The section of one data set; `own`: also with the models' own thresholds."""
    cards, classes = evaluation.scorecards, evaluation.known.classes
    lines = [f"## {evaluation.title}", "", *_data(evaluation), ""]
    names = ["loss", *(f"F1@{t:g}" for t in THRESHOLDS), *(["F1@own"] if own else [])]
    lines += ["### Table I. Loss and macro-F1", ""]
    lines += table(["model", "masked BCE", *(f"macro-{name}" for name in names[1:])],
                   [[label, *_cells(card, names)] for label, card in cards.items()])  # fmt: skip
    if evaluation.comparisons:
        lines += ["### Table II. With and without synthetic data", ""]
        lines += [
            "The model minus the one trained without synthetic data, on the same clips; a negative loss is a gain.",
            "",
        ]
        lines += table(["model", "masked BCE", *(f"{what}{name}" for name in names[1:4]
                        for what in ("macro-", "median ", "up / down "))],
                       [_gain(label, found) for label, found in evaluation.comparisons.items()])  # fmt: skip
    lines += ["### As the literature measures", ""]
    lines += table(["model", *_LITERATURE], [[label, *_cells(card, _LITERATURE)] for label, card in cards.items()])
    for file, what in pictures:
        lines += [f"![{what}]({file})", ""]
    lines += ["### Table III. By instrument", ""]
    for label, card in cards.items():
        lines += [f"**{label}**", "", *_by_instrument(card, evaluation, own)]
    missing = [DISPLAY_NAMES[name] for name, yes in zip(INSTRUMENTS, classes, strict=True) if not yes]
    if missing:
        lines += [f"Too few labelled clips to enter any mean: {', '.join(missing)}.", ""]
    return lines


def _data(evaluation: Evaluation) -> list[str]:
    known = evaluation.known.mask > 0
    return [
        f"{len(evaluation.table)} clips ({evaluation.chosen}) of {evaluation.groups} recordings or artists, "
        f"{known.sum():,} of {known.size:,} cells labelled, "
        f"{((evaluation.known.truth > 0.5) & known).sum():,} of them positive. Means run over "
        f"{evaluation.known.classes.sum()} instruments."
    ]


def _cells(card: Scorecard, names: Sequence[str]) -> list[str]:
    return [figure(card.value[name], card.interval(name)[0], card.interval(name)[1]) for name in names]


def _gain(label: str, found: Comparison) -> list[str]:
    row = [label, figure(found.value["loss"], found.low["loss"], found.high["loss"], 4, sign=True)]
    for name in (f"F1@{t:g}" for t in THRESHOLDS):
        for each in (name, f"median {name}"):
            row.append(figure(found.value[each], found.low[each], found.high[each], sign=True))
        row.append(f"{found.up(name)} / {found.down(name)}")
    return row


def _by_instrument(card: Scorecard, evaluation: Evaluation, own: bool) -> list[str]:
    names = ["P@0.5", "R@0.5", "F1@0.5 each", *(["P@own", "R@own", "F1@own each"] if own else [])]
    known = evaluation.known.mask > 0
    positive = ((evaluation.known.truth > 0.5) & known).sum(0)
    low, high = card.interval("AP")
    rows = [
        [DISPLAY_NAMES[name], f"{positive[c]}", f"{known[:, c].sum() - positive[c]}",
         figure(card.value["AP"][c], low[c], high[c], 2), *(figure(card.value[n][c], digits=2) for n in names)]
        for c, name in enumerate(INSTRUMENTS)
    ]  # fmt: skip
    return table(["instrument", "positives", "negatives", "AP", *(n.removesuffix(" each") for n in names)], rows)


def clips_section(clips: Any, probabilities: Mapping[str, FloatArray], pictures: Pictures) -> list[str]:
    """Table IV: every detection in single clips.

    Args:
        clips: a `Table` of them, n rows.
        probabilities: float32 [n, 20] of each model.
    """
    names = clip_names(clips.paths)
    lines = ["## Table IV. Real clips", ""]
    lines += ["Everything detected at each threshold, right or wrong; AP measures the ranking within the clip.", ""]
    for label, p in probabilities.items():
        found = [[detections(*row, t) for t in THRESHOLDS] for row in zip(clips.labels, clips.mask, p, strict=True)]
        precisions = average_precision(clips.labels.T, p.T, clips.mask.T, 1)
        rows = []
        for i, name in enumerate(names):
            sounds = (clips.labels[i] > 0.5) & (clips.mask[i] > 0)
            rows.append([f"`{name}`", _ranked(p[i], sounds), _ranked(p[i], ~sounds & (p[i] >= _LEAST)),
                         *map(_verdict, found[i]), figure(precisions[i], digits=2)])  # fmt: skip
        lines += [f"**{label}**", ""]
        head = ["clip", "what sounds", f"all else from {_LEAST:g}", *(f"at {t:g}" for t in THRESHOLDS), "AP"]
        lines += table(head, rows, 6)
        totals = []
        for k, threshold in enumerate(THRESHOLDS):
            of = [row[k] for row in found]
            count = [str(sum(len(getattr(d, kind)) for d in of)) for kind in ("hits", "misses", "false")]
            totals.append([f"at {threshold:g}", *count, *(figure(x) for x in micro(of))])
        lines += table(["all clips", "hits", "misses", "false", "precision", "recall", "F1"], totals)
    for file, what in pictures:
        lines += [f"![{what}]({file})", ""]
    return lines


def _ranked(p: FloatArray, chosen: NDArray[np.bool_]) -> str:
    order = [c for c in np.argsort(-p, kind="stable") if chosen[c]]
    return ", ".join(f"{DISPLAY_NAMES[INSTRUMENTS[c]]} {p[c]:.2f}" for c in order) or "–"


def _verdict(found: Any) -> str:
    parts = [f"{len(found.hits)} of {len(found.hits) + len(found.misses)}"] if found.hits or found.misses else []
    for word, names in (("missed", found.misses), ("**false**", found.false), ("unknown:", found.unknown)):
        if names:
            parts.append(f"{word} {', '.join(DISPLAY_NAMES[name] for name in names)}")
    return "; ".join(parts) or "–"


def method(about: Mapping[str, Any], evaluations: Sequence[Evaluation], unreadable: Sequence[str]) -> list[str]:
    """The method section; `about` is the head of metrics.json, `unreadable` lists the clips that were left out, and
    why."""
    lines = ["## How this was measured", "", "```sh", about["command"], "```", ""]
    if about["protocol"] == "paper":
        lines += ["**Warning: the paper's protocol.** Unlabelled instruments count as absent, so correct "
                  "detections may count as wrong; its splits put artists on both sides. These figures can be compared "
                  "with the paper's only.", ""]  # fmt: skip
    else:
        lines += ["Only labelled cells count: where a clip has no label for an instrument, nothing is scored.", ""]
    if evaluations:
        rows = []
        for e in evaluations:
            splits = ", ".join(f"{n} {split or 'undecided'}" for split, n in e.splits.items())
            cells = f"{(e.known.mask > 0).sum():,} of {e.known.mask.size:,}"
            rows.append([e.spec, splits, e.chosen, str(len(e.table)), str(e.groups), cells, str(len(e.unreadable))])
        lines += table(["data", "clips", "split", "analysed", "groups", "labelled cells", "unreadable"], rows, 3)
    if unreadable:
        lines += ["Left out, because they cannot be read:", "", *(f"- {line}" for line in unreadable), ""]
    lines += table(
        ["model", "opened as", "sha256", "calibration, thresholds"],
        [
            [m["label"], f"`{m['origin']}`", f"`{m['sha256'][:16]}…`", "its own" if m["calibrated"] else "none, 0.5"]
            for m in about["models"]
        ],
        words=4,
    )
    if learned := about.get("learned", ()):
        lines += table(
            ["data", "model", "clips", "of them, in its training"],
            [
                [each["data"], each["model"], str(each["clips"]),
                 "not recorded" if each["learned"] is None else str(each["learned"])]
                for each in learned
            ],
            words=2,
        )  # fmt: skip
    lines += [
        f"- {about['date']}, seed {about['seed']}; {', '.join(f'{k} {v}' for k, v in about['versions'].items())}.",
        f"- [Intervals] are 95 % percentile bootstraps of {about['boot']} resamples of recordings or artists; both "
        "models of a difference use the same resamples. With few positives, the intervals of average precision are "
        "biased upwards.",
        "- A clip of up to 10 s is one window; of longer ones the probabilities of 10 s windows, one every 5 s, are "
        "averaged.",
        "- A label over 0.5 is a positive. Means over instruments include those with at least "
        f"{about['min_positives']} positive and one negative clip; a resample without positives of an instrument "
        "leaves it out.",
        "- F1 is of presence; F1± is the mean of the F1 of presence and the F1 of absence, at 0.5, which the "
        "literature on OpenMIC calls F1. mAP is the mean over instruments of scikit-learn's average precision, "
        "micro-AP that of all cells pooled. ECE has 15 bins of equal mass. top-1 is over clips of exactly one "
        "instrument.",
        "- @own: at the model's own thresholds. A bundle's calibration and thresholds were fitted on its maker's "
        "clips; if the clips measured here are among them, its figures are too good.",
        "",
    ]
    return lines
