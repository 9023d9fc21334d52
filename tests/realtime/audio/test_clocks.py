"""The machine sleeps, the clock is set: only the monotonic clock counts, and no age is ever negative."""

import ast
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from fakes import ArraySource, FakeTagger, FloatArray, music

from instrec_live.realtime.audio import playback_clock, ring_buffer
from instrec_live.realtime.audio.playback_clock import WallClock
from instrec_live.realtime.audio.ring_buffer import RingBuffer
from instrec_live.realtime.stream import capture
from instrec_live.realtime.stream.capture import Capture, MonoReader
from instrec_live.realtime.stream.stream import Stream

REALTIME = Path(capture.__file__).parents[1]
# The day on which something was made stands in headers and names of files, and nowhere else.
DATED = {"commands/learn.py", "commands/tag/results.py", "outputs/files.py", "outputs/sink.py", "tui/base_app.py"}


def asks_for_the_day(path: Path) -> bool:
    """Whether a module asks for the clock that people set."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Attribute(value=ast.Name(id="time"), attr="time" | "time_ns" | "localtime" | "gmtime"):
                return True
            case ast.Attribute(attr="now" | "utcnow" | "today"):
                if isinstance(node.value, ast.Name) and node.value.id in ("datetime", "date"):
                    return True
            case ast.ImportFrom(module="time", names=names) if any(n.name in ("time", "time_ns") for n in names):
                return True
    return False


def test_nothing_live_asks_what_time_of_day_it_is() -> None:
    asking = {str(path.relative_to(REALTIME)) for path in REALTIME.rglob("*.py") if asks_for_the_day(path)}
    assert asking <= DATED
    assert "outputs/files.py" in asking  # so it would be noticed


class Jumping:
    """The machine's monotonic clock, with jumps; `time.time` is nobody's business."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.stopped_at: float | None = None

    def monotonic(self) -> float:
        return (time.monotonic() if self.stopped_at is None else self.stopped_at) + self.ahead

    def time(self) -> float:
        raise AssertionError("the clock that people set was read")


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> Jumping:
    fake = Jumping()
    for module in (capture, ring_buffer, playback_clock):
        monkeypatch.setattr(module, "time", fake)
    return fake


class Microphone(ArraySource):
    """Sound in real time, 20 blocks a second."""

    def __init__(self, seconds: float) -> None:
        super().__init__(music(seconds), blocks=1_600, live=True)

    def read(self) -> FloatArray | None:
        time.sleep(0.05)
        return super().read()


@pytest.mark.parametrize("ahead", [-3_600.0, 3_600.0], ids=["back", "ahead"])
def test_a_clock_that_jumps_makes_no_age_negative_and_skips_nothing(ahead: float, jumping: Jumping) -> None:
    """Ahead as where the clock counts the sleep (Windows); back as no monotonic clock ever should."""
    source = Microphone(2.0)
    listening = Stream(source=source, hop=0.25, tagger=FakeTagger())  # type: ignore[arg-type]
    threading.Timer(1.0, lambda: setattr(jumping, "ahead", ahead)).start()
    got = list(listening)
    assert got[-1].time == 2.0
    assert all(u.age_s >= 0 for u in got)
    assert max(u.age_s for u in got[-3:]) < 60.0  # an hour's jump is over with the next block
    assert not any(u.gap for u in got)


def test_a_clock_that_stops_while_the_machine_sleeps(jumping: Jumping) -> None:
    """As Linux's does: what the microphone gives afterwards follows what it gave before."""
    ring, source = RingBuffer(32_000 * 4), Microphone(1.0)
    taken = Capture(MonoReader(source), ring, None)
    jumping.stopped_at = time.monotonic()
    taken.start()
    taken.join()
    assert ring.written == 32_000
    assert taken.age(32_000) == 0.0
    assert taken.age(16_000) == pytest.approx(0.5)
    assert taken.age(40_000) == 0.0  # never less


def test_a_file_continues_where_it_was_when_the_machine_wakes(jumping: Jumping) -> None:
    listening = Stream(
        source=ArraySource(music(2.5), blocks=800),
        hop=0.25,
        tagger=FakeTagger(),  # type: ignore[arg-type]
    )
    # Between two hops: the sound of a hop and its age are of one side of the jump.
    threading.Timer(1.1, lambda: setattr(jumping, "ahead", 3_600.0)).start()
    began = time.monotonic()
    got = list(listening)
    assert time.monotonic() - began > 2.2  # it was not hurried through
    assert got[-1].time == 2.5
    assert all(0 <= u.age_s < 60 for u in got)


def test_patience_is_of_wall_clock_seconds(jumping: Jumping) -> None:
    it = WallClock(speed=4.0, patience=2.0)
    it.run()
    jumping.stopped_at = time.monotonic()
    start = it.position
    jumping.ahead = 1.9
    assert it.until(start) == 0.0
    assert it.position == pytest.approx(start + 7.6)  # a little late: it is caught up with
    jumping.ahead = 2.1
    assert it.until(start) == 0.0
    assert it.position == pytest.approx(start)
    assert np.isinf(WallClock().until(1.0))
