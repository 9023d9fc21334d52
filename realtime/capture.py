"""From a source to 32 kHz mono: the steps that every pace shares, and the thread that takes them live."""

import threading
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.realtime.drift import DriftMeter
from instrec_live.realtime.gaps import Gaps
from instrec_live.realtime.playing.clock import Clock
from instrec_live.realtime.resampler import Resampler
from instrec_live.realtime.ring_buffer import RingBuffer
from instrec_live.realtime.sources import Source

FloatArray = NDArray[np.float32]

_GLANCE = 0.1  # s between looks at the clock, for it may be held, or let go, meanwhile


class Intake:
    """A source's sound as 32 kHz mono blocks.

    Args:
        source: where the sound comes from.
        limit: seconds after which to stop, or None.

    Attributes:
        seconds: of sound read so far.
        gaps: where the source has lost some, in samples at 32 kHz.
    """

    def __init__(self, source: Source, limit: float | None = None) -> None:
        self._source = source
        self._frames_left = None if limit is None else max(1, round(limit * source.rate))
        self.seconds = 0.0
        self.gaps = Gaps()

    def __iter__(self) -> Iterator[FloatArray]:
        """float32 [k] blocks until the sound ends, its limit is reached, or the source is closed."""
        resampler = Resampler(self._source.rate)
        frames = 0
        while self._frames_left != 0:
            lost = self._source.xruns
            if (block := self._source.read()) is None:
                break
            if frames and self._source.xruns > lost:
                self.gaps.note(round(frames * SAMPLE_RATE / self._source.rate))
            if self._frames_left is not None:
                block = block[: self._frames_left]
                self._frames_left -= len(block)
            frames += len(block)
            self.seconds = frames / self._source.rate
            yield resampler.push(block)
        yield resampler.flush()


class Capture:
    """A thread that brings an intake's sound into a ring buffer, as fast as it comes or as its clock says.

    The thread alone touches the intake and writes into the ring.

    Args:
        intake: the sound.
        ring: where it goes; closed when the sound ends or fails.
        clock: holds back sound that could come too fast; None for a source that keeps its own time.
        start: the clock's second at which the sound begins.

    Attributes:
        error: what ended the sound before its time.
        gaps: the intake's.
        drift: of a source that keeps its own time.
    """

    def __init__(self, intake: Intake, ring: RingBuffer, clock: Clock | None, start: float = 0.0) -> None:
        self._intake, self._ring, self._clock, self._start = intake, ring, clock, start
        self._stop = threading.Event()
        self._newest = (0.0, time.monotonic())  # seconds of sound read, and when
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self.error: BaseException | None = None
        self.gaps, self.drift = intake.gaps, DriftMeter()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end; does not wait for it. From any thread."""
        self._stop.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the thread's end, for at most `timeout` seconds: its source may be stuck in a driver."""
        if self._thread.is_alive():
            self._thread.join(timeout)

    @property
    def heard_any(self) -> bool:
        """Whether the source has given any sound."""
        return self._newest[0] > 0.0

    def age(self, index: int, now: float | None = None) -> float:
        """Wall-clock seconds since the sound up to sample `index` (at 32 kHz) was captured.

        `now`: of the monotonic clock, s; None for now.
        """
        seconds, when = self._newest
        speed = self._clock.speed if self._clock else 1.0
        now = time.monotonic() if now is None else now
        return max(0.0, now - when + (seconds - index / SAMPLE_RATE) / speed)

    def _run(self) -> None:
        try:
            for block in self._intake:
                if not self._due(self._clock.lead if self._clock else 0.0):
                    return
                self._newest = (self._intake.seconds, time.monotonic())
                if self._clock is None:
                    self.drift.note(*self._newest, self.gaps.count)
                self._ring.write(block)
            self._due()  # what is played is played to its end
        except BaseException as error:  # re-raised where the stream is iterated
            self.error = error
        finally:
            self._ring.close()

    def _due(self, lead: float = 0.0) -> bool:
        """Wait until the sound read so far is due; False if it never will be, because this has been stopped."""
        while self._clock is not None and not self._stop.is_set():
            left = self._clock.until(self._start + self._intake.seconds - lead)
            if left <= 0.0:
                return True
            self._stop.wait(min(left, _GLANCE))
        return not self._stop.is_set()
