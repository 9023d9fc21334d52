"""Measures models on labelled clips, and writes a report: the paper's tables, the literature's figures, pictures.

    python -m training.evaluate --data openmic:DIR --models passt runs/passt/weights.pt --to runs/evaluation
    python -m training.evaluate --data clips:DIR --clips song.wav=piano+voice other.ogg

A model is a bundled name, the folder of a bundle or a checkpoint (.pt), with NAME= before it to name it; several also
give their ensemble. The folder then holds report.md, metrics.json (all of it as data), pictures, and predictions/,
a csv a model: file, 20 probabilities, and `active`, the instruments over their thresholds.
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

from instrec_live.models.bundle import DEFAULT_MODELS
from instrec_live.models.errors import UsageError
from instrec_live.training.command import entry
from instrec_live.training.datasets.data import open_all, open_data
from instrec_live.training.evaluation.candidates import Candidate, Joint, joint, open_candidate, told_apart
from instrec_live.training.evaluation.detections import open_clips
from instrec_live.training.evaluation.listen import listen
from instrec_live.training.evaluation.measure import choose, evaluate
from instrec_live.training.evaluation.predictions import write_predictions as write_predictions  # known by this name
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
                        help="paper: as the reference did, what nobody labelled counts as absent, and all --data "
                        "are split together")  # fmt: skip
    parser.add_argument("--boot", type=int, default=1000, metavar="N", help="resamples for intervals (1000); 0: none")
    parser.add_argument("--seed", type=int, default=0, help="draws the resamples (0)")
    parser.add_argument("--min-positives", type=int, default=4, metavar="N",
                        help="clips that an instrument needs to enter means (4)")  # fmt: skip
    parser.add_argument(
        "--skip-unreadable", action="store_true", help="leave out clips that cannot be read, and say so"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of one network (1)")
    return parser


def opened(args: argparse.Namespace) -> tuple[list[Candidate], list[Joint], dict[str, str]]:
    """The models, their ensembles, and who is compared with whom."""
    if args.without and len(args.without) != len(args.models):
        raise UsageError(f"{len(args.without)} models --without for {len(args.models)} --models",
                         "one for each, in the same order")  # fmt: skip
    models = [open_candidate(text, args.threads) for text in args.models]
    without = [open_candidate(text, args.threads) for text in args.without]
    without = [replace(c, label=f"{m.label} without") for m, c in zip(models, without, strict=False)]
    told_apart([*models, *without])
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
    if args.protocol == "paper" and specs:  # the reference split real and synthetic clips together
        tables, specs = [open_all(specs, "paper")], [" + ".join(specs)]
    else:
        tables = [open_data(spec, args.protocol) for spec in specs]
    chosen = [choose(spec, table, args.split) for spec, table in zip(specs, tables, strict=True)]
    clips = open_clips(args.clips) if args.clips else None
    candidates, joints, pairs = opened(args)
    thresholds = {c.label: c.thresholds for c in candidates} | {j.label: j.thresholds for j in joints}
    evaluations, singles = [], None
    for spec, everything, (table, which) in zip(specs, tables, chosen, strict=True):
        heard = listen(table.paths, candidates, joints, skip_unreadable=args.skip_unreadable, what=spec)
        evaluations.append(
            evaluate(spec, which, everything, table, heard, thresholds, pairs,
                     boot=args.boot, seed=args.seed, min_positives=args.min_positives)
        )  # fmt: skip
    if clips is not None:
        heard = listen(clips.paths, candidates, joints, skip_unreadable=args.skip_unreadable)
        singles = Singles(clips[heard.kept], heard.probabilities, heard.unreadable)
    publish(args.to, about(args, candidates, joints), evaluations, singles, thresholds)
    print(args.to / "report.md")


def about(args: argparse.Namespace, candidates: Sequence[Candidate], joints: Sequence[Joint]) -> dict[str, Any]:
    """The head of metrics.json: what was run, when, of which models and versions."""
    versions = [*_VERSIONS, *(["torch"] if any(c.bundle is None for c in candidates) else [])]
    return {
        "kind": "instrec-live evaluation",
        "command": shlex.join(["python", "-m", "training.evaluate", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seed": args.seed,
        "boot": args.boot,
        "protocol": args.protocol,
        "min_positives": args.min_positives,
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
