"""The folder of an evaluation: report.md, metrics.json, pictures and predictions, written completely or not at all."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instrec_live.models.arrays import FloatArray
from instrec_live.models.errors import UsageError
from instrec_live.models.files import atomic_folder
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.data.sounds import load
from instrec_live.training.data.table import Table
from instrec_live.training.evaluation.detections import detections
from instrec_live.training.evaluation.listen import write_predictions
from instrec_live.training.evaluation.measure import Evaluation, as_data, clip_names, number
from instrec_live.training.evaluation.report import clips_section, method, section
from instrec_live.training.evaluation.scorecard import THRESHOLDS
from instrec_live.training.staging import with_path

PICTURES = 24  # of single clips, at most


@dataclass(frozen=True, eq=False)
class Singles:
    """Single clips, the probabilities of each model, [n, 20], and why some could not be read."""

    table: Table
    probabilities: Mapping[str, FloatArray]
    unreadable: tuple[str, ...]


def check_free(to: Path) -> None:
    """Check that a report can be written to a folder: it does not exist, is empty, or holds only an earlier report.

    Raises:
        UsageError: it holds other files.
    """
    if not to.exists():
        return
    if not to.is_dir():
        raise UsageError(f"{to} is a file", "give another --to")
    there = {path.relative_to(to).as_posix() for path in to.rglob("*") if not path.is_dir()}
    try:
        ours = {*json.loads((to / "metrics.json").read_text(encoding="utf-8"))["files"], "metrics.json"}
    except (OSError, ValueError, KeyError, TypeError):
        ours = set()
    if others := sorted(there - ours):
        raise UsageError(f"{to} holds {others[0]}, which is not of an earlier report", "give another --to")


def publish(
    to: Path,
    about: Mapping[str, Any],
    evaluations: Sequence[Evaluation],
    singles: Singles | None,
    thresholds: Mapping[str, FloatArray],
) -> None:
    """Write the report, in place of an earlier one.

    Args:
        about: the head of metrics.json: command, date, seed, models, ….
        thresholds: float32 [20] of each model, for the decisions in the predictions.

    Raises:
        UsageError: something else is there.
    """
    with with_path(to), atomic_folder(to) as fresh:
        _write(fresh, about, evaluations, singles, thresholds)
        check_free(to)


def _write(
    folder: Path,
    about: Mapping[str, Any],
    evaluations: Sequence[Evaluation],
    singles: Singles | None,
    thresholds: Mapping[str, FloatArray],
) -> None:
    lines = ["# Evaluation", ""]
    for i, evaluation in enumerate(evaluations, 1):
        name = f"{i}-{slug(evaluation.spec.partition(':')[0])}"
        names = clip_names(evaluation.table.paths)
        for label, p in evaluation.probabilities.items():
            where = folder / "predictions" / (name if len(evaluations) > 1 else "") / f"{slug(label)}.csv"
            write_predictions(where, names, p, p >= thresholds[label])
        lines += section(evaluation, about["protocol"] != "paper", _pictures(folder, name, evaluation))
    if singles is not None:
        lines += clips_section(singles.table, singles.probabilities, _clip_pictures(folder, singles))
    unreadable = [line for evaluation in evaluations for line in evaluation.unreadable]
    unreadable += singles.unreadable if singles else ()
    lines += method(about, evaluations, unreadable)
    (folder / "report.md").write_text("\n".join(lines), encoding="utf-8")
    content = {
        **about,
        "evaluations": [as_data(evaluation) for evaluation in evaluations],
        "clips": _singles_data(singles) if singles else {},
        "files": sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()),
    }
    written = json.dumps(content, indent=1, allow_nan=False)
    (folder / "metrics.json").write_text(written + "\n", encoding="utf-8")


def slug(text: str) -> str:
    """A file name of it: letters, digits, dots, hyphens and underscores stay."""
    return re.sub(r"[^\w.-]+", "_", text).strip("._") or "_"


def _pictures(folder: Path, name: str, evaluation: Evaluation) -> list[tuple[str, str]]:
    from instrec_live.training.evaluation.figures import draw_gain, draw_precisions, draw_reliability

    title, cards, out = evaluation.title, evaluation.scorecards, []
    for label, found in evaluation.comparisons.items():
        file = f"{name}-gain-{slug(label)}.png"
        draw_gain(folder / file, found, f"Gain of {label} over the same without synthetic data, {title}")
        out.append((file, f"{label}: gain in F1 of each instrument"))
    if evaluation.known.classes.any():
        others = set(evaluation.compared.values())  # which the pictures of gains show
        shown = {label: card for label, card in cards.items() if label not in others}
        file = f"{name}-precision.png"
        draw_precisions(folder / file, shown, evaluation.known.classes, f"Average precision, {title}")
        out.append((file, "average precision of each instrument"))
    file = f"{name}-reliability.png"
    draw_reliability(folder / file, cards, f"Reliability, {title}")
    return [*out, (file, "reliability of the probabilities")]


def _clip_pictures(folder: Path, singles: Singles) -> list[tuple[str, str]]:
    from instrec_live.training.evaluation.figures import draw_clip

    label, p = _foremost(singles.probabilities)
    table, out = singles.table, []
    for i, name in enumerate(clip_names(table.paths)[:PICTURES]):
        file = f"clip-{i + 1:02}.png"
        draw_clip(folder / file, load(table.paths[i]), p[i], table.labels[i], table.mask[i], f"{name}, {label}")
        out.append((file, f"{name}: what {label} detects"))
    return out


def _foremost(probabilities: Mapping[str, FloatArray]) -> tuple[str, FloatArray]:
    """The ensemble, or else the first model."""
    label = "ensemble" if "ensemble" in probabilities else next(iter(probabilities))
    return label, probabilities[label]


def _singles_data(singles: Singles) -> dict[str, Any]:
    """Per model and clip: probabilities, and names of hits, misses, false positives and unknown at each threshold."""
    names, table = clip_names(singles.table.paths), singles.table
    return {
        label: {
            name: {
                "probabilities": dict(zip(INSTRUMENTS, map(number, p[i]), strict=True)),
                **{f"{t:g}": vars(detections(table.labels[i], table.mask[i], p[i], t)) for t in THRESHOLDS},
            }
            for i, name in enumerate(names)
        }
        for label, p in singles.probabilities.items()
    }
