"""Measures what listening costs, and what each optimisation saves.

    python benchmarks/cost.py [--seconds 20] [--repeats 3] [--models passt,cbam_cnn,ms_crnn] [--engine onnx]

Plays the demo to the networks as the program does, on one thread, and counts CPU time (of this process, so that other
load matters little), the least of some repeats. Writes benchmarks/results/cost.json:
    savings   one after another: whole windows and log-mels at every hop; log-mel frames computed once; the long window
              once a second only; patches computed once; 16 hops in a batch (--pace max)
    hops      against the time between updates
    spans     against the length of the short window
    streams   so many streams in one process, sharing the networks
All figures are CPU seconds a second of sound, so shares of one core.
"""

import argparse
import datetime
import json
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import soundfile
import soxr

from instrec_live.models import Tagger
from instrec_live.models.arrays import FloatArray
from instrec_live.models.bundle import DEFAULT_MODELS
from instrec_live.models.engine_selection import processor
from instrec_live.models.logmel import SAMPLE_RATE, StreamingLogMel, log_mel
from instrec_live.models.streaming import Window
from instrec_live.realtime.stream.smoothing import Smoothing

CHECKOUT = Path(__file__).resolve().parent.parent
RESULTS = CHECKOUT / "benchmarks" / "results"
HOP, SHORT, LONG, BATCH = 0.5, Smoothing().short_seconds, 10.0, 16
HOPS, SPANS, STREAMS = (0.1, 0.25, 0.5, 1.0, 2.0), (1.0, 2.0, 2.5, 5.0, 10.0), (1, 2, 4, 8, 16)


def demo(seconds: float) -> FloatArray:
    """The demo's sound, again and again, float32 [n] at 32 kHz; 10 s more, which are heard before anything counts."""
    samples, rate = soundfile.read(CHECKOUT / "realtime/demo/demo.ogg", dtype="float32", always_2d=True)
    mono = soxr.resample(samples.mean(1), rate, SAMPLE_RATE)
    return np.asarray(np.resize(mono, round((LONG + seconds) * SAMPLE_RATE)), np.float32)


def windows(sound: FloatArray, hop: float, short: float, beat: float) -> Iterator[list[Window]]:
    """Of every hop, those heard: the short one, and the long one each time a beat is over."""
    step, every = round(hop * SAMPLE_RATE), round(beat * SAMPLE_RATE)
    for end in range(round(LONG * SAMPLE_RATE) + step, len(sound) + 1, step):
        due = end // every > (end - step) // every
        yield [Window(end, round(s * SAMPLE_RATE)) for s in ((short, LONG) if due else (short,))]


class WholeWindows:
    """Computes every window in full."""

    def __init__(self, tagger: Tagger, sound: FloatArray) -> None:
        self.tagger, self.sound = tagger, sound

    def run(self, wanted: list[Window]) -> None:
        for end, length, _ in wanted:
            self.tagger.ensemble(self.tagger.calibrated(log_mel(self.sound[end - length : end])))


class Framewise(WholeWindows):
    """Computes no frame of the log-mel twice."""

    def __init__(self, tagger: Tagger, sound: FloatArray) -> None:
        super().__init__(tagger, sound)
        self.mel = StreamingLogMel(LONG + 10.0)
        self.mel.push(sound[: round(LONG * SAMPLE_RATE)])

    def push(self, end: int) -> None:
        self.mel.push(self.sound[self.mel.end : end])

    def run(self, wanted: list[Window]) -> None:
        self.push(wanted[-1][0])
        for end, length, _ in wanted:
            self.tagger.ensemble(self.tagger.calibrated(self.mel.window(end, length)))


class Patchwise(Framewise):
    """Computes each patch once, too, as the program does."""

    def __init__(self, tagger: Tagger, sound: FloatArray, hop: float = HOP) -> None:
        super().__init__(tagger, sound)
        self.inference = tagger.follow(self.mel, round(hop * SAMPLE_RATE))

    def run(self, wanted: list[Window]) -> None:
        self.push(wanted[-1][0])
        for end, length, _ in wanted:
            self.tagger.ensemble(self.inference.calibrated(end, length))


class Batched(Patchwise):
    """Many hops at once."""

    def run(self, wanted: list[Window]) -> None:
        self.push(wanted[-1][0])
        self.inference.prepare(wanted)
        super().run(wanted)


def share(make: Callable[[], list[WholeWindows]], plan: list[list[Window]], repeats: int) -> float:
    """CPU seconds a second of sound, of each of the runners."""
    best = np.inf
    for _ in range(repeats):
        runners = make()
        for runner in runners:
            runner.run(plan[0])
        began = time.process_time()
        for wanted in plan[1:]:
            for runner in runners:
                runner.run(wanted)
        heard = (plan[-1][-1][0] - plan[0][-1][0]) / SAMPLE_RATE
        best = min(best, (time.process_time() - began) / heard / len(runners))
    return round(best, 4)


def savings(tagger: Tagger, sound: FloatArray, repeats: int) -> dict[str, float]:
    """The share of a core, one saving after another."""
    often, seldom = list(windows(sound, HOP, SHORT, HOP)), list(windows(sound, HOP, SHORT, 1.0))
    many = [list(chain.from_iterable(seldom[i : i + BATCH])) for i in range(0, len(seldom), BATCH)]
    return {
        "whole windows each time": share(lambda: [WholeWindows(tagger, sound)], often, repeats),
        "log-mel frames computed once": share(lambda: [Framewise(tagger, sound)], often, repeats),
        "long window once a second": share(lambda: [Framewise(tagger, sound)], seldom, repeats),
        "patches computed once": share(lambda: [Patchwise(tagger, sound)], seldom, repeats),
        "16 hops in a batch": share(lambda: [Batched(tagger, sound)], many, repeats),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of sound that counts (20)")
    parser.add_argument("--repeats", type=int, default=3, help="of which the least counts (3)")
    parser.add_argument("--models", default=",".join(DEFAULT_MODELS), metavar="A,B,…")
    parser.add_argument("--engine", default="onnx")
    args = parser.parse_args()
    names, sound = args.models.split(","), demo(args.seconds)
    tagger = Tagger.load(names, args.engine)

    def following(hop: float, short: float, count: int = 1) -> float:
        plan = list(windows(sound, hop, short, max(1.0, hop)))
        return share(lambda: [Patchwise(tagger, sound, hop) for _ in range(count)], plan, args.repeats)

    record = {
        "command": " ".join(["python benchmarks/cost.py", *sys.argv[1:]]),
        "date": datetime.datetime.now().isoformat(timespec="seconds"),
        "machine": processor(),
        "engine": tagger.engine_name,
        "sha256s": tagger.sha256s,
        "savings": {
            "all": savings(tagger, sound, args.repeats),
            **{name: savings(Tagger.load([name], args.engine), sound, args.repeats) for name in names},
        },
        "hops": {hop: following(hop, SHORT) for hop in HOPS},
        "spans": {short: following(HOP, short) for short in SPANS},
        "streams": {count: following(HOP, SHORT, count) for count in STREAMS},
    }
    (RESULTS / "cost.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
