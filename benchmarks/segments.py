"""How well the segments of files fit the sound: decided as live sound is, and with look-ahead.

    python benchmarks/segments.py CLIPS [--timelines 12] [--seed 200]     # writes benchmarks/results/segments.json
    python benchmarks/segments.py CLIPS --hop 1                           # adds what another hop gives
    python benchmarks/segments.py CLIPS --fit [--seed 100]                # tries other parameters of `Lookahead`

CLIPS as for timing.py, whose timelines these are: solos that come and go, solos over others that play on; and the demo
clip. A segment is found if one of its instrument begins and ends within a second of it; the errors of boundaries are
those of the segment that overlaps it longest, found or not. The parameters were chosen on timelines of another seed
than those reported, and of the same clips.
"""

import argparse
import datetime
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from demo_timeline import CHECKOUT, Event, read_timeline
from scipy.optimize import linear_sum_assignment
from timing import over_others, solos, timeline

from instrec_live.models import Tagger
from instrec_live.models.arrays import FloatArray
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.models.segments import Lookahead, Segment
from instrec_live.models.streaming import Window, windows_ahead
from instrec_live.realtime.commands.tag.job import RecordedInference
from instrec_live.realtime.outputs.sink import SegmentTracker
from instrec_live.realtime.stream.analysis import Analysis, AnalysisConfig, PendingHop
from instrec_live.realtime.stream.offline import OfflineAnalysis
from instrec_live.realtime.stream.update import Update

RESULT = Path(__file__).parent / "results" / "segments.json"
COLLAR = 1.0  # s
HOP = 0.5  # s
CHOICES: dict[str, tuple[float, ...]] = {
    "switch_cost": (1.0, 2.0, 3.0, 4.0, 6.0),
    "long_weight": (0.1, 0.2, 0.3, 0.4, 0.6),
    "long_period": (2.0, 5.0, 10.0),
    "reach": (0.0, 0.25, 0.5),
    "margin": (-0.25, 0.0, 0.25, 0.5),
    "limit": (2.0, 3.0, 5.0),
}


@dataclass(frozen=True)
class Heard:
    """A piece of sound through the networks, and what is in it."""

    hops: tuple[PendingHop, ...]
    tagger: RecordedInference
    truth: tuple[Event, ...]
    seconds: float


def heard(tagger: Tagger, mix: FloatArray, events: Iterable[Event], config: AnalysisConfig) -> Heard:
    """Run the networks once, on all windows that a decision with or without look-ahead may need."""
    step, told = config.hop_samples, dict[Window, Mapping[str, FloatArray]]()
    analysis = Analysis(tagger, step, config.thresholds_of(tagger), config.gate_db, config.smoothing)
    hops = []
    for at in range(0, len(mix) - step + 1, step):
        hops.append(analysis.begin_hop(mix[at : at + step], 0))
        for window in hops[-1].windows:
            for each in (window, window._replace(whole=False)):
                told[each] = dict(analysis.inference.calibrated(*each))
    return Heard(tuple(hops), RecordedInference(tagger, told), tuple(merged(events)), len(mix) / SAMPLE_RATE)


def merged(events: Iterable[Event]) -> list[Event]:
    """Events of one instrument that follow one another within 0.3 s as one."""
    out: list[Event] = []
    for event in sorted(events):
        if out and out[-1].instrument == event.instrument and event.onset <= out[-1].offset + 0.3:
            out[-1] = Event(event.instrument, out[-1].onset, max(out[-1].offset, event.offset))
        else:
            out.append(event)
    return out


def decided(sound: Heard, config: AnalysisConfig) -> list[Segment]:
    """The segments of a piece; without look-ahead if the config has none."""
    ahead = config.lookahead
    thresholds = config.thresholds_of(sound.tagger, ahead is not None)  # type: ignore[arg-type]
    plain = Analysis(sound.tagger, config.hop_samples, thresholds, config.gate_db, config.smoothing)
    updates: list[Update] = []
    if ahead is None:
        updates = [plain.finish_hop(hop) for hop in sound.hops]
    else:
        offline = OfflineAnalysis(plain, ahead, thresholds, config.smoothing.short_seconds)
        updates = [update for hop in with_fewer_windows(sound.hops, config) for update in offline.finish_hop(hop)]
        updates += offline.rest()
    tracker = SegmentTracker({"hop": config.hop, "decisions": "causal" if ahead is None else "lookahead"})
    return [segment for update in updates for segment in tracker.after(update)] + tracker.rest()


def with_fewer_windows(hops: Iterable[PendingHop], config: AnalysisConfig) -> Iterator[PendingHop]:
    """The hops with the windows that are due with look-ahead."""
    assert config.lookahead is not None
    short, period = (
        round(each * SAMPLE_RATE) for each in (config.smoothing.short_seconds, config.lookahead.long_period)
    )
    before, quiet = 0, True
    for hop in hops:
        yield replace(hop, windows=() if hop.quiet else windows_ahead(hop.end, before, short, period, edge=quiet))
        before, quiet = hop.end, hop.quiet


