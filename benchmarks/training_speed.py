"""How fast does training go, and does it ever wait for its scenes?

    python benchmarks/training_speed.py --phrases DIR [--music FILE.npy] [--steps 24] [--seed 0]

The three recipes as they ship, one thread of arithmetic, with scenes rendered in the same process (0 workers) and by
one and two processes beside it. Rates are clips per second of the clock from the second step on; `waiting` is the share
of it in which the network stood still for want of a batch. Writes benchmarks/results/training_speed.json.
"""

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from instrec_live.models.networks import build
from instrec_live.training import cbam_cnn, ms_crnn, passt
from instrec_live.training.learning.distributed import Crew
from instrec_live.training.learning.feed import Feed, batches
from instrec_live.training.learning.loop import train
from instrec_live.training.learning.losses import Teacher
from instrec_live.training.learning.recipe import Recipe
from instrec_live.training.scenes.mixer import Phrases, Scenes

RESULTS = Path(__file__).parent / "results"
RECIPES = {"passt": passt.PROFILES["ours"], "cbam_cnn": cbam_cnn.PROFILES["ours"], "ms_crnn": ms_crnn.PROFILES["ours"]}


def measured(recipe: Recipe, feed: Feed, workers: int) -> dict[str, float]:
    """Clips per second and waiting share of a short run, its first step left out."""
    torch.manual_seed(recipe.seed)
    network = build(recipe.name, **recipe.network, **recipe.dropped)
    teacher = Teacher(build("cbam_cnn")) if recipe.imitate else None
    with tempfile.TemporaryDirectory() as folder:
        first = replace(recipe, evaluate_every=1)
        train(first, network, feed, Path(folder), teacher, workers=workers, checkpoint_every=1e9)
        lines = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    # Both figures are of all steps so far: take the first step, in which processes start, out of the last line's.
    seconds = [line["step"] * recipe.batch / line["clips_per_second"] for line in (lines[0], lines[-1])]
    waited = [line["waiting"] * s for line, s in zip((lines[0], lines[-1]), seconds, strict=True)]
    spent = seconds[1] - seconds[0]
    clips = (lines[-1]["step"] - lines[0]["step"]) * recipe.batch
    return {"clips_per_second": round(clips / spent, 1), "waiting": round((waited[1] - waited[0]) / spent, 3)}


def supplied(feed: Feed, steps: int, workers: int) -> float:
    """Clips per second that the workers make when nothing else is done."""
    supply = batches(feed, range(steps + 1), workers)
    next(supply)
    began = time.perf_counter()
    count = sum(len(batch.labels) for batch in supply)
    return round(count / (time.perf_counter() - began), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phrases", type=Path, required=True, help="made by training.phrases")
    parser.add_argument("--music", type=Path, help="made by training.datasets.music")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    scenes = Scenes(Phrases(args.phrases), np.load(args.music, mmap_mode="r") if args.music else None)
    result = {}
    for name, profile in RECIPES.items():
        recipe = replace(profile, steps=args.steps, warmup=2, seed=args.seed).resolved(0, Crew().device)
        feed = Feed([(scenes, 1.0)], recipe.batch, recipe.seconds, recipe.mixup, recipe.stripes, recipe.seed)
        result[name] = {"batch": recipe.batch, "precision": recipe.precision} | {
            f"workers_{workers}": measured(recipe, feed, workers) for workers in (0, 1, 2)
        }
        result[name]["scenes_alone_workers_2"] = {"clips_per_second": supplied(feed, args.steps, 2)}
        print(name, json.dumps(result[name]), flush=True)
    about = {
        "command": "python "
        + " ".join(["benchmarks/training_speed.py", *(a if not Path(a).exists() else "PATH" for a in sys.argv[1:])]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seed": args.seed,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_average": round(os.getloadavg()[0], 1),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "training_speed.json").write_text(json.dumps(about | result, indent=1) + "\n")


if __name__ == "__main__":
    main()
