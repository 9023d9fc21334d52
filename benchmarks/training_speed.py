"""Measures how fast training is on a CPU, and whether the cores of a machine can prepare batches fast enough for a GPU.

    python benchmarks/training_speed.py --phrases DIR [--steps 8] [--seed 0]

Of the three recipes as they ship, with scenes: clips a second that are learned from, and that are prepared. Of
recordings, Ogg clips of 10 s (44.1 kHz, stereo, as OpenMIC's; cut from the demo): examples a second that are prepared,
decoded each time or read from the cache. All of one core, by processor time, so that other work on the machine does not
count. Writes benchmarks/results/training_speed.json.
"""

import argparse
import datetime
import json
import os
import platform
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch

from instrec_live.models.networks.registry import build
from instrec_live.training import cbam_cnn, ms_crnn, passt
from instrec_live.training.data.table import Table
from instrec_live.training.learning.batches import BatchLoader
from instrec_live.training.learning.distributed import ProcessGroup
from instrec_live.training.learning.loop import train
from instrec_live.training.learning.losses import Teacher
from instrec_live.training.learning.options import recordings
from instrec_live.training.learning.recipe import Recipe
from instrec_live.training.synthesis.scenes.mixer import Phrases, Scenes

RESULTS = Path(__file__).parent / "results"
DEMO = Path(__file__).parent.parent / "realtime" / "demo" / "demo.ogg"
CLIPS = 48
RECIPES = {"passt": passt.PROFILES["ours"], "cbam_cnn": cbam_cnn.PROFILES["ours"], "ms_crnn": ms_crnn.PROFILES["ours"]}


def measured(recipe: Recipe, loader: BatchLoader) -> dict[str, float]:
    """Clips per second of processor time, of a run without worker processes; and of the preparation of its batches
    alone. A run of one step goes before, and one is subtracted: what is done once does not count."""
    torch.manual_seed(recipe.seed)
    network = build(recipe.name, **recipe.network, **recipe.dropped)
    teacher = Teacher(build("cbam_cnn")) if recipe.imitate else None
    spent = []
    for steps in (1, 1, recipe.steps):
        began = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            train(replace(recipe, steps=steps), network, loader, Path(folder), teacher, checkpoint_every=1e9)
        spent.append(time.process_time() - began)
    began = time.process_time()
    for step in range(recipe.steps):
        loader.batch(step)
    alone = time.process_time() - began
    clips = (recipe.steps - 1) * recipe.batch
    return {
        "clips_a_core_second": round(clips / (spent[2] - spent[1]), 1),
        "prepared_a_core_second": round(recipe.steps * recipe.batch / alone, 1),
    }


def prepared(folder: Path, steps: int, seed: int) -> dict[str, dict[str, float]]:
    """Examples per second of processor time, by recipe, from files and from the cache."""
    sound, rate = soundfile.read(DEMO, dtype="float32")
    sound = soxr.resample(sound, rate, 44_100)
    rng = np.random.default_rng(seed)
    paths = [folder / f"{number}.ogg" for number in range(CLIPS)]
    for path in paths:
        at = int(rng.integers(len(sound) - 441_000))
        soundfile.write(path, sound[at : at + 441_000], 44_100)
    labels = np.zeros((CLIPS, 20), np.float32)
    names = np.array([path.stem for path in paths])
    table = Table(tuple(paths), np.full(CLIPS, "clips"), names, np.full(CLIPS, "train"), labels, labels)
    rates: dict[str, dict[str, float]] = {}
    for name, profile in {"authors": passt.PROFILES["authors"], "ours": ms_crnn.PROFILES["ours"]}.items():
        recipe = replace(profile, seed=seed)
        rates[name] = {}
        for way, cache in (("decoded each time", None), ("from the cache", folder / "cache")):
            supply = recordings(table, recipe, cache=cache)
            loader = BatchLoader([(supply, 1.0)], recipe.batch, recipe.seconds, recipe.mixup, recipe.spec_masks,
                                 recipe.seed, recipe.windows)  # fmt: skip
            loader.batch(0)
            count = max(1, steps * 24 // recipe.batch)
            began = time.process_time()
            for step in range(count):
                loader.batch(step)
            rates[name][way] = round(count * recipe.batch / (time.process_time() - began), 1)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phrases", type=Path, required=True, help="made by training.synthesis.phrases")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    scenes = Scenes(Phrases(args.phrases))
    recipes = {}
    for name, profile in RECIPES.items():
        recipe = replace(profile, steps=args.steps, warmup=2, seed=args.seed).resolved(0, ProcessGroup().device)
        loader = BatchLoader(
            [(scenes, 1.0)], recipe.batch, recipe.seconds, recipe.mixup, recipe.spec_masks, recipe.seed, recipe.windows
        )
        recipes[name] = {"batch": recipe.batch, "precision": recipe.precision, **measured(recipe, loader)}
        print(name, json.dumps(recipes[name]), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        examples = prepared(Path(folder), args.steps, args.seed)
    record = {
        "command": f"python benchmarks/training_speed.py --phrases DIR --steps {args.steps} --seed {args.seed}",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seed": args.seed,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_average": round(os.getloadavg()[0], 1),
        "recipes": recipes,
        "recordings": examples,
    }
    print(json.dumps(record["recordings"]))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "training_speed.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
