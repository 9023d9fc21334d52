"""A machine that is too slow for a while: what is seen meanwhile, and that it is over when the load is."""

import time
import tracemalloc

import pytest
from fakes import ArraySource, FakeTagger, FloatArray, music

from instrec_live.realtime.stream import health
from instrec_live.realtime.stream.stream import Stream
from instrec_live.realtime.stream.update import State


class Busy(FakeTagger):
    """Takes three hops for each window until the load ends, `busy` seconds after the first."""

    def __init__(self, busy: float) -> None:
        super().__init__()
        self.busy, self.began = busy, 0.0

    def calibrated(self, log_mel: FloatArray) -> dict[str, FloatArray]:
        self.began = self.began or time.monotonic()
        self.sleep = 0.15 if time.monotonic() - self.began < self.busy else 0.0  # two windows an update at times
        return super().calibrated(log_mel)


@pytest.mark.timing
def test_when_the_load_ends_it_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_MINUTE", 1.5)  # the past that counts
    monkeypatch.setattr("instrec_live.realtime.stream.stream.warm_up", lambda *_: None)
    listening = Stream(source=ArraySource(music(5.0), blocks=800), hop=0.1, tagger=Busy(1.8))  # type: ignore[arg-type]
    got = list(listening)
    loaded = [u for u in got if 0.8 < u.time < 1.8]
    assert any(u.state is State.CATCHING_UP for u in loaded)
    assert loaded[-1].skipped > 3
    assert max(u.age_s for u in got) < 1.5
    after = [u for u in got if u.time > 4.0]
    # A busy machine may be late of its own; but nothing like before.
    assert after[-1].skipped - after[0].skipped <= 4
    assert after[-1].state is not State.CATCHING_UP
    assert max(u.age_s for u in after) < 0.5
    assert got[-1].skipped + len(got) == 50


def test_being_late_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("instrec_live.realtime.stream.stream.warm_up", lambda *_: None)
    listening = Stream(source=ArraySource(music(3.5), blocks=800), hop=0.1, tagger=Busy(99.0))  # type: ignore[arg-type]
    held: dict[float, int] = {}
    tracemalloc.start()
    try:
        for update in listening:
            held[update.time] = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    # What comes in a second and a half would be 192 kB, of which nothing may stay but what is counted.
    sizes = list(held.values())
    middle = len(sizes) // 2
    assert max(sizes[middle:]) - max(sizes[:middle]) < 100_000
