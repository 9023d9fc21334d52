"""Tags an archive on a Ray cluster of two machines, one of which is killed midway, and with processes without Ray.

    python benchmarks/cluster.py [--files 200] [--seconds 8] [--minutes 20]

Makes short files of the demo clip, one of which is no sound, and a long file with silence in it. Tags them by one
process, by two, and on a cluster of two nodes with a processor each, all on this machine (ray.cluster_utils); once
more with one node killed when a third of the files is done. Compares the tables with that of one process, byte for
byte after sorting. Needs [cluster]; ten minutes. Writes benchmarks/results/cluster.json.
"""

import argparse
import csv
import datetime
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import ray
import soundfile
from ray.cluster_utils import Cluster

RESULTS = Path(__file__).parent / "results"
DEMO = Path(__file__).parent.parent / "realtime" / "demo" / "demo.ogg"
STORE = 100_000_000  # bytes, of each node
TAG = [sys.executable, "-m", "instrec_live.realtime", "tag", "--engine", "onnx"]


@contextmanager
def cluster(nodes: int = 2) -> Iterator[tuple[str, Callable[[], None]]]:
    """Nodes with a processor each: the address of the first, and what kills the last as `kill -9` does."""
    together = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": STORE}
    )
    try:
        others = [together.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(nodes - 1)]
        yield together.address, lambda: together.remove_node(others[-1], allow_graceful=False)
    finally:
        together.shutdown()


def make_files(folder: Path, count: int, seconds: float) -> None:
    """Pieces of the demo clip that begin at other seconds, in three formats and folders; the last is no sound."""
    sound, rate = soundfile.read(DEMO, dtype="float32")
    for number in range(count - 1):
        path = folder / f"reel{number % 5}" / f"{number:04d}{('.wav', '.flac', '.ogg')[number % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.roll(sound, -number * rate // 3, axis=0)[: round(seconds * rate)], rate)
    (folder / "zzz_notes.wav").write_text("no sound at all")


def make_long(path: Path, minutes: float) -> None:
    """The demo clip over and over, and five minutes in, a stretch of silence."""
    sound, rate = soundfile.read(DEMO, dtype="float32")
    with soundfile.SoundFile(path, "w", rate, sound.shape[1] if sound.ndim == 2 else 1) as file:
        for second in np.arange(0, minutes * 60, len(sound) / rate):
            file.write(np.zeros_like(sound) if 300 <= second < 360 else sound)


def tag(paths: list[Path], output: Path, *options: str, during: Callable[[], None] | None = None) -> dict[str, Any]:
    """Run `instrec-live tag`; how long it took, and what it said."""
    began = time.monotonic()
    process = subprocess.Popen(
        [*TAG, *map(str, paths), "-o", str(output), *options], stderr=subprocess.PIPE, text=True, cwd=output.parent
    )
    if during is not None:
        threading.Thread(target=during, daemon=True).start()
    _, said = process.communicate(timeout=1_800)
    took = time.monotonic() - began
    lines = [line for line in said.splitlines() if "trying once more" in line]
    return {
        "seconds": round(took, 1),
        "exit_code": process.returncode,
        "tried_again": len(lines),
        "says": said.splitlines()[-1:],
    }


def sorted_lines(path: Path) -> list[bytes]:
    return sorted(path.read_bytes().splitlines())


def once_each(path: Path) -> bool:
    """Whether every file and instrument has one row."""
    with open(path, encoding="utf-8", newline="") as file:
        return max(Counter((row["file"], row["instrument"]) for row in csv.DictReader(file)).values()) == 1


def when(table: Path, rows: int, action: Callable[[], None]) -> Callable[[], None]:
    """Do it as soon as the table has so many lines."""

    def wait() -> None:
        while not table.exists() or table.read_bytes().count(b"\n") < rows:
            time.sleep(0.1)
        action()

    return wait


def updates(folder: Path) -> list[bytes]:
    """The lines about the one file, less the header, which says when it was written."""
    return next(folder.rglob("*.jsonl")).read_bytes().splitlines()[1:]


def short_files(folder: Path, count: int, seconds: float) -> dict[str, Any]:
    archive = folder / "archive"
    make_files(archive, count, seconds)
    out: dict[str, Any] = {"files": count, "seconds_each": seconds}
    out["one process"] = tag([archive], folder / "one.csv", "--jobs", "1")
    out["two processes"] = tag([archive], folder / "two.csv", "--jobs", "2")
    out["a local Ray, two processes"] = tag([archive], folder / "local.csv", "--ray", "--jobs", "2")
    with cluster() as (address, _):
        out["two nodes"] = tag([archive], folder / "nodes.csv", "--ray", address)
    killed = folder / "killed.csv"
    with cluster() as (address, kill):
        during = when(killed, count // 3 * 20, kill)
        out["two nodes, one killed"] = tag([archive], killed, "--ray", address, during=during)
        out["the same again"] = tag([archive], killed, "--ray", address)
    one = sorted_lines(folder / "one.csv")
    for name, table in (
        ("two processes", "two.csv"),
        ("a local Ray, two processes", "local.csv"),
        ("two nodes", "nodes.csv"),
        ("two nodes, one killed", "killed.csv"),
    ):
        out[name] |= {"same_bytes": sorted_lines(folder / table) == one, "once_each": once_each(folder / table)}
        out[name]["speed_up"] = round(out["one process"]["seconds"] / out[name]["seconds"], 2)
    return out


def long_file(folder: Path, minutes: float) -> dict[str, Any]:
    path = folder / "long.flac"
    make_long(path, minutes)
    out: dict[str, Any] = {"minutes": round(soundfile.info(path).duration / 60, 2)}
    out["whole, one process"] = tag([path], folder / "w.csv", "--jobs", "1", "--per-hop", str(folder / "hops_w"))
    out["two parts, two processes"] = tag([path], folder / "p.csv", "--jobs", "2", "--per-hop", str(folder / "hops_p"))
    with cluster() as (address, _):
        hops = str(folder / "hops_n")
        out["two parts, two nodes"] = tag([path], folder / "n.csv", "--ray", address, "--per-hop", hops)
    whole = [updates(folder / "hops_w"), (folder / "w.csv").read_bytes()]
    for name, key in (("two parts, two processes", "p"), ("two parts, two nodes", "n")):
        parts = [updates(folder / f"hops_{key}"), (folder / f"{key}.csv").read_bytes()]
        out[name] |= {"same_bytes": parts == whole}
        out[name]["speed_up"] = round(out["whole, one process"]["seconds"] / out[name]["seconds"], 2)
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--minutes", type=float, default=20.0)
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="instrec-cluster-") as folder:
        result: dict[str, Any] = {
            "command": f"python benchmarks/cluster.py --files {given.files} --seconds {given.seconds:g}"
            f" --minutes {given.minutes:g}",
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "ray": ray.__version__,
            "processors": os.cpu_count(),
            "load_before": round(os.getloadavg()[0], 1),
            "short files": short_files(Path(folder), given.files, given.seconds),
            "a long file": long_file(Path(folder), given.minutes),
            "load_after": round(os.getloadavg()[0], 1),
        }
    RESULTS.joinpath("cluster.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))
    runs = [run for part in (result["short files"], result["a long file"]) for run in part.values()]
    return 0 if all(run.get("same_bytes", True) for run in runs if isinstance(run, dict)) else 1


if __name__ == "__main__":
    sys.exit(main())
