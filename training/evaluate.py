"""Measure models on labelled clips, and write a report: the paper's tables, the literature's figures, pictures.

    python -m training.evaluate --data openmic:DIR --models passt runs/passt/weights.pt --to runs/evaluation
    python -m training.evaluate --data clips:DIR --clips song.wav=piano+voice other.ogg

A model is a bundled name, the folder of a bundle or a checkpoint (.pt), with a prefix NAME= as its label; several also
give their ensemble. The folder then contains report.md, metrics.json (all of it as data), pictures, and predictions/, a
csv per model: file, 20 probabilities, and `active`, the instruments over their thresholds.
"""

import argparse
import datetime
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from instrec_live.models.bundle import DEFAULT_MODELS
from instrec_live.models.errors import UsageError
from instrec_live.training.command import entry
from instrec_live.training.data.provenance import check_unlearned, learned_clips
from instrec_live.training.data.specs import add_variant, open_all, open_data
from instrec_live.training.data.table import Table
from instrec_live.training.evaluation.candidates import Candidate, Joint, check_labels, joint, open_candidate
from instrec_live.training.evaluation.detections import open_clips
from instrec_live.training.evaluation.listen import listen
from instrec_live.training.evaluation.listen import write_predictions as write_predictions  # re-exported
from instrec_live.training.evaluation.measure import choose, evaluate
from instrec_live.training.evaluation.publish import Singles, check_free, publish

