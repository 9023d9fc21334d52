"""A stream that plays fixed updates: for the tests of the screen, and to look at it without a sound.

python tests/support/fake_stream.py [seconds]       shows the screen, in real time
"""

import math
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.stream.smoothing import Smoothing
from instrec_live.realtime.stream.update import State, StreamInfo, Update

MODELS = ("passt", "cbam_cnn", "ms_crnn")
HOP = 0.5
#: instrument → (from, to, how sure) in seconds
SCORE = {
    "piano": (4.0, 70.0, 0.93),
    "voice": (12.0, 44.0, 0.81),
    "voice_again": (52.0, 58.5, 0.66),
    "bass": (20.0, 70.0, 0.72),
    "drums": (20.0, 48.0, 0.97),
    "cymbals": (24.0, 48.0, 0.58),
    "violin": (30.0, 41.0, 0.47),
    "cello": (50.0, 70.0, 0.64),
    "mallet_percussion": (47.0, 50.0, 0.39),
}


def info(**changes: object) -> StreamInfo:
    """A microphone's facts."""
    facts: dict[str, object] = {
        "source": "[2] Scarlett 2i2", "source_rate": 48000, "source_channels": 2, "duration": None,
        "live": True, "pace": "realtime", "hop": HOP, "models": MODELS, "engine": "onnxruntime 1.32 cpu",
        "sha256s": dict.fromkeys(MODELS, "0" * 64),
        "weights": dict.fromkeys(MODELS, 1.0),
        "thresholds": {name: 0.4 + 0.02 * (number % 6) for number, name in enumerate(INSTRUMENTS)},
        "model_thresholds": {model: dict.fromkeys(INSTRUMENTS, 0.5) for model in MODELS},
        "off_margin": Smoothing().off_margin,
    }  # fmt: skip
    return StreamInfo(**(facts | changes))  # type: ignore[arg-type]


def update(number: int, **changes: object) -> Update:
    """The `number`-th update: a small ensemble comes in one after the other."""
    return Update(**(_facts(number) | changes))  # type: ignore[arg-type]


@cache
def _facts(number: int) -> dict[str, object]:
    now = (number + 1) * HOP
    wobble = np.random.default_rng(number)
    heard = 0.02 + 0.05 * wobble.random(len(INSTRUMENTS))
    for key, (start, stop, sure) in SCORE.items():
        name = key.removesuffix("_again")
        rise, fall = 1 - math.exp(-max(0.0, now - start) / 1.5), math.exp(-max(0.0, now - stop) / 2.0)
        row = INSTRUMENTS.index(name)
        heard[row] = max(heard[row], sure * rise * fall * (1 + 0.08 * math.sin(now * 1.3 + row)))
    probabilities = np.clip(heard, 0, 0.995).astype(np.float32)
    by_model = {
        model: np.clip(probabilities + np.float32(shift), 0, 1)
        for model, shift in zip(MODELS, (0.06, -0.02, -0.11), strict=True)
    }
    limits = info().thresholds
    level = -17 + 5 * math.sin(now * 0.9) + 3 * math.sin(now * 2.7)
    return {
        "time": now, "probabilities": probabilities, "by_model": by_model,
        "active": tuple(n for n, p in zip(INSTRUMENTS, probabilities, strict=True) if p >= limits[n]),
        "level_db": level, "peak_db": level + 6, "state": State.OK if now >= 10 else State.WARMING,
        "filled_s": min(10.0, now), "age_s": 0.31 + 0.05 * math.sin(now), "inference_s": 0.038,
        "skipped": 0, "xruns": 0, "bad_samples": 0, "mel": mel(number),
    }  # fmt: skip


def mel(number: int) -> np.ndarray:
    """Half a second of something like music: partials of a slow tune, float32 [128, 50]."""
    frames = number * 50 + np.arange(50)
    bands = np.arange(128)[:, None]
    tune = 12 + 5 * (frames // 30 * 7 % 5)
    partials = sum(np.exp(-((bands - tune * k) ** 2) / 6) / k for k in (1, 2, 3, 4, 6))
    return (-0.9 + 1.9 * partials * np.exp(-(frames % 30) / 25)).astype(np.float32)


class FakeTransport:
    """A file that is never really played."""

    audible = False

    def __init__(self, duration: float = 70.0) -> None:
        self.duration, self.position, self.paused, self.speed = duration, 20.0, False, 1.0

    def pause(self, paused: bool) -> None:
        self.paused = paused

    def seek(self, time: float) -> None:
        self.position = min(time, self.duration)

    def go(self, speed: float) -> None:
        self.speed = speed


class FakeStream:
    """Plays `updates`, one every `beat` seconds; then ends, raises `error`, or (`hold`) waits for close."""

    def __init__(
        self,
        updates: list[Update],
        facts: StreamInfo | None = None,
        error: Exception | None = None,
        hold: bool = False,
        beat: float = 0.0,
    ) -> None:
        self.info = facts or info()
        self.updates, self.error, self.hold, self.beat = updates, error, hold, beat
        self.closed = threading.Event()
        self.transport: FakeTransport | None = None
        self.recording: Path | None = None
        self.labels: list[tuple[float, str]] = []
        self.news: list[str] = []
        self.refusal: Exception | None = None

    def __iter__(self) -> Iterator[Update]:
        start = time.monotonic()
        for number, each in enumerate(self.updates):
            if self.beat:
                self.closed.wait(max(0.0, start + number * self.beat - time.monotonic()))
            if self.closed.is_set():
                return
            yield each
        if self.error is not None:
            raise self.error
        if self.hold:
            self.closed.wait()

    def stop(self) -> None:
        self.closed.set()

    def close(self) -> None:
        self.closed.set()

    # What the keys do: it is only noted down.
    def set_thresholds(self, thresholds: Mapping[str, float]) -> None:
        self.info = replace(self.info, thresholds={**self.info.thresholds, **thresholds})

    def listen_to(self, device: int | str | None) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.info = replace(self.info, source=f"[7] {device}")

    def label(self, text: str, time: float) -> None:
        self.labels.append((time, text))

    def export_events(self) -> Path:
        if self.refusal is not None:
            raise self.refusal
        return Path("events.txt")

    def record(self, on: bool) -> Path:
        if self.refusal is not None:
            raise self.refusal
        self.recording = Path("take.wav") if on else None
        return Path("take.wav")

    def notices(self) -> list[str]:
        said, self.news = self.news, []
        return said


if __name__ == "__main__":
    from instrec_live.realtime.tui import run

    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 65.0
    sys.exit(run(FakeStream([update(number) for number in range(int(seconds / HOP))], beat=HOP)))
