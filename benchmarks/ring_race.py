"""Does the sound ever tear, and what does the microphone's callback take?

    python benchmarks/ring_race.py [--seconds 60]

Writes benchmarks/results/ring_race.json:
    race      one thread writes a ramp into the ring as fast as ten microphones would (0.01 s of 32 kHz at a time, ten
              times real time), then as fast as it can; another one reads the newest 10 s, again and again. A window is
              torn if it is no ramp; one that was overtaken, and says so, is counted apart.
    callback  as the driver calls it, 0.1 s of 48 kHz in two channels, while another thread computes: wall-clock times
              of so many calls, and what they leave in memory.
The ramp starts again at 2^24, above which float32 has no whole numbers.
"""

import argparse
import datetime
import json
import platform
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.realtime.audio import MicrophoneSource
from instrec_live.realtime.audio.ring_buffer import Overrun, RingBuffer

RESULTS = Path(__file__).resolve().parent / "results" / "ring_race.json"
WINDOW, BLOCK, ENDLESS = 10 * SAMPLE_RATE, SAMPLE_RATE // 100, 1 << 24
CALLS = 20_000


def ramp(start: int, stop: int) -> NDArray[np.float32]:
    """The samples [start, stop), each its own index modulo 2^24."""
    return (np.arange(start, stop) % ENDLESS).astype(np.float32)


def race(seconds: float, times_real_time: float | None) -> dict[str, float]:
    """A writer, as fast as that or as it can, against a reader."""
    ring, done = RingBuffer(WINDOW), threading.Event()
    ring.write(ramp(0, WINDOW))

    def write() -> None:
        began, first = time.monotonic(), ring.written
        while not done.is_set():
            if times_real_time is not None:
                ahead = (ring.written - first) / SAMPLE_RATE / times_real_time - (time.monotonic() - began)
                if ahead > 0.002:
                    time.sleep(ahead)
            ring.write(ramp(ring.written, ring.written + BLOCK))

    windows = torn = overtaken = backwards = newest = 0
    writer = threading.Thread(target=write)
    writer.start()
    began, start = time.monotonic(), ring.written
    while time.monotonic() - began < seconds:
        end = ring.written
        backwards += end < newest
        newest = end
        try:
            window = ring.read(end - WINDOW, end)
        except Overrun:
            overtaken += 1
            continue
        windows += 1
        torn += not np.array_equal(window, ramp(end - WINDOW, end))
    took = time.monotonic() - began
    done.set()
    writer.join()
    speed = (ring.written - start) / SAMPLE_RATE / took
    return {
        "seconds": round(took, 1),
        "times real time": round(speed, 1),
        "windows": windows,
        "torn": torn,
        "overtaken": overtaken,
        "indices that went back": backwards,
    }


def callback_of(source: MicrophoneSource) -> Callable[[NDArray[np.float32]], None]:
    """The driver's part: hands a block on."""
    status = SimpleNamespace(input_overflow=False)
    return lambda block: source._callback(block, len(block), None, status)


def a_source(rate: int = 48_000, channels: int = 2) -> MicrophoneSource:
    """A microphone without a driver."""
    source = MicrophoneSource.__new__(MicrophoneSource)
    source._ring = RingBuffer(4 * rate * channels, slack=rate * channels)
    return source


def callback() -> dict[str, float]:
    """What a call takes while another thread computes, and what the calls leave behind."""
    call, block = callback_of(a_source()), np.ones((4_800, 2), np.float32)
    done = threading.Event()

    def compute() -> None:
        matrix = np.ones((400, 400), np.float32)
        while not done.is_set():
            sum((matrix @ matrix)[0].tolist())

    busy = threading.Thread(target=compute)
    busy.start()
    took = np.empty(CALLS)
    for number in range(CALLS):
        time.sleep(0.0005)  # let the other one have the interpreter, as between two blocks
        began = time.perf_counter()
        call(block)
        took[number] = time.perf_counter() - began
    done.set()
    busy.join()
    tracemalloc.start()
    call(block)
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(CALLS):
        call(block)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    median, most, slowest = (float(np.quantile(took, q)) * 1000 for q in (0.5, 0.999, 1.0))
    return {
        "calls": CALLS,
        "median ms": round(median, 4),
        "p99.9 ms": round(most, 4),
        "slowest ms": round(slowest, 4),
        "bytes kept": grown,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args().seconds
    report = {
        "command": " ".join(["python benchmarks/ring_race.py", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "race at ten times real time": race(seconds, 10.0),
        "race as fast as it goes": race(seconds, None),
        "callback": callback(),
    }
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))
    return int(any(report[name]["torn"] for name in report if name.startswith("race")))  # type: ignore[index]


if __name__ == "__main__":
    sys.exit(main())
