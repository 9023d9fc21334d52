"""How fast are scenes mixed and phrases rendered? A generator that is slower than training starves it.

    python benchmarks/scene_speed.py --phrases DIR [--music FILE.npy] [--sounds DIR] [--seconds 10] [--seed 0]

Scenes of 4, 5 and 6 s are mixed in one process and in two side by side; phrases of every 14th source in --sounds are
rendered in one process. Rates are given per second of the clock and per second of one core's work: on a machine that
has other things to do only the second means much. Writes benchmarks/results/scene_speed.json.
"""

import argparse
import datetime
import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from instrec_live.models.logmel import log_mel
from instrec_live.training.data.sounds import read_sources
from instrec_live.training.synthesis.phrases import Player
from instrec_live.training.synthesis.scenes.mixer import Phrases, Scenes

RESULTS = Path(__file__).parent / "results"
Measured = tuple[int, float, float]  # how many, seconds of the clock, seconds of a core


def repeat(make: Callable[[int], object], seconds: float) -> Measured:
    """Call `make(0)`, `make(1)`, … for some seconds, once before to warm up."""
    make(0)
    count, clock, core = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - clock < seconds:
        make(count)
        count += 1
    return count, time.perf_counter() - clock, time.process_time() - core


def scenes(job: tuple[Path, Path | None, float, int]) -> Measured:
    """Mix scenes for some seconds."""
    phrases, music, seconds, seed = job
    supply = Scenes(Phrases(phrases), np.load(music, mmap_mode="r") if music else None)
    return repeat(lambda i: supply.example(i, np.random.default_rng((seed, i)), 400 + 100 * (i % 3)), seconds)


def phrases(sounds: Path, seed: int, each: int = 6) -> Measured:
    """Render phrases with their log-mels; loading the sounds is not counted."""
    players = [Player(source) for source in read_sources(sounds)[::14]]
    rng, clock, core = np.random.default_rng(seed), time.perf_counter(), time.process_time()
    for player in players:
        for _ in range(each):
            log_mel(player.phrase(rng))
    return each * len(players), time.perf_counter() - clock, time.process_time() - core


def rates(*measured: Measured) -> dict[str, float]:
    """What processes that ran side by side made."""
    count, clock, core = (
        sum(m[0] for m in measured),
        max(m[1] for m in measured),
        sum(m[2] for m in measured),
    )
    return {"count": count, "per_second": round(count / clock, 1), "per_core_second": round(count / core, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phrases", type=Path, required=True, help="made by training.synthesis.phrases")
    parser.add_argument("--music", type=Path, help="made by training.data.music")
    parser.add_argument("--sounds", type=Path, help="a folder with sources.csv")
    parser.add_argument("--seconds", type=float, default=10.0, help="to measure each for")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    jobs = [(args.phrases, args.music, args.seconds, args.seed + i) for i in range(2)]
    result = {"scenes_one_process": rates(scenes(jobs[0]))}
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        result["scenes_two_processes"] = rates(*pool.map(scenes, jobs))
    if args.sounds:
        result["phrases_one_process"] = rates(phrases(args.sounds, args.seed))
    for name, figures in result.items():
        print(name, figures, file=sys.stderr)
    record = {
        "command": "python benchmarks/scene_speed.py --phrases DIR"
        + (" --music FILE" if args.music else "")
        + (" --sounds DIR" if args.sounds else "")
        + f" --seconds {args.seconds:g} --seed {args.seed}",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seed": args.seed,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_average": round(os.getloadavg()[0], 1),
        **result,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "scene_speed.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
