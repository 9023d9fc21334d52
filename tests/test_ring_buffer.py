"""The ring against a plain list, and against a reader that races its writer."""

import threading
import time

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from instrec_live.realtime.ring_buffer import Overrun, RingBuffer


class RingAgainstList(RuleBasedStateMachine):
    """The whole signal in a list is the model; the ring must agree wherever it still remembers."""

    @initialize(capacity=st.integers(1, 20), slack=st.integers(0, 7))
    def start(self, capacity: int, slack: int) -> None:
        self.ring, self.capacity, self.signal = RingBuffer(capacity, slack), capacity, []

    @rule(count=st.integers(0, 70))
    def write(self, count: int) -> None:
        block = np.arange(len(self.signal), len(self.signal) + count, dtype=np.float32)
        self.ring.write(block)
        self.signal.extend(block.tolist())

    @rule(back=st.integers(0, 30), count=st.integers(0, 30))
    def read(self, back: int, count: int) -> None:
        start = len(self.signal) - back
        stop = start + count
        if start < 0 or stop > len(self.signal):
            with pytest.raises(IndexError):
                self.ring.read(start, stop)
        elif count and back > self.capacity:
            with pytest.raises(Overrun):
                self.ring.read(start, stop)
        else:
            out = self.ring.read(start, stop)
            assert out.dtype == np.float32
            assert out.tolist() == self.signal[start:stop]
            out[:] = -1  # a copy: must not reach the ring

    @rule(ahead=st.integers(-3, 3))
    def wait(self, ahead: int) -> None:
        assert self.ring.wait(len(self.signal) + ahead, timeout=0) == (ahead <= 0)

    @invariant()
    def written_is_the_length(self) -> None:
        assert self.ring.written == len(self.signal)


TestRingAgainstList = RingAgainstList.TestCase
TestRingAgainstList.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def hammer(seconds: float, capacity: int, slack: int, block: int, pause: float) -> tuple[int, int, int, int]:
    """Race a writer of a ramp against a reader: windows read, torn, overrun, and steps back of `written`."""
    ring = RingBuffer(capacity, slack)
    ramp = np.arange(1 << 23, dtype=np.float32)  # exact in float32
    stop = threading.Event()

    def write() -> None:
        at = 0
        while not stop.is_set() and at + block <= len(ramp):
            ring.write(ramp[at : at + block])
            at += block
            time.sleep(pause)
        ring.close()

    writer = threading.Thread(target=write)
    writer.start()
    windows = torn = overruns = backwards = last = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end and not ring.closed:
        ring.wait(last + 1, timeout=1)
        written = ring.written
        backwards += written < last
        last = written
        start = max(0, written - capacity)
        try:
            window = ring.read(start, written)
        except Overrun:
            overruns += 1
            continue
        windows += 1
        torn += not np.array_equal(window, ramp[start:written])
    stop.set()
    writer.join()
    return windows, torn, overruns, backwards


def test_no_window_is_torn_at_ten_times_real_time():
    windows, torn, overruns, backwards = hammer(2, capacity=320_000, slack=64_000, block=1024, pause=0.0032)
    assert windows > 100
    assert (torn, overruns, backwards) == (0, 0, 0)


def test_no_window_is_torn_even_when_the_writer_overtakes_the_reader():
    windows, torn, overruns, backwards = hammer(1, capacity=50_000, slack=100, block=40_000, pause=0.002)
    assert (torn, backwards) == (0, 0)
    assert windows + overruns > 20


def test_a_waiting_reader_wakes_at_the_write():
    ring = RingBuffer(100)
    woken: list[bool] = []
    reader = threading.Thread(target=lambda: woken.append(ring.wait(5, timeout=10)))
    reader.start()
    ring.write(np.ones(4, np.float32))
    reader.join(0.05)
    assert reader.is_alive()  # four are not five
    ring.write(np.ones(1, np.float32))
    reader.join(5)
    assert woken == [True]


def test_close_lets_a_waiting_reader_go_and_keeps_what_was_written():
    ring = RingBuffer(100)
    ring.write(np.arange(3, dtype=np.float32))
    threading.Timer(0.05, ring.close).start()
    began = time.monotonic()
    assert ring.wait(4, timeout=10) is False
    assert time.monotonic() - began < 5
    assert ring.closed
    assert ring.wait(3) is True
    assert ring.read(0, 3).tolist() == [0, 1, 2]


def test_wait_gives_up_in_time():
    began = time.monotonic()
    assert RingBuffer(10).wait(1, timeout=0.05) is False
    assert 0.04 < time.monotonic() - began < 5


def test_writing_takes_no_lock_when_nobody_waits(monkeypatch):
    ring = RingBuffer(100)
    ring.write(np.ones(1, np.float32))
    monkeypatch.setattr(ring._news, "set", lambda: pytest.fail("took the lock"))
    ring.write(np.ones(1, np.float32))


@pytest.mark.parametrize(("capacity", "slack"), [(0, 5), (-1, 5), (5, -1)])
def test_a_ring_of_nothing_is_refused(capacity, slack):
    with pytest.raises(ValueError, match="cannot hold"):
        RingBuffer(capacity, slack)
