"""The ring against a plain list, and against a reader that races its writer."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from waiting import FOREVER

from instrec_live.realtime.audio.ring_buffer import Overrun, RingBuffer


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


RAMP = np.arange(1 << 22, dtype=np.float32)  # exact in float32; the signal is this over and over


def hammer(enough: Callable[[int, int], bool], ring: RingBuffer, block: int, pause: float) -> tuple[int, int, int, int]:
    """Race a writer of a ramp against a reader until `enough(windows, overruns)`.

    Returns the windows read, those torn, the overruns, and the steps back of `written`.
    """
    stop = threading.Event()

    def write() -> None:
        at = 0
        while not stop.is_set():
            ring.write(RAMP[at : at + block])
            at = (at + block) % len(RAMP)
            if pause:
                time.sleep(pause)

    writer = threading.Thread(target=write)
    windows = torn = overruns = backwards = last = 0
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    writer.start()
    while not enough(windows, overruns):
        written = ring.written
        backwards += written < last
        last = written
        start = max(0, written - ring.capacity)
        try:
            window = ring.read(start, written)
        except Overrun:
            overruns += 1
            continue
        windows += 1
        torn += not np.array_equal(window, np.take(RAMP, np.arange(start, written), mode="wrap"))
    stop.set()
    writer.join()
    sys.setswitchinterval(switching)
    return windows, torn, overruns, backwards


def test_no_window_is_torn_at_ten_times_real_time():
    _, torn, _, backwards = hammer(
        lambda windows, overruns: windows >= 300, RingBuffer(320_000, 320_000), block=1024, pause=0.0032
    )
    assert (torn, backwards) == (0, 0)


def test_no_window_is_torn_even_when_the_writer_overtakes_the_reader():
    _, torn, _, backwards = hammer(
        lambda windows, overruns: windows >= 300 and overruns > 0, RingBuffer(1 << 16, slack=0), 1 << 14, pause=1e-4
    )
    assert (torn, backwards) == (0, 0)


def test_a_reader_overtaken_while_it_copies_reports_it(monkeypatch):
    ring = RingBuffer(10, slack=2)
    ring.write(np.arange(10, dtype=np.float32))
    empty = np.empty

    def overtaken(count: int, dtype: type) -> np.ndarray:
        ring.write(np.full(overtaking, -1, np.float32))  # after the look, before the copy
        return empty(count, dtype)

    monkeypatch.setattr(np, "empty", overtaken)
    overtaking = 2  # no more than the slack
    assert ring.read(0, 10).tolist() == list(range(10))
    overtaking = 3
    with pytest.raises(Overrun, match="while they were read"):
        ring.read(2, 12)


def test_a_write_that_is_not_done_yet_counts_as_overtaking():
    ring = RingBuffer(10, slack=2)
    ring.write(np.arange(10, dtype=np.float32))
    seen: list[object] = []

    class HalfWay(np.ndarray):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, part: slice) -> np.ndarray:
            if part.stop is None and part.start == -12:  # the newest of more than the ring holds: here, all
                return self
            with pytest.raises(Overrun):  # one of the two copies of the write
                ring.read(0, 10)
            seen.append(ring.written)
            return np.zeros(3, np.float32)[part]

    ring.write(np.zeros(3, np.float32).view(HalfWay))
    assert seen == [10, 10]  # published only after the copies
    assert ring.written == 13


def test_a_waiting_reader_wakes_at_the_write():
    ring = RingBuffer(100)
    woken: list[bool] = []
    reader = threading.Thread(target=lambda: woken.append(ring.wait(5, timeout=FOREVER)))
    reader.start()
    ring.write(np.ones(4, np.float32))
    reader.join(0.05)
    assert reader.is_alive()  # four are not five
    ring.write(np.ones(1, np.float32))
    reader.join()
    assert woken == [True]


def test_close_wakes_a_waiting_reader_and_keeps_the_samples():
    ring = RingBuffer(100)
    ring.write(np.arange(3, dtype=np.float32))
    assert ring.closed is False
    threading.Timer(0.05, ring.close).start()
    assert ring.wait(4, timeout=FOREVER) is False
    assert ring.closed is True
    assert ring.wait(3) is True
    assert ring.read(0, 3).tolist() == [0, 1, 2]


def test_wait_gives_up_in_time():
    began = time.monotonic()
    assert RingBuffer(10).wait(1, timeout=0.05) is False
    assert time.monotonic() - began >= 0.05


def test_a_wait_without_a_timeout_has_no_end() -> None:
    ring = RingBuffer(10)
    asked: list[float] = []

    def acquire(timeout: float) -> bool:
        asked.append(timeout)
        ring.write(np.zeros(1, np.float32))
        return True

    ring._bell = SimpleNamespace(acquire=acquire, locked=lambda: False)  # type: ignore[assignment]
    assert ring.wait(1)
    assert asked == [-1.0]  # a lock's word for "for ever"


def test_reading_available_samples_does_not_wait():
    ring = RingBuffer(10)
    ring.write(np.ones(3, np.float32))
    assert ring.wait(3, timeout=FOREVER) is True
    assert ring.wait(3, timeout=FOREVER) is True  # the bell has been heard before
    assert ring.wait(0) is True


def test_wait_without_a_limit_lasts_until_there_is_news():
    ring = RingBuffer(10)
    threading.Timer(0.2, ring.write, [np.ones(1, np.float32)]).start()
    assert ring.wait(1) is True


def test_writer_and_closer_may_ring_at_the_same_moment(monkeypatch):
    ring = RingBuffer(10)

    def rung_already() -> None:
        raise RuntimeError("release unlocked lock")

    monkeypatch.setattr(ring, "_bell", SimpleNamespace(locked=lambda: True, release=rung_already))
    ring.write(np.ones(1, np.float32))
    ring.close()
    assert (ring.written, ring.closed) == (1, True)


def test_writing_takes_no_lock_when_nobody_waits(monkeypatch):
    ring = RingBuffer(100)
    ring.write(np.ones(1, np.float32))
    rung = SimpleNamespace(locked=lambda: False, release=lambda: pytest.fail("touched the lock"))
    monkeypatch.setattr(ring, "_bell", rung)
    ring.write(np.ones(1, np.float32))


@pytest.mark.parametrize(("capacity", "slack"), [(0, 5), (-1, 5), (5, -1)])
def test_a_ring_of_nothing_is_refused(capacity, slack):
    with pytest.raises(ValueError, match="cannot hold"):
        RingBuffer(capacity, slack)


def test_what_cannot_be_read_is_reported():
    ring = RingBuffer(3, slack=0)
    ring.write(np.arange(5, dtype=np.float32))
    with pytest.raises(IndexError, match=r"^samples 4…6 are not written yet \(the sound reaches 5\)$"):
        ring.read(4, 6)
    with pytest.raises(Overrun, match=r"^samples from 1 are gone \(the buffer begins at 2\)$"):
        ring.read(1, 5)
    assert ring.read(2, 5).tolist() == [2, 3, 4]


STRUCK = """
import signal
import numpy as np
from instrec_live.realtime.audio.ring_buffer import RingBuffer

class StruckError(Exception):
    pass

def strike(number, frame):
    raise StruckError

ring, struck = RingBuffer(10), 0
signal.signal(signal.SIGALRM, strike)
for i in range(300):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0002 + i * 1e-6)
        while True:
            ring.wait(1, timeout=0.0005)
    except StruckError:
        struck += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
ring.write(np.ones(1, np.float32))
print(struck, ring.wait(1, timeout=1))
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_a_signal_that_strikes_while_waiting_leaves_nothing_broken():
    # In a process of its own: the test runner's time limit uses the same timer and signal.
    done = subprocess.run([sys.executable, "-c", STRUCK], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("300 True\n", "", 0)
