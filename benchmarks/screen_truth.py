"""Counts rows of the screen that contradict themselves: drawn as sounding with a bar below the mark, and the reverse.

    python benchmarks/screen_truth.py

Runs the bundled networks over the demo and three concerts that are mixed here, and writes
benchmarks/results/screen_truth.json. "Before" is how rows were drawn until 0.1: lit while active, with the mark that
switches on.
"""

import datetime
import importlib.metadata
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from instrec_live.models.arrays import FloatArray
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.stream.activity import Activity
from instrec_live.realtime.stream.smoothing import Smoothing
from instrec_live.realtime.stream.stream import Stream
from instrec_live.realtime.stream.update import StreamInfo, Update
from instrec_live.realtime.tui.drawing import UNICODE
from instrec_live.realtime.tui.rows import Row, columns, row
from instrec_live.realtime.tui.state import ScreenState, View

CHECKOUT = Path(__file__).resolve().parent.parent
RESULT = CHECKOUT / "benchmarks" / "results" / "screen_truth.json"
DEMO = CHECKOUT / "realtime" / "demo" / "demo.ogg"
SECONDS = 14.0
ON_THE_WAY = (0.0, 0.05, 0.1, 0.2, float("inf"))  # s after an update; the bars move meanwhile


def sounds() -> Iterator[tuple[str, FloatArray, int]]:
    """The demo and three concerts: name, float32 [n, channels], Hz."""
    demo, rate = soundfile.read(DEMO, dtype="float32", always_2d=True)
    yield "demo", demo, rate
    n = int(SECONDS * rate)
    parts = [demo[start : start + n] for start in range(0, len(demo) - n + 1, n)][:3]
    yield "three at a time", np.sum(parts, axis=0, dtype=np.float32) / np.float32(2), rate
    seconds = np.arange(n, dtype=np.float32)[:, None] / np.float32(rate)
    yield "with rests", parts[1] * (seconds % 5 < 3), rate
    swell = np.float32(0.5) - np.float32(0.5) * np.cos(seconds * np.float32(2 * np.pi / 4))
    tones = sum(np.sin(seconds * np.float32(2 * np.pi * 220 * k)) / k for k in (1, 2, 3, 4, 5))
    hiss = np.random.default_rng(0).standard_normal((n, 1)).astype(np.float32)
    yield "swelling", parts[0] * swell + np.float32(0.05) * tones * (1 - swell) + np.float32(0.002) * hiss, rate


class Drawn(NamedTuple):
    """A row as it is drawn `since` seconds after an update."""

    update: Update
    info: StreamInfo
    since: float
    row: Row


def rows_drawn(samples: FloatArray, rate: int, cells: int = 120) -> Iterator[Drawn]:
    """Every row of every update of a sound, also while its bar moves, on a screen of `cells` columns."""
    sound = io.BytesIO()
    soundfile.write(sound, samples, rate, format="WAV", subtype="FLOAT")
    sound.seek(0)
    with Stream(stdin=sound, pace="max", lookahead=None) as stream:
        state = ScreenState(stream.info)
        widths = columns(cells, len(stream.info.models))
        for update in stream:
            state = state.after(update)
            for since in ON_THE_WAY:
                bars = state.bars(since)
                for name in INSTRUMENTS:
                    yield Drawn(update, stream.info, since, row(state, View(), name, bars, widths, UNICODE))


def longest_above() -> float:
    """The longest time that hysteresis leaves an instrument off above its threshold, s."""
    rule = Smoothing()
    return max(rule.on_seconds + rule.on_seconds_with_others, rule.min_off_seconds)


def main() -> None:
    """Count and write."""
    counts = {}
    for name, samples, rate in sounds():
        shown = before = after = held = leaving = 0
        for drawn in rows_drawn(samples, rate):
            if np.isfinite(drawn.since):
                continue
            active = drawn.row.activity is not Activity.OFF
            p = float(drawn.update.probabilities[INSTRUMENTS.index(drawn.row.name)])
            shown += active
            before += active and p < drawn.row.threshold
            lit = drawn.row.activity in (Activity.ON, Activity.HELD)
            after += lit and drawn.row.value < drawn.row.mark - 1e-6
            held += drawn.row.activity is Activity.HELD
            leaving += drawn.row.activity is Activity.LEAVING
        counts[name] = {
            "rows of active instruments": shown,
            "lit below the mark before": before,
            "lit below the mark now": after,
            "drawn as held": held,
            "drawn as leaving": leaving,
        }
        print(name, counts[name])
    result = {
        "date": datetime.date.today().isoformat(),
        "version": importlib.metadata.version("instrec-live"),
        "sounds": counts,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
