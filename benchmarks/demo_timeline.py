"""How well the program follows its own demo clip: what it shows, against what can be heard.

    python benchmarks/demo_timeline.py                 # runs instrec-live over the clip
    python benchmarks/demo_timeline.py updates.jsonl   # scores a run you already have
    python benchmarks/demo_timeline.py -- --models passt --hop 0.25    # more arguments for the run

The soloists' files were kept out of training, other recordings of the same collections were not, nor those of the
ensembles (realtime/demo/CREDITS.md): this says that the program works, not how good it is (docs/recognition.md does).
Writes benchmarks/results/demo_timeline.json.
Exits 1 if fewer than 80 % of the entries are shown within 3 s, or precision or recall is below 0.7.
"""

import argparse
import datetime
import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

CHECKOUT = Path(__file__).resolve().parent.parent
TIMELINE = CHECKOUT / "realtime" / "demo" / "timeline.json"
RESULT = CHECKOUT / "benchmarks" / "results" / "demo_timeline.json"

WITHIN_S = 3.0  # an entry counts as detected up to this long after its onset
RELEASE_S = 3.0  # with tolerance, showing an instrument this long after its offset is no mistake
TICK_S = 0.01
LEAST_ENTRIES, LEAST_PRECISION, LEAST_RECALL = 0.8, 0.7, 0.7


class Event(NamedTuple):
    """An instrument is audible from `onset` to `offset`, s."""

    instrument: str
    onset: float
    offset: float


class Shown(NamedTuple):
    """The active instruments of one update; they hold until the next one."""

    time: float
    active: frozenset[str]


def score(events: Sequence[Event], updates: Sequence[Shown], duration: float) -> dict[str, Any]:
    """Compare what was shown with what was audible.

    Args:
        events: what is audible.
        updates: in order of time. An update holds from its time until the next (the last one to the end).
        duration: of the clip, s.

    Returns:
        entries: how many, how many within 3 s, and their share; each entry's delays. `early` is one that was
            shown before it is audible: it counts as detected, but not in the median.
        median_detection_s, median_release_s: None if there was nothing to measure. A release counts where
            the instrument was still shown at its offset and did not sound again before it was hidden.
        strict, tolerant: precision and recall of shown instrument-seconds; the latter forgives 3 s.
        false_seconds: instrument -> seconds shown without being heard (tolerant), most first.
    """
    ticks = round(duration / TICK_S)
    names = sorted({e.instrument for e in events} | {name for u in updates for name in u.active})
    truth = {name: np.zeros(ticks, bool) for name in names}
    forgiven = {name: np.zeros(ticks, bool) for name in names}
    shown = {name: np.zeros(ticks, bool) for name in names}
    for event in events:
        truth[event.instrument][_tick(event.onset) : _tick(event.offset)] = True
        forgiven[event.instrument][_tick(event.offset) : _tick(event.offset + RELEASE_S)] = True
    stands_until = [*(u.time for u in updates), duration][1:]
    for update, until in zip(updates, stands_until, strict=True):
        for name in update.active:
            shown[name][_tick(update.time) : _tick(until)] = True

    entries = [_entry(event, shown[event.instrument], truth[event.instrument]) for event in events]
    detected = [entry for entry in entries if entry["detection_s"] is not None]
    fresh = [entry for entry in detected if not entry["early"]]
    in_time = [entry for entry in detected if entry["detection_s"] <= WITHIN_S]
    false = {name: float(np.sum(shown[name] & ~truth[name] & ~forgiven[name]) * TICK_S) for name in names}
    return {
        "entries": len(entries),
        "entries_in_time": len(in_time),
        "share_in_time": len(in_time) / len(entries) if entries else 0.0,
        "median_detection_s": _median(entry["detection_s"] for entry in fresh),
        "median_release_s": _median(entry["release_s"] for entry in entries),
        "strict": _precision_recall(shown, truth, {}),
        "tolerant": _precision_recall(shown, truth, forgiven),
        "false_seconds": {name: round(s, 2) for name, s in sorted(false.items(), key=lambda item: -item[1]) if s > 0},
        "by_entry": entries,
    }


def _tick(seconds: float) -> int:
    return max(0, round(seconds / TICK_S))