def score(pieces: Sequence[tuple[Heard, list[Segment]]]) -> dict[str, Any]:
    """F1 of segments, errors of boundaries, and precision and recall of instrument-seconds."""
    found = true = claimed = 0
    onsets: list[float] = []
    offsets: list[float] = []
    seconds = np.zeros(3)
    for sound, segments in pieces:
        true, claimed = true + len(sound.truth), claimed + len(segments)
        ticks = np.zeros((2, len(INSTRUMENTS), round(100 * sound.seconds) + 1), np.bool_)
        for row, name in enumerate(INSTRUMENTS):
            events = [event for event in sound.truth if event.instrument == name]
            ours = [segment for segment in segments if segment.name == name]
            for event in events:
                ticks[0, row, round(100 * event.onset) : round(100 * event.offset)] = True
            for segment in ours:
                ticks[1, row, round(100 * segment.onset) : round(100 * segment.offset)] = True
            if not events or not ours:
                continue
            errors = np.array([[(s.onset - e.onset, s.offset - e.offset) for s in ours] for e in events])
            near = (np.abs(errors) <= COLLAR).all(axis=2)
            found += int(near[linear_sum_assignment(~near)].sum())
            shared = np.array([[min(s.offset, e.offset) - max(s.onset, e.onset) for s in ours] for e in events])
            for number, best in enumerate(shared.argmax(axis=1)):
                if shared[number, best] > 0:
                    onsets.append(float(errors[number, best, 0]))
                    offsets.append(float(errors[number, best, 1]))
        seconds += (ticks.all(axis=0).sum(), ticks[1].sum(), ticks[0].sum())
    return {
        "segments": true,
        "f1": round(2 * found / max(1, true + claimed), 4),
        "precision": round(found / max(1, claimed), 4),
        "recall": round(found / max(1, true), 4),
        "overlapped": len(onsets),
        "median_onset_error_s": _median(np.abs(onsets)),
        "median_offset_error_s": _median(np.abs(offsets)),
        "median_onset_lateness_s": _median(onsets),
        "median_offset_lateness_s": _median(offsets),
        "seconds_precision": round(float(seconds[0] / max(1, seconds[1])), 4),
        "seconds_recall": round(float(seconds[0] / max(1, seconds[2])), 4),
    }


def _median(values: Any) -> float | None:
    return round(float(np.median(values)), 3) if len(values) else None


def fit(measured: Callable[[Lookahead], float], best: Lookahead) -> Lookahead:
    """The parameters with the highest figure, one after another, twice."""
    figure = measured(best)
    for name, values in 2 * list(CHOICES.items()):
        for value in values:
            other = replace(best, **{name: value})
            if (each := measured(other)) > figure + 1e-4:
                best, figure = other, each
                print(f"{name} {value}: {figure:.4f}", flush=True)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--timelines", type=int, default=12)
    parser.add_argument("--hop", type=float, default=HOP)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--fit", action="store_true")
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else 100 if args.fit else 200
    rng, alone, tagger = np.random.default_rng(seed), solos(args.clips), Tagger.load()
    config = AnalysisConfig(hop=args.hop)
    sets = {
        "timelines": [heard(tagger, *timeline(alone, rng), config) for _ in range(args.timelines)],
        "over_others": [heard(tagger, *over_others(alone, rng), config) for _ in range(args.timelines // 2)],
    }

    def figures(which: str, ahead: Lookahead | None) -> dict[str, Any]:
        other = replace(config, lookahead=ahead)
        return score([(sound, decided(sound, other)) for sound in sets[which]])

    if args.fit:

        def measured(ahead: Lookahead) -> float:
            each = [figures(which, ahead) for which in sets]
            late = max(each[0]["median_onset_error_s"], each[0]["median_offset_error_s"])
            return float(np.mean([one["f1"] for one in each]) - max(0.0, late - 0.35))

        print(fit(measured, Lookahead()))
        return
    samples, rate = soundfile.read(CHECKOUT / "realtime" / "demo" / "demo.ogg", dtype="float32", always_2d=True)
    events, _ = read_timeline()
    sets["demo"] = [heard(tagger, np.asarray(soxr.resample(samples.mean(1), rate, SAMPLE_RATE)), events, config)]
    if args.hop != HOP:
        record = json.loads(RESULT.read_text(encoding="utf-8"))
        if (record["models"], record["lookahead"]) != (tagger.sha256s, asdict(Lookahead())):
            raise SystemExit(f"{RESULT.name} is of other networks or parameters: run without --hop first")
        record["other_hops"][f"{args.hop:g}"] = {which: figures(which, Lookahead()) for which in sets}
        print(json.dumps(record["other_hops"], indent=1))
        RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        return
    record = {
        "command": f"python benchmarks/segments.py {args.clips.name} --seed {seed}",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "collar_s": COLLAR,
        "hop": args.hop,
        "models": tagger.sha256s,
        "lookahead": asdict(Lookahead()),
        "made": {which: len(each) for which, each in sets.items()},
        **{which: {"before": figures(which, None), "after": figures(which, Lookahead())} for which in sets},
        "other_hops": {},
    }
    for which in sets:
        for when in ("before", "after"):
            print(which, when, record[which][when])
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
