"""The sound of a source in real time: hop by hop, through seeks, device switches and lost devices."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from time import monotonic

from instrec_live.models.arrays import FloatArray
from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.realtime.audio import FileSource, Source
from instrec_live.realtime.audio.devices import give_up_on_driver
from instrec_live.realtime.audio.playback_clock import Clock
from instrec_live.realtime.audio.ring_buffer import RingBuffer
from instrec_live.realtime.audio.url import ConnectionLost
from instrec_live.realtime.errors import AudioDeviceError
from instrec_live.realtime.stream.capture import Capture, Drift, HopReader, MonoReader
from instrec_live.realtime.stream.device_recovery import DeviceLost, Reconnector

_JOIN_WITHIN = 1.0  # s; a thread may be stuck in a driver
_REPORT_EVERY = 1.0  # s, while the device is lost

_RETURNING = (AudioDeviceError, ConnectionLost)  # a source lost this way may return

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hop:
    """The sound since the last hop, up to the newest whole one.

    Attributes:
        samples: float32 [m], mono at 32 kHz.
        skipped: hops inside it that get no update.
        restarts_at: second at which the sound restarts after a jump; None where it continues.
    """

    samples: FloatArray
    skipped: int
    restarts_at: float | None


class LiveCapture:
    """Captures a source in real time.

    One thread iterates `hops` and alone restarts the capture, each time with a new `HopReader`, resampler, ring and
    capture thread. `seek`, `change_to`, `stop` and `close` may be called from any thread: they post a request and stop
    the current capture. While the device is lost, a `Reconnector` runs in its own thread, from which it may call
    `change_to`.

    A source that replaces a lost one starts as much later as wall-clock time (monotonic) has passed since the last
    sound, so that seconds stay true however long the device was away. That time counts towards the limit too.

    Args:
        source: where the sound comes from.
        hop: samples.
        capacity: samples that may wait to be read.
        clock: paces sound that could come too fast; None for a source that keeps its own time.
        limit: seconds to listen, or None.
        start: the second at which the source begins.
        stay: wait for a seek at the end.
        reopen: one attempt to continue with the source once it is lost; None: losing it is the end.
        first_hop: hop -> samples of the first hop, called when sound begins to come; None: a hop like all others.
        channel: as of `MonoReader`.
    """

    def __init__(
        self,
        source: Source,
        hop: int,
        capacity: int,
        clock: Clock | None = None,
        limit: float | None = None,
        start: float = 0.0,
        stay: bool = False,
        reopen: Callable[[], None] | None = None,
        first_hop: Callable[[int], int] | None = None,
        channel: str | int | None = None,
    ) -> None:
        self._channel, self._noted = channel, set[str]()
        self.source = source
        self._hop, self._capacity, self._clock, self._limit = hop, capacity, clock, limit
        self._start, self._stay, self._reopen, self._first_hop = start, stay, reopen, first_hop
        self._lock = threading.Lock()  # between those who post requests and the thread that serves them
        self._wake = threading.Event()  # wakes the iterating thread, which waits at the end of the sound
        self._seek_to: float | None = None  # second to continue at
        self._released = self._changed = self._lost = False
        self._back_at: float | None = None  # when another source replaced a lost one, monotonic s
        self._same_device = False  # whether that one is the same device
        self._reconnector: Reconnector | None = None
        self._closed = threading.Event()
        self._error: Exception | None = None
        self._xruns = self._bad_samples = 0  # of earlier sources and readers
        self._drift: Drift | None = None  # of the same device, before it was lost
        self._reader = self._new_reader()

    @property
    def xruns(self) -> int:
        """Times that sound was lost, of all sources so far."""
        return self._xruns + self._reader.overruns + self.source.xruns

    @property
    def bad_samples(self) -> int:
        """Samples zeroed, of all sources so far."""
        return self._bad_samples + self.source.bad_samples

    @property
    def restart_pending(self) -> bool:
        """Whether a seek or a change of the source waits: the last hop is out of date."""
        return self._seek_to is not None or self._changed

    @property
    def lost(self) -> bool:
        """Whether the device delivers no sound, and its return is awaited."""
        return self._lost and not self._closed.is_set()

    def age(self) -> float:
        """Wall-clock seconds since the sound of the last hop was captured."""
        return self._reader.age()

    @property
    def gap(self) -> bool:
        """Whether sound is missing in the last ten seconds."""
        return self._reader.gap

    @property
    def drift(self) -> Drift | None:
        """Drift of the source's clock, once it is known; None for a source that our clock paces."""
        now, before = self._reader.capture.drift.drift, self._drift
        return before if now is None or (now.ppm is None and before is not None) else now

    def seek(self, time: float) -> None:
        """Continue at another second of the file. Returns at once."""
        assert self._clock is not None
        with self._lock:
            self._seek_to = time
            self._clock.set(time)
            self._stop_reader()

    def change_to(self, source: Source, begun: float | None = None) -> None:
        """Continue with another source and close the old one. Returns once that is closed.

        `begun`: when the sound of a lost device that is back began, monotonic s; None: another device, from now on.
        """
        with self._lock:
            if self._lost or self._back_at is not None:
                self._back_at, self._same_device = monotonic() if begun is None else begun, begun is not None
            self._lost, self._error = False, None
            old, self.source = self.source, source
            counted = old.xruns
            self._xruns, self._bad_samples = self._xruns + counted, self._bad_samples + old.bad_samples
            self._changed = True
            self._stop_reader()
        old.close()
        with self._lock:
            self._xruns += old.xruns - counted
        if self._closed.is_set():
            source.close()

    @contextmanager
    def released(self) -> Iterator[None]:
        """Close the source for a while, without ending the sound.

        An error inside ends it, unless the sound continues with another source.
        """
        self._released, source = True, self.source
        self._stop_reader()
        try:
            source.close()
            yield
        except Exception as error:
            if self.source is source and not self._lost:
                self._error = error
            raise
        finally:
            self._released = False
            self._wake.set()

    def stop(self) -> None:
        """End the hops with what has been captured."""
        with self._lock:
            self._closed.set()
            self._reader.finish()
            self._wake.set()

    def close(self) -> None:
        """End the hops soon and close the source."""
        self._closed.set()
        self._stop_reader()
        self.source.close()
        if self._clock is not None:
            self._clock.close()
        if (reconnector := self._reconnector) is not None:
            reconnector.stop()
            if not reconnector.join(_JOIN_WITHIN):
                give_up_on_driver(reconnector)
        self._reader.capture.join(_JOIN_WITHIN)

    def hops(self) -> Iterator[Hop | DeviceLost | None]:
        """The sound until it ends or is closed; None once when it has ended and a seek may follow.

        While the device is lost: a `DeviceLost` at once, then one per second.

        Raises:
            InstrecError: what the source raises, after the sound before it.
        """
        restarts_at: float | None = None
        self._start_reader()
        while True:
            for samples, skipped in self._reader:
                yield Hop(samples, skipped, restarts_at)
                restarts_at = None
            ended = False
            while not self.restart_pending and not self._closed.is_set():
                if self._released:
                    self._wake.wait()
                elif (error := self._error or self._reader.capture.error) is not None:
                    if not self._can_return(error):
                        raise error
                    yield from self._while_lost(error)
                    if not self.restart_pending:  # closed, or its time is over
                        return
                elif not self._stay:
                    return
                elif not ended:
                    ended = True
                    self._hold_clock()
                    yield None
                else:
                    self._wake.wait()
                self._wake.clear()
            if self._closed.is_set():
                return
            restarts_at = self._restart()

    def _can_return(self, error: BaseException) -> bool:
        """Whether to wait for the device: in vain for one that never gave any sound."""
        return self._reopen is not None and isinstance(error, _RETURNING) and self._reader.capture.has_sound

    def _while_lost(self, error: BaseException) -> Iterator[DeviceLost]:
        """Reports until the sound continues, its time is over, or it is closed."""
        assert self._reopen is not None
        with self._lock:
            self._error, self._lost = None, not self.restart_pending
        if not self.lost:
            return
        log.warning("%s; trying to reconnect", getattr(error, "message", error))
        reconnector = self._reconnector = Reconnector(self._reopen, lambda: self.lost, self._wake.set)
        reconnector.start()
        try:
            while self.lost and (left := self._left()) > 0.0:
                if reconnector.defect is not None:
                    raise reconnector.defect
                yield DeviceLost(self.age())
                self._wake.wait(min(_REPORT_EVERY, left))
                self._wake.clear()
        finally:
            reconnector.stop()
            self._lost = False

    def _left(self) -> float:
        """Seconds until the limit, those without sound included."""
        return inf if self._limit is None else self._limit - self._reader.position / SAMPLE_RATE - self.age()

    def _restart(self) -> float:
        """Serve the pending request; returns the second at which the sound restarts."""
        with self._lock:
            time, self._seek_to = self._seek_to, None
            changed, self._changed = self._changed, False
            back_at, self._back_at = self._back_at, None
            same_device, self._same_device = self._same_device, False
            self._xruns += self._reader.overruns
        # Two threads must not read one file; a microphone that is closed reads no more.
        self._reader.capture.join(_JOIN_WITHIN if changed else None)
        self._drift = self.drift if same_device else None
        if time is not None and isinstance(self.source, FileSource):
            self._start = self.source.seek(time)
        else:
            passed = self._reader.position / SAMPLE_RATE
            if back_at is not None:
                without = self._reader.age(back_at)
                log.warning("%s: reconnected after %.1f s without sound", self.source.label, without)
                passed += without
            self._start += passed
            self._limit = None if self._limit is None else max(0.0, self._limit - passed)
        self._reader = self._new_reader()
        self._start_reader()
        return self._start

    def _new_reader(self) -> HopReader:
        """A reader from here on, whose capture has not started yet."""
        ring = RingBuffer(self._capacity)
        capture = Capture(
            MonoReader(self.source, self._limit, self._channel, self._note), ring, self._clock, self._start
        )
        return HopReader(capture, ring, self._hop, self._first_hop)

    def _note(self, what: str) -> None:
        line = f"{self.source.label}: {what}"
        if line not in self._noted:  # not after every seek
            self._noted.add(line)
            log.warning("%s", line)

    def _start_reader(self) -> None:
        """Start the capture, unless it is out of date already."""
        with self._lock:
            if self.restart_pending or self._closed.is_set():
                self._stop_reader()
                return
            if self._clock is not None:
                self._clock.set(self._start)
                self._clock.run()
            self._reader.capture.start()

    def _hold_clock(self) -> None:
        """Stop the clock at the end of the sound."""
        with self._lock:
            if self._clock is not None and not self.restart_pending:
                self._clock.set(self._start + self._reader.position / SAMPLE_RATE)

    def _stop_reader(self) -> None:
        self._reader.stop()
        self._wake.set()
