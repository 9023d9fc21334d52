"""Make the three networks that ship, from sounds to bundles, with one command.

    python -m training.release --sounds DIR --music DIR --solos DIR --bands DIR --mn04 mn04_as.npz --to models/bundles

Every step writes into --work (runs/release) and is skipped once it is done, and training resumes where it was stopped:
type the same command again. Hours of two cores, in the order of the steps: bank .1, teachers .3, CBAM-CNN 2, MS-CRNN
1.5, PaSST 1.5, ensemble .1. The networks that ship come from three such rounds (benchmarks/experiments.md).

    bank         every sound as log-mel (training.synthesis.unions)
    teachers     probabilities of each window, by the last release's bundles and mn04_as (training.learning.teachers)
    networks     each begins with the last release's weights, learns mixtures of the bank, goes part of the way back
    ensemble     calibration, weights and thresholds on solos, bands and mixtures of the solos; bundles and their cards
    distractors  rows for instruments that are none of the 20; --sounds needs some (training.learning.distractors)
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from instrec_live.models.bundle import BUNDLES, DEFAULT_MODELS
from instrec_live.models.errors import InputFileError
from instrec_live.models.safe_path import python_command
from instrec_live.training.command import entry

# The share of the initial weights in the result: a round knows ensembles better and solos worse, and the mean of the
# two keeps both.
KEEP = {"cbam_cnn": 0.4, "ms_crnn": 0.2, "passt": 0.3}


@dataclass(frozen=True)
class Step:
    """A command, and the file that is there once it is done."""

    name: str
    done: Path
    command: Sequence[str]


def steps_of(args: argparse.Namespace) -> list[Step]:
    """The steps of a release, in order."""
    work: Path = args.work
    bank, mixtures, runs = work / "unions", work / "mixtures", work / "networks"
    music = [word for folder in args.music for word in ("--music", str(folder))]
    teachers = [word for name in DEFAULT_MODELS for word in ("--teacher", str(args.teachers / name))]
    valid = ["--valid", f"clips:{args.solos}", "--valid", f"clips:{args.bands}", "--valid", f"clips:{mixtures}"]
    learn = ["--unions", str(bank), "--seed", str(args.seed), "--workers", "0", "--no-bundle"]
    steps = [
        Step("bank", bank / "index.json",
             ["synthesis.unions", "--sounds", str(args.sounds), *music, "--to", str(bank), "--seed", str(args.seed)]),
        Step("teachers", bank / "targets.npz", ["learning.teachers", str(bank), "--mn04", str(args.mn04), *teachers]),
        Step("mixtures", mixtures / "labels.csv",
             ["data", "mix", str(args.solos), "--to", str(mixtures), "--count", "1200"]),
    ]  # fmt: skip
    for name, keep in KEEP.items():
        begin = ["--init", str(args.teachers / name), "--keep", str(keep)]
        to = runs / name
        steps.append(Step(name, to / "weights.pt", [name, *learn, *begin, "--to", str(to)]))
    golden = ["--golden", str(args.golden)] if args.golden else []
    steps.append(
        Step("ensemble", runs / "figures.json",
             ["ensemble", *valid, "--runs", str(runs), "--bank", str(bank), "--to", str(args.to), *golden])
    )  # fmt: skip
    found = work / "distractors.json"
    steps.append(
        Step("distractors", found,
             ["learning.distractors", str(args.to), "--bank", str(bank), "--seed", str(args.seed), "--report",
              str(found)])
    )  # fmt: skip
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, required=True, help="folder of sounds with sources.csv")
    parser.add_argument("--music", type=Path, action="append", default=[], help="folder of unlabelled music")
    parser.add_argument("--solos", type=Path, required=True, help="labelled solo clips, never trained on")
    parser.add_argument("--bands", type=Path, required=True, help="labelled clips of ensembles, never trained on")
    parser.add_argument("--mn04", type=Path, required=True, metavar="FILE", help="weights of mn04_as (.npz)")
    parser.add_argument("--teachers", type=Path, default=BUNDLES, help="bundles of the last release (those that ship)")
    parser.add_argument("--golden", type=Path, help="a sound; its seconds 10 to 20 become the bundles' golden input")
    parser.add_argument("--work", type=Path, default=Path("runs/release"), help="(runs/release)")
    parser.add_argument("--to", type=Path, default=Path("runs/release/bundles"), help="(runs/release/bundles)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for folder in (args.sounds, *args.music, args.solos, args.bands, args.teachers):
        if not folder.is_dir():
            raise InputFileError(f"{folder}: no such folder")
    for step in steps_of(args):
        if step.done.exists():
            print(f"{step.name}: done already ({step.done})", file=sys.stderr)
            continue
        module, *rest = step.command
        print(f"{step.name}: python -m training.{module} {' '.join(rest)}", file=sys.stderr)
        ended = subprocess.run(python_command("-m", f"instrec_live.training.{module}", *rest))
        if ended.returncode:
            raise SystemExit(ended.returncode)


if __name__ == "__main__":
    entry(main)
