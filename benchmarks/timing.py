"""Measures how soon entries are shown and exits hidden, on timelines made of real solo clips: to choose the smoothing.

    python benchmarks/timing.py CLIPS [--timelines 16] [--sweep]

CLIPS is a folder of clips with a labels.csv (file, labels, absent, kind, source); only solos whose other instruments
are known to be absent are used: cut to 4–9 s, levelled, laid one after another with overlaps and gaps. The program's
own analysis runs over them; also over all clips as they are, in which nothing enters or exits: what is shown of them,
and how often it changes, shows how calm the screen is. Without --sweep it measures the defaults and writes
benchmarks/results/timing.json; with it, it tries others, one parameter after another, each with the best values of
those before it, prints the result of each and writes benchmarks/results/timing_sweep.json.
"""

import argparse
import csv
import datetime
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from demo_timeline import Event, Shown, score

from instrec_live.models import Tagger
from instrec_live.models.arrays import FloatArray
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import SAMPLE_RATE, StreamingLogMel
from instrec_live.models.streaming import Window
from instrec_live.realtime.stream.analysis import Analysis, hop_samples
from instrec_live.realtime.stream.smoothing import Smoothing, live_thresholds

RESULTS = Path(__file__).parent / "results"
SECONDS = 64.0
OVER_SECONDS = 40.0
CHOICES: dict[str, tuple[float, ...]] = {
    "short_seconds": (1.0, 2.0, 2.88, 3.84),
    "long_weight": (0.0, 0.1, 0.2, 0.3, 0.45, 0.6),
    "live_margin": (0.0, 0.5, 1.0, 1.5),
    "tau_up": (0.0, 0.2, 0.4, 0.8),
    "tau_down": (0.0, 0.2, 0.4, 0.8),
    "on_seconds": (0.5, 1.0),
    "off_seconds": (0.5, 1.0, 1.5),
    "off_margin": (0.0, 0.8, 1.6, 2.4),
}


class Remembering:
    """A tagger that answers a window it has heard before from memory."""

    def __init__(self, tagger: Tagger) -> None:
        self.tagger, self.memory = tagger, dict[int, Mapping[str, FloatArray]]()
        self.models = tagger.models
        self.instruments = tagger.instruments
        self.ensemble = tagger.ensemble

    def follow(self, mel: StreamingLogMel, hop: int) -> "RememberingFollower":
        return RememberingFollower(self, mel, hop)


class RememberingFollower:
    """Follows a sound, by heart where it can."""

    def __init__(self, owner: Remembering, mel: StreamingLogMel, hop: int) -> None:
        self._memory, self._mel, self._follower = owner.memory, mel, owner.tagger.follow(mel, hop)

    def calibrated(self, end: int, length: int, whole: bool = True) -> Mapping[str, FloatArray]:
        key = hash(self._mel.window(end, length).tobytes())
        if key not in self._memory:
            self._memory[key] = self._follower.calibrated(end, length, whole)
        return self._memory[key]

    def prepare(self, windows: Sequence[Window]) -> None:
        pass


def solos(folder: Path) -> list[tuple[str, FloatArray]]:
    """(instrument, float32 [n] at 32 kHz) of the clips in which one instrument alone is known to sound."""
    out = []
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            if row["kind"] == "solo" and row["labels"] in INSTRUMENTS and row["absent"].count("|") == 18:
                samples, rate = soundfile.read(folder / row["file"], dtype="float32", always_2d=True)
                out.append((row["labels"], soxr.resample(samples.mean(1), rate, SAMPLE_RATE)))
    return out


def timeline(clips: list[tuple[str, FloatArray]], rng: np.random.Generator) -> tuple[FloatArray, list[Event]]:
    """Solos one after another, overlapping or apart, each instrument as likely as any other."""
    by_name = {name: [x for n, x in clips if n == name] for name in sorted({n for n, _ in clips})}
    mix, events, at = np.zeros(round(SECONDS * SAMPLE_RATE), np.float32), [], 0.5
    last = ""
    while at < SECONDS - 4:
        name = str(rng.choice([n for n in by_name if n != last]))
        clip = by_name[name][int(rng.integers(len(by_name[name])))]
        length = min(float(rng.uniform(4, 9)), SECONDS - at, len(clip) / SAMPLE_RATE)
        start = int(rng.uniform(0, len(clip) / SAMPLE_RATE - length) * SAMPLE_RATE)
        piece = faded(clip[start : start + round(length * SAMPLE_RATE)].copy())
        piece = levelled(piece, rng.uniform(-26, -20))
        begin = round(at * SAMPLE_RATE)
        mix[begin : begin + len(piece)] += piece[: len(mix) - begin]
        events.append(Event(name, at, at + length))
        at += length * rng.uniform(0.55, 1.0) if rng.random() < 0.7 else length + rng.uniform(0, 2)
        last = name
    return mix, events