_VERSIONS = ("instrec-live", "numpy", "onnxruntime", "scikit-learn", "soundfile", "soxr")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="the same as --data clips:FOLDER")
    parser.add_argument("--data", action="append", default=[], metavar="KIND:PATH", help="labelled clips; repeatable")
    parser.add_argument("--split", choices=("train", "valid", "test", "all"),
                        help="which of them (test, or all where none are marked so)")  # fmt: skip
    parser.add_argument("--models", nargs="+", default=list(DEFAULT_MODELS), metavar="MODEL",
                        help=f"({' '.join(DEFAULT_MODELS)})")  # fmt: skip
    parser.add_argument("--without", nargs="+", default=[], metavar="MODEL",
                        help="for each of --models, in that order, one trained without synthetic data")  # fmt: skip
    parser.add_argument("--clips", nargs="+", default=[], metavar="FILE[=A+B]",
                        help="single clips to show every detection in: files, folders, tables")  # fmt: skip
    parser.add_argument("--to", type=Path, default=Path("runs/evaluation"), metavar="DIR",
                        help="a new folder, or that of an earlier report (runs/evaluation)")  # fmt: skip
    parser.add_argument("--protocol", choices=("masked", "paper"), default="masked",
                        help="paper: unlabelled instruments count as absent, and all --data are "
                        "split together")  # fmt: skip
    add_variant(parser)
    parser.add_argument("--leave-out-learned", action="store_true",
                        help="leave out clips that a model learned from, instead of refusing them")  # fmt: skip
    parser.add_argument("--boot", type=int, default=1000, metavar="N", help="resamples for intervals (1000); 0: none")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resamples (0)")
    parser.add_argument("--min-positives", type=int, default=4, metavar="N",
                        help="positive clips that an instrument needs to count in means (4)")  # fmt: skip
    parser.add_argument(
        "--skip-unreadable", action="store_true", help="leave out clips that cannot be read, and list them"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of one network (1)")
    return parser


def opened(args: argparse.Namespace) -> tuple[list[Candidate], list[Joint], dict[str, str]]:
    """The models, their ensembles, and the pairs to compare."""
    if args.without and len(args.without) != len(args.models):
        raise UsageError(f"{len(args.without)} models --without for {len(args.models)} --models",
                         "one for each, in the same order")  # fmt: skip
    models = [open_candidate(text, args.threads) for text in args.models]
    without = [open_candidate(text, args.threads) for text in args.without]
    without = [replace(c, label=f"{m.label} without") for m, c in zip(models, without, strict=False)]
    check_labels([*models, *without])
    pairs = {model.label: other.label for model, other in zip(models, without, strict=False)}
    together, apart = joint(models), joint(without, "ensemble without")
    joints = [each for each in (together, apart) if each is not None]
    if together and apart:
        pairs[together.label] = apart.label
    return [*models, *without], joints, pairs


def main() -> None:
    args = arguments().parse_args()
    specs = [*([f"clips:{args.folder}"] if args.folder else []), *args.data]
    if not specs and not args.clips:
        raise UsageError("nothing to measure", "give --data KIND:PATH, --clips FILE, or both")
    for name, least in (("boot", 0), ("seed", 0), ("min_positives", 1), ("threads", 1)):
        if getattr(args, name) < least:
            raise UsageError(f"--{name.replace('_', '-')} must be at least {least}, not {getattr(args, name)}")
    check_free(args.to)
    if args.protocol == "paper" and specs:  # the paper split real and synthetic clips together
        tables, specs = [open_all(specs, "paper", args.variant, args.without_synthetic)], [" + ".join(specs)]
    else:
        tables = [open_data(spec, args.protocol) for spec in specs]
    chosen = [choose(spec, table, args.split) for spec, table in zip(specs, tables, strict=True)]
    clips = open_clips(args.clips) if args.clips else None
    candidates, joints, pairs = opened(args)
    chosen, learned = unlearned(specs, chosen, candidates, args.leave_out_learned)
    thresholds = {c.label: c.thresholds for c in candidates} | {j.label: j.thresholds for j in joints}
    evaluations, singles = [], None
    for spec, everything, (table, which) in zip(specs, tables, chosen, strict=True):
        predictions = listen(table.paths, candidates, joints, skip_unreadable=args.skip_unreadable, what=spec)
        evaluations.append(
            evaluate(spec, which, everything, table, predictions, thresholds, pairs,
                     boot=args.boot, seed=args.seed, min_positives=args.min_positives)
        )  # fmt: skip
    if clips is not None:
        predictions = listen(clips.paths, candidates, joints, skip_unreadable=args.skip_unreadable)
        singles = Singles(clips[predictions.kept], predictions.probabilities, predictions.unreadable)
    publish(args.to, about(args, candidates, joints, learned), evaluations, singles, thresholds)
    print(args.to / "report.md")


def unlearned(
    specs: Sequence[str], chosen: Sequence[tuple[Table, str]], candidates: Sequence[Candidate], leave_out: bool
) -> tuple[list[tuple[Table, str]], list[dict[str, Any]]]:
    """The clips without those that a model learned from, in its run or in one that it started from; and how many each
    model had learned, of each of the data (None: what it learned from was not recorded).

    Raises:
        UsageError: there are such clips, and they are not to be left out; or nothing is left.
    """
    kept, counts = [], []
    for spec, (table, which) in zip(specs, chosen, strict=True):
        taken = np.zeros(len(table), bool)
        for candidate in candidates:
            record = candidate.record
            if record is not None and not leave_out:
                check_unlearned(record, table, f"{spec} ({which})", candidate.label,
                                "measure on other clips, or add --leave-out-learned")  # fmt: skip
            shared = None if record is None else learned_clips(record, table)
            counts.append({"data": spec, "model": candidate.label, "clips": len(table),
                           "learned": None if shared is None else int(shared.sum())})  # fmt: skip
            if shared is not None:
                taken |= shared
        if taken.all():
            raise UsageError(f"the models learned from all {len(table)} clips of {spec}", "measure on other clips")
        kept.append((table[~taken], which + (f", without {taken.sum()} that a model learned from" * bool(taken.any()))))
    return kept, counts


def about(
    args: argparse.Namespace,
    candidates: Sequence[Candidate],
    joints: Sequence[Joint],
    learned: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """The head of metrics.json: command, date, models and versions."""
    versions = [*_VERSIONS, *(["torch"] if any(c.bundle is None for c in candidates) else [])]
    return {
        "kind": "instrec-live evaluation",
        "command": shlex.join(["python", "-m", "training.evaluate", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seed": args.seed,
        "boot": args.boot,
        "protocol": args.protocol,
        "min_positives": args.min_positives,
        "variant": args.variant if args.protocol == "paper" else None,
        "learned": list(learned),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in versions}},
        "models": [
            {"label": c.label, "origin": c.origin, "sha256": c.sha256, "calibrated": c.bundle is not None}
            for c in candidates
        ],
        "ensembles": [
            {"label": j.label, "weights": {label: j.weights[name] for label, name in j.members.items()}} for j in joints
        ],
    }


if __name__ == "__main__":
    entry(main)
