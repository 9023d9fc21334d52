"""Tries thousands of damaged files, pipes, settings, command lines, models and runs: does each end as documented?

    python benchmarks/fuzz.py [--seed 0] [--kinds files,bundles] [--times 1] [--only files:123]

Every input is made of its kind, its number and the seed, and is tried in a child process with a limit on its memory,
one process at a time; a fresh child follows a crash or a hang. A defect is: an exception that is not one of the
program's own, an error of more than one line or without a documented exit code, a crash, more than 5 s (twice, the
second time alone), more than 200 MB, a write outside the scratch folder, a process started, a pickle opened.
Writes benchmarks/results/fuzz.json after each kind, and continues with those that are not in it yet if the seed and the
counts are the same. `--only` tries one input and shows all details.
"""

import argparse
import datetime
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULT = Path(__file__).resolve().parent / "results" / "fuzz.json"
CHILD = Path(__file__).resolve().parent / "fuzz_child.py"
COUNTS = {
    "files": 5_000, "headers": 3_000, "pipes": 3_000, "structures": 2_000, "settings": 5_000, "thresholds": 5_000,
    "command lines": 3_000,
    "bundles": 10_000, "reports": 4_000,
}  # fmt: skip
SLOW, MUCH = 5.0, 200.0  # s, MB
PATIENCE = 15.0  # s without a word, on a machine that may be busy
STARTING = 120.0  # s until the first input


def ends(
    kind: str, seed: int, first: int, last: int, folder: Path, module: str = "fuzz_kinds"
) -> Iterator[dict[str, Any]]:
    """How inputs first…last-1 of a kind end, each as the child tells it; crashes and hangs are told in its place."""
    while first < last:
        for end in _one_child(kind, seed, first, last, folder, module):
            first = end["number"] + 1
            yield end


def _one_child(kind: str, seed: int, first: int, last: int, folder: Path, module: str) -> Iterator[dict[str, Any]]:
    words = [sys.executable, str(CHILD), module, kind, *map(str, (seed, first, last, folder))]
    private = {"MPLCONFIGDIR": str(folder)} | {
        f"XDG_{name}_HOME": str(folder) for name in ("CACHE", "CONFIG", "DATA", "STATE")
    }
    environment = {**os.environ, **private, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)}
    with (
        subprocess.Popen(words, stdout=subprocess.PIPE, env=environment) as child,
        selectors.DefaultSelector() as ready,
    ):
        assert child.stdout is not None
        ready.register(child.stdout, selectors.EVENT_READ)
        begun, since, rest = None, time.monotonic(), b""
        while True:
            if not ready.select(PATIENCE if begun is not None or rest else STARTING):
                child.kill()
                if begun is None:
                    raise SystemExit(f"{kind}: the child does not begin")
                yield _ended(begun, "hang", time.monotonic() - since)
                return
            data = os.read(child.stdout.fileno(), 1 << 16)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in map(json.loads, lines):
                if "begun" in line:
                    begun, since = line["begun"], time.monotonic()
                else:
                    begun = None
                    yield line
        code = child.wait()
        if begun is not None:
            yield _ended(begun, f"crash: exit {code}", time.monotonic() - since)
        elif code:
            raise SystemExit(f"{kind}: the child fails before it begins (exit {code}); see {folder / 'stderr.txt'}")


def _ended(number: int, how: str, seconds: float) -> dict[str, Any]:
    return {
        "number": number,
        "outcome": how,
        "defect": True,
        "more": "",
        "seconds": seconds,
        "cpu": 0.0,
        "grown_mb": 0.0,
    }


def tried(kind: str, seed: int, count: int, folder: Path, module: str = "fuzz_kinds") -> dict[str, Any]:
    """What became of so many inputs of a kind, in sum."""
    outcomes: Counter[str] = Counter()
    defects: list[dict[str, Any]] = []
    slowest, greatest = {"number": 0, "seconds": 0.0}, {"number": 0, "grown_mb": 0.0}
    for end in ends(kind, seed, 0, count, folder, module):
        number = end["number"]
        if end["seconds"] > SLOW:  # perhaps the machine was busy
            (again,) = ends(kind, seed, number, number + 1, folder, module)
            end = min(end, again, key=lambda each: float(each["seconds"]))
            if end["seconds"] > SLOW and not end["defect"]:
                end |= {"outcome": f"slow: {end['outcome']}", "defect": True}
        if end["grown_mb"] > MUCH and not end["defect"]:
            end |= {"outcome": f"greedy: {end['outcome']}", "defect": True}
        outcomes[end["outcome"]] += 1
        slowest = max(slowest, {"number": number, "seconds": round(end["seconds"], 3)}, key=lambda it: it["seconds"])
        greatest = max(
            greatest, {"number": number, "grown_mb": round(end["grown_mb"], 1)}, key=lambda it: it["grown_mb"]
        )
        if end["defect"]:
            defects.append({"number": number, "outcome": end["outcome"], "more": end["more"]})
    return {
        "inputs": count,
        "fine": outcomes["fine"],
        "refused": count - outcomes["fine"] - len(defects),
        "defects": len(defects),
        "distinct": len(outcomes),
        "slowest": slowest,
        "greatest": greatest,
        "outcomes": dict(outcomes.most_common(30)),
        "examples": defects[:20],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of all damage (0)")
    parser.add_argument("--kinds", default=",".join(COUNTS), help="which, with commas (all)")
    parser.add_argument("--times", type=float, default=1.0, help="the usual numbers of inputs (1)")
    parser.add_argument("--only", metavar="KIND:NUMBER", help="try one input alone and write nothing")
    parser.add_argument("--again", action="store_true", help="also those kinds that are in the result already")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        if args.only:
            kind, _, number = args.only.partition(":")
            (end,) = ends(kind, args.seed, int(number), int(number) + 1, Path(folder))
            print(json.dumps(end, indent=1).replace("\\n", "\n"))
            return
        known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        kinds = known.get("kinds", {}) if known.get("seed") == args.seed else {}
        for kind in args.kinds.split(","):
            count = round(args.times * COUNTS[kind])
            if kind in kinds and kinds[kind]["inputs"] == count and not args.again:
                continue
            began = time.monotonic()
            kinds[kind] = tried(kind, args.seed, count, Path(folder))
            told = " ".join(
                f"{name} {kinds[kind][name]}" for name in ("inputs", "fine", "refused", "defects", "distinct")
            )
            print(f"{kind}: {told}; {time.monotonic() - began:.0f} s", flush=True)
            _write(args, {name: kinds[name] for name in COUNTS if name in kinds})


def _write(args: argparse.Namespace, kinds: dict[str, Any]) -> None:
    import soundfile

    content = {
        "command": "python benchmarks/fuzz.py" + (f" --seed {args.seed}" if args.seed else "")
        + (f" --times {args.times:g}" if args.times != 1 else ""),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seed": args.seed,
        "libsndfile": soundfile.__libsndfile_version__,
        "inputs": sum(kind["inputs"] for kind in kinds.values()),
        "defects": sum(kind["defects"] for kind in kinds.values()),
        "slowest_s": max(kind["slowest"]["seconds"] for kind in kinds.values()),
        "greatest_mb": max(kind["greatest"]["grown_mb"] for kind in kinds.values()),
        "kinds": kinds,
    }  # fmt: skip
    RESULT.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