def over_others(clips: list[tuple[str, FloatArray]], rng: np.random.Generator) -> tuple[FloatArray, list[Event]]:
    """One or two instruments that play all the time, and over them others that come and go, none of them twice."""
    by_name: dict[str, list[FloatArray]] = {}
    for name, clip in clips:
        if len(clip) >= 9 * SAMPLE_RATE:
            by_name.setdefault(name, []).append(clip)
    names = [str(name) for name in rng.permutation(sorted(by_name))]
    length = round(OVER_SECONDS * SAMPLE_RATE)
    mix, events = np.zeros(length, np.float32), []
    for _ in range(1 + int(rng.random() < 0.5)):
        name = names.pop()
        clip = by_name[name][int(rng.integers(len(by_name[name])))][: round(9.5 * SAMPLE_RATE)]
        mix += levelled(np.tile(clip, length // len(clip) + 1)[:length], rng.uniform(-26, -22))
        events.append(Event(name, 0.0, OVER_SECONDS))
    at = 6.0
    while at < OVER_SECONDS - 7 and names:
        name = names.pop()
        clip = by_name[name][int(rng.integers(len(by_name[name])))]
        seconds = min(float(rng.uniform(5, 9)), OVER_SECONDS - at, len(clip) / SAMPLE_RATE)
        piece = levelled(faded(clip[: round(seconds * SAMPLE_RATE)].copy()), rng.uniform(-26, -20))
        begin = round(at * SAMPLE_RATE)
        mix[begin : begin + len(piece)] += piece[: length - begin]
        events.append(Event(name, at, at + seconds))
        at += seconds + rng.uniform(-1, 3)
    return mix, events


def faded(piece: FloatArray) -> FloatArray:
    """In and out within 50 ms."""
    fade = np.linspace(0, 1, SAMPLE_RATE // 20, dtype=np.float32)
    piece[: len(fade)] *= fade
    piece[-len(fade) :] *= fade[::-1]
    return piece


def levelled(piece: FloatArray, level_db: float) -> FloatArray:
    """At an RMS of `level_db` dBFS."""
    return np.asarray(piece * (10 ** (level_db / 20) / (np.sqrt(np.mean(piece**2)) + 1e-9)), np.float32)


def detected(events: Sequence[Event], shown: Sequence[Shown], within: float = 3.0) -> tuple[int, int]:
    """Of the entries over others, how many were shown within so many seconds, and how many there were."""
    entries = [event for event in events if event.onset > 0]
    hits = [any(e.onset <= s.time <= e.onset + within and e.instrument in s.active for s in shown) for e in entries]
    return sum(hits), len(entries)


def run(tagger: Remembering, thresholds: FloatArray, mix: FloatArray, smoothing: Smoothing, hop: float) -> list[Shown]:
    step = hop_samples(hop)
    analysis = Analysis(tagger, step, live_thresholds(thresholds, smoothing), -60.0, smoothing)
    updates = [analysis.process(mix[i : i + step]) for i in range(0, len(mix) - step + 1, step)]
    return [Shown(update.time, update.active) for update in updates]


def measure(
    tagger: Remembering, thresholds: FloatArray, scenes: list[Any], smoothing: Smoothing, hop: float
) -> dict[str, Any]:
    """The figures over all timelines, laid end to end."""
    events: list[Event] = []
    shown: list[Shown] = []
    for i, (mix, there) in enumerate(scenes):
        shift = i * SECONDS
        shown.append(Shown(shift, ()))
        shown += [Shown(s.time + shift, s.active) for s in run(tagger, thresholds, mix, smoothing, hop)]
        events += [Event(e.instrument, e.onset + shift, e.offset + shift) for e in there]
    result = score(events, shown, len(scenes) * SECONDS)
    result["f1"] = f1(result["strict"])
    return result


def calm(
    tagger: Remembering, thresholds: FloatArray, folders: Sequence[Path], smoothing: Smoothing, hop: float
) -> dict[str, Any]:
    """What is shown of whole clips, two seconds after their beginning and later, alone or with others: precision and
    recall among the instruments that are known, and how often a minute something comes or goes."""
    step, counts = hop_samples(hop), {}
    for labels, absent, samples in (clip for folder in folders for clip in clips(folder)):
        count = counts.setdefault(
            "solo" if len(labels) == 1 else "poly", dict.fromkeys(("hit", "false", "missed", "changes", "updates"), 0)
        )
        before: set[str] = set()
        for update in run(tagger, thresholds, samples, smoothing, hop):
            shown = set(update.active)
            if update.time > 2.0:
                count["hit"] += len(shown & labels)
                count["false"] += len(shown & absent)
                count["missed"] += len(labels - shown)
                count["changes"] += len(shown ^ before)
                count["updates"] += 1
            before = shown
    return {
        kind: {
            "precision": round(n["hit"] / max(1, n["hit"] + n["false"]), 4),
            "recall": round(n["hit"] / max(1, n["hit"] + n["missed"]), 4),
            "changes_a_minute": round(60 * n["changes"] / max(1, n["updates"]) / (step / SAMPLE_RATE), 1),
        }
        for kind, n in sorted(counts.items())
    }


def clips(folder: Path) -> Iterator[tuple[set[str], set[str], FloatArray]]:
    """What certainly sounds in each clip, what certainly does not, and its sound at 32 kHz."""
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            samples, rate = soundfile.read(folder / row["file"], dtype="float32", always_2d=True)
            sound = soxr.resample(samples.mean(1), rate, SAMPLE_RATE)
            yield set(row["labels"].split("|")), set(row["absent"].split("|")), np.asarray(sound, np.float32)


def f1(of: Mapping[str, float]) -> float:
    """Of precision and recall."""
    return 2 * of["precision"] * of["recall"] / max(1e-9, of["precision"] + of["recall"])


def point(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a sweep keeps of the figures."""
    return {
        "share_in_time": round(result["share_in_time"], 4),
        "median_detection_s": result["median_detection_s"],
        "median_release_s": result["median_release_s"],
        **{kind: result[kind] | {"f1": round(f1(result[kind]), 4)} for kind in ("strict", "tolerant")},
    }


def line(result: Mapping[str, Any]) -> str:
    return (
        f"in time {result['share_in_time']:.2f}, shown after {result['median_detection_s']:.2f} s, "
        f"let go after {result['median_release_s']:.2f} s, strict precision {result['strict']['precision']:.3f} "
        f"recall {result['strict']['recall']:.3f} F1 {result['f1']:.3f}, "
        f"tolerant precision {result['tolerant']['precision']:.3f}"
    )


def sweep(
    measured: Callable[[Smoothing], dict[str, Any]], best: float, smoothing: Smoothing
) -> tuple[Smoothing, dict[str, list[dict[str, Any]]]]:
    """The smoothing with the best F1 found, and what every value tried gave."""
    tried: dict[str, list[dict[str, Any]]] = {name: [] for name in CHOICES}
    for name, values in CHOICES.items():
        start = smoothing
        for value in values:
            other = replace(start, **{name: value})
            figures = measured(other)
            print(f"{name} {value}: {line(figures)}", flush=True)
            tried[name].append({"value": value, **point(figures)})
            if figures["f1"] > best + 1e-4:
                best, smoothing = figures["f1"], other
    return smoothing, tried


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", help="the first for the timelines, all for the calm")
    parser.add_argument("--timelines", type=int, default=16)
    parser.add_argument("--hop", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sweep", action="store_true")
    args = parser.parse_args()
    rng, alone = np.random.default_rng(args.seed), solos(args.clips[0])
    scenes = [timeline(alone, rng) for _ in range(args.timelines)]
    loaded = Tagger.load()
    tagger, smoothing = Remembering(loaded), Smoothing()

    def measured(tried: Smoothing) -> dict[str, Any]:
        return measure(tagger, loaded.thresholds, scenes, tried, args.hop)

    result = measured(smoothing)
    print(f"defaults: {line(result)}", flush=True)
    record = {
        "command": f"python benchmarks/timing.py {' '.join(folder.name for folder in args.clips)} --seed {args.seed}",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seed": args.seed,
        "timelines": args.timelines,
        "seconds": SECONDS,
        "hop": args.hop,
        "models": loaded.sha256s,
        "smoothing": asdict(smoothing),
    }
    if args.sweep:
        best, tried = sweep(measured, result["f1"], smoothing)
        print(best)
        name, figures = "timing_sweep.json", {"defaults": point(result), "best": asdict(best), "sweep": tried}
    else:
        still = calm(tagger, loaded.thresholds, args.clips, smoothing, args.hop)
        print(f"whole clips: {still}")
        over = [over_others(alone, rng) for _ in range(args.timelines)]
        counted = [detected(there, run(tagger, loaded.thresholds, mix, smoothing, args.hop)) for mix, there in over]
        hits, entries = (sum(part) for part in zip(*counted, strict=True))
        print(f"over others: {hits} of {entries} shown within 3 s")
        figures = {key: value for key, value in result.items() if key != "by_entry"} | {"calm": still}
        figures["over_others"] = {"entries": entries, "in_time": hits, "within_s": 3.0, "seconds": OVER_SECONDS}
        name = "timing.json"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(json.dumps(record | figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