def _entry(event: Event, shown: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    onset, offset = _tick(event.onset), _tick(event.offset)
    sounding = np.flatnonzero(shown[onset:offset])
    again = np.flatnonzero(truth[offset:])
    horizon = offset + again[0] if len(again) else len(shown)
    release: float | None = None
    if 0 < offset < len(shown) and shown[offset - 1]:
        gone = np.flatnonzero(~shown[offset:horizon])
        release = round(float(gone[0]) * TICK_S, 2) if len(gone) else None
    return {
        "instrument": event.instrument,
        "onset": event.onset,
        "offset": event.offset,
        "early": bool(onset and shown[onset - 1]),
        "detection_s": round(float(sounding[0]) * TICK_S, 2) if len(sounding) else None,
        "release_s": release,
    }


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.median(known)), 2) if known else None


def _precision_recall(
    shown: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], forgiven: Mapping[str, np.ndarray]
) -> dict[str, float]:
    right = sum(int(np.sum(shown[name] & truth[name])) for name in shown)
    claimed = sum(
        int(np.sum(shown[name] & (truth[name] | ~forgiven[name] if name in forgiven else True))) for name in shown
    )
    audible = sum(int(np.sum(truth[name])) for name in truth)
    return {
        "precision": round(right / claimed, 4) if claimed else 0.0,
        "recall": round(right / audible, 4) if audible else 0.0,
    }


def read_updates(lines: Iterable[str]) -> tuple[list[Shown], dict[str, Any]]:
    """The updates and the header of a run's JSONL."""
    updates, header = [], {}
    for line in lines:
        record = json.loads(line)
        if record["type"] == "header":
            header = record
        elif record["type"] == "update":
            updates.append(Shown(float(record["time"]), frozenset(record["active"])))
    return updates, header


def read_timeline(path: Path = TIMELINE) -> tuple[list[Event], float]:
    timeline = json.loads(path.read_text(encoding="utf-8"))
    return [Event(e["instrument"], e["onset"], e["offset"]) for e in timeline["events"]], timeline["duration"]


def good_enough(result: Mapping[str, Any]) -> bool:
    return bool(
        result["share_in_time"] >= LEAST_ENTRIES
        and result["strict"]["precision"] >= LEAST_PRECISION
        and result["strict"]["recall"] >= LEAST_RECALL
    )


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    more = argv[argv.index("--") + 1 :] if "--" in argv else []
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jsonl", type=Path, nargs="?", help="a finished run; without it, the program is run")
    parser.add_argument("--output", type=Path, default=RESULT)
    args = parser.parse_args(argv[: argv.index("--")] if "--" in argv else argv)

    options = ["--demo", "--no-ui", "--json", "--pace", "max", "--causal", *more]
    if args.jsonl:
        command, text = f"(read from {args.jsonl.name})", args.jsonl.read_text(encoding="utf-8")
    else:
        command = "instrec-live " + " ".join(options)
        call = [sys.executable, "-m", "instrec_live.realtime", *options]
        run = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=False)
        if run.returncode:
            print(f"{command} ended with exit code {run.returncode}", file=sys.stderr)
            return 1
        text = run.stdout
    updates, header = read_updates(text.splitlines())
    events, duration = read_timeline()
    result = score(events, updates, duration)

    record = {
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": _versions(),
        "header": header,
        "release_tolerance_s": RELEASE_S,
        "within_s": WITHIN_S,
        **result,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    _report(result)
    return 0 if good_enough(result) else 1


def _versions() -> dict[str, str]:
    packages = ("instrec-live", "numpy", "onnxruntime", "soxr", "soundfile")
    return {"python": platform.python_version(), **{p: importlib.metadata.version(p) for p in packages}}


def _report(result: Mapping[str, Any]) -> None:
    for entry in result["by_entry"]:
        delay, release = entry["detection_s"], entry["release_s"]
        shown = "never" if delay is None else "before" if entry["early"] else f"{delay:.2f} s"
        print(
            f"{entry['onset']:6.2f} – {entry['offset']:6.2f} s  {entry['instrument']:18s}"
            f" shown after {shown:8s}"
            f" let go after {'–' if release is None else f'{release:.2f} s'}"
        )
    print(f"entries in time: {result['entries_in_time']} of {result['entries']}")
    print(f"median delay: shown {result['median_detection_s']} s, let go {result['median_release_s']} s")
    for name in ("strict", "tolerant"):
        print(f"{name}: precision {result[name]['precision']:.2f}, recall {result[name]['recall']:.2f}")
    print(f"shown but not heard, s: {result['false_seconds'] or 'nothing'}")


if __name__ == "__main__":
    sys.exit(main())
