"""From a source to hops of 32 kHz mono: the steps that live and offline work share, and the capture thread."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from instrec_live.models.arrays import FloatArray
from instrec_live.models.conditioning import Downmix, channel_index
from instrec_live.models.errors import InputFileError, InstrecError, UsageError
from instrec_live.models.logmel import HOP, SAMPLE_RATE, WINDOW_SECONDS
from instrec_live.realtime.audio import Source
from instrec_live.realtime.audio.playback_clock import Clock
from instrec_live.realtime.audio.resampler import Resampler
from instrec_live.realtime.audio.ring_buffer import Overrun, RingBuffer
from instrec_live.realtime.audio.url import ConnectionLost

log = logging.getLogger(__name__)

_WINDOW = round(WINDOW_SECONDS * SAMPLE_RATE)
_POLL = 0.1  # s between looks at the clock, which may be paused or resumed meanwhile
_BIN = 10.0  # s of the drift's points: in this time at least one block comes without delay
_MOST = 256  # points; when there are more, every second one is dropped
_ENOUGH = 300.0  # s without a gap before a slope is given


class Gaps:
    """The samples at which sound was lost. `note` may be called from any thread, `within` from one.

    Attributes:
        count: how many gaps there have been.
    """

    def __init__(self) -> None:
        self.count = 0
        self._at: deque[int] = deque()

    def note(self, index: int) -> None:
        """Sound is missing before sample `index`."""
        self._at.append(index)
        self.count += 1

    def within(self, start: int, stop: int) -> bool:
        """Whether there is a gap inside the samples [start, stop). Those before `start` are forgotten."""
        while self._at and self._at[0] <= start:
            self._at.popleft()
        return any(start < index < stop for index in self._at.copy())


@dataclass(frozen=True, slots=True)
class Drift:
    """How far a device's sample clock is off, against this machine's monotonic clock. It is never corrected.

    Attributes:
        seconds: by how much it is ahead since the sound began; lost sound counts as behind.
        ppm: how much faster it runs, in millionths; None before five minutes without a gap.
    """

    seconds: float
    ppm: float | None


@dataclass(frozen=True, slots=True)
class _Point:
    wall: float  # s
    lead: float  # s by which the sound is ahead of the wall clock
    segment: int  # number of the segment without a gap


class DriftMeter:
    """Compares how much sound has come with how much time has passed, in bounded memory.

    Blocks come late by chance, never early: of every ten seconds the block that is furthest ahead counts. The slope is
    the median of the slopes between all pairs of such points (Theil-Sen), which outliers do not move.
    """

    def __init__(self) -> None:
        self._first: _Point | None = None  # of the first ten seconds
        self._newest: _Point | None = None  # of the current ten seconds
        self._before: _Point | None = None  # of the ten seconds before
        self._began = 0.0  # s, when the current ten seconds began
        self._points: list[_Point] = []
        self._span = _BIN  # s that a point covers

    def note(self, sound: float, wall: float, segment: int = 0) -> None:
        """`sound` seconds have come by `wall` (monotonic, s); `segment` changes after every gap."""
        point, newest = _Point(wall, sound - wall, segment), self._newest
        if newest is not None and newest.segment == segment and wall - self._began < _BIN:
            if point.lead > newest.lead:
                self._newest = point
            return
        if newest is not None:
            self._first = self._first or newest
            self._before = newest
            self._keep(newest)
        self._newest, self._began = point, wall

    @property
    def drift(self) -> Drift | None:
        """The drift so far; None in the first ten seconds. From any thread."""
        first, newest = self._first, self._before
        if first is None or newest is None:
            return None
        return Drift(newest.lead - first.lead, _slope(list(self._points)))

    def _keep(self, point: _Point) -> None:
        last = self._points[-1] if self._points else None
        if last is None or last.segment != point.segment or point.wall - last.wall >= self._span:
            self._points.append(point)
        if len(self._points) > _MOST:
            fewer = _halved(self._points)
            if len(fewer) < _MOST * 3 // 4:  # otherwise most points are alone between gaps: only the oldest can go
                self._span *= 2
            self._points = fewer[-_MOST // 2 :]


def _halved(points: list[_Point]) -> list[_Point]:
    """Every second point of each segment."""
    kept: list[_Point] = []
    odd = False
    for point in points:
        odd = not (odd and kept[-1].segment == point.segment)
        if odd:
            kept.append(point)
    return kept


def _slope(points: list[_Point]) -> float | None:
    """Growth of the lead in millionths; None if no segment is long enough."""
    wall, lead, segment = (np.array([getattr(p, name) for p in points]) for name in ("wall", "lead", "segment"))
    earlier, later = np.triu_indices(len(points), 1)
    pairs = segment[earlier] == segment[later]
    earlier, later = earlier[pairs], later[pairs]
    apart = wall[later] - wall[earlier]
    if not len(apart) or apart.max() < _ENOUGH:
        return None
    return float(np.median((lead[later] - lead[earlier]) / apart)) * 1e6


def check_channel(source: Source, channel: str | int | None) -> None:
    """Make sure that a source has the channel that is to count.

    Raises:
        UsageError: it has not.
    """
    try:
        channel_index(channel, source.channels)
    except ValueError:
        raise UsageError(f"{source.label} has {source.channels} channels: there is no channel {channel}") from None


class MonoReader:
    """A source's sound as 32 kHz mono blocks.

    Args:
        source: where the sound comes from.
        limit: seconds after which to stop, or None.
        channel: which channel counts, see `conditioning.Downmix`; None: their mean unless they cancel each other out.
        say: called with one sentence when the channels would cancel each other out in the mean; None: it is logged.

    Attributes:
        seconds: of sound read so far.
        gaps: where the source lost sound, in samples at 32 kHz.
    """

    def __init__(
        self,
        source: Source,
        limit: float | None = None,
        channel: str | int | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._source, self._channel = source, channel
        self._say = say or (lambda what: log.warning("%s: %s", source.label, what))
        self._frames_left = None if limit is None else max(1, round(limit * source.rate))
        self.seconds = 0.0
        self.gaps = Gaps()

    def __iter__(self) -> Iterator[FloatArray]:
        """float32 [k] blocks until the sound ends, its limit is reached, or the source is closed.

        Raises:
            InstrecError: of the source; that of a file after all sound before it.
            UsageError: it has no such channel, as a radio that comes back may not.
        """
        check_channel(self._source, self._channel)
        resampler = Resampler(self._source.rate)
        downmix = Downmix(self._source.channels, self._source.rate, self._channel, self._say)
        frames = 0
        while self._frames_left != 0:
            lost = self._source.xruns
            try:
                block = self._source.read()
            except InputFileError as error:
                if not isinstance(error, ConnectionLost):
                    yield resampler.flush()
                raise
            if block is None:
                break
            if frames and self._source.xruns > lost:
                self.gaps.note(round(frames * SAMPLE_RATE / self._source.rate))
            if self._frames_left is not None:
                block = block[: self._frames_left]
                self._frames_left -= len(block)
            frames += len(block)
            self.seconds = frames / self._source.rate
            yield resampler.push(downmix(block))
        yield resampler.flush()


class Capture:
    """A thread that reads sound into a ring buffer, as fast as it arrives or at the pace of its clock.

    The thread alone touches the reader and writes into the ring.

    Args:
        reader: the sound.
        ring: where it goes; closed when the sound ends or fails.
        clock: paces sound that could come too fast; None for a source that keeps its own time.
        start: the clock's second at which the sound begins.

    Attributes:
        error: what ended the sound early.
        gaps: those of the reader.
        drift: of a source that keeps its own time.
    """

    def __init__(self, reader: MonoReader, ring: RingBuffer, clock: Clock | None, start: float = 0.0) -> None:
        self._reader, self._ring, self._clock, self._start = reader, ring, clock, start
        self._stop = threading.Event()
        self._newest = (0.0, time.monotonic())  # seconds of sound read, and when
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self.error: BaseException | None = None
        self.gaps, self.drift = reader.gaps, DriftMeter()

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
    def has_sound(self) -> bool:
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
            for block in self._reader:
                if not self._due(self._clock.lead if self._clock else 0.0):
                    return
                self._newest = (self._reader.seconds, time.monotonic())
                if self._clock is None:
                    self.drift.note(*self._newest, self.gaps.count)
                self._ring.write(block)
            self._due()  # a played file is played to its end
        except BaseException as error:  # re-raised where the stream is iterated
            if isinstance(error, ConnectionLost) and error.since is not None:
                seconds, when = self._newest  # a decoder gives the end of the sound once it knows that no more comes
                self._newest = seconds, min(when, error.since)
            self.error = error
        finally:
            self._ring.close()

    def _due(self, lead: float = 0.0) -> bool:
        """Wait until the sound read so far is due; False if the capture was stopped meanwhile."""
        while self._clock is not None and not self._stop.is_set():
            left = self._clock.until(self._start + self._reader.seconds - lead)
            if left <= 0.0:
                return True
            self._stop.wait(min(left, _POLL))
        return not self._stop.is_set()


def split_hops(blocks: Iterable[FloatArray], hop: int, stopped: Callable[[], bool]) -> Iterator[FloatArray]:
    """Splits sound into hops for offline processing: float32 [hop], and the rest at the end, before an error, or once
    `stopped`."""
    pending: list[FloatArray] = []
    waiting = done = 0  # samples
    fault: InstrecError | None = None
    try:
        for block in blocks:
            pending.append(block)
            waiting += len(block)
            if waiting >= hop:
                joined = np.concatenate(pending)
                whole = waiting // hop * hop
                yield from np.split(joined[:whole], whole // hop)
                pending, waiting, done = [joined[whole:]], waiting - whole, done + whole
            if stopped():
                break
    except InstrecError as error:
        fault = error
    rest = final_hop(np.concatenate(pending) if pending else np.empty(0, np.float32), done)
    if len(rest):
        yield rest
    if fault is not None:
        raise fault


def final_hop(rest: FloatArray, before: int) -> FloatArray:
    """The whole 10 ms frames of the rest after `before` samples; sound shorter than one frame is padded to one."""
    if before == 0 and 0 < len(rest) < HOP:
        return np.pad(rest, (0, HOP - len(rest)))
    return rest[: len(rest) // HOP * HOP]


def batched(hops: Iterator[FloatArray], most: int) -> Iterator[list[FloatArray]]:
    """Hops in lists of `most`; those before an error are handed on before the error is raised."""
    batch: list[FloatArray] = []
    try:
        for hop in hops:
            batch.append(hop)
            if len(batch) == most:
                yield batch
                batch = []
    except InstrecError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


class HopReader:
    """Reads a capture's ring hop by hop: up to the newest whole hop each time one is there, and the rest at the end.

    One thread iterates it, once; `finish` and `stop` may be called from any.

    Args:
        capture: not started yet.
        ring: the one that it writes into.
        hop: samples.
        first_hop: hop -> samples of the first hop, called when sound begins to come; None: a hop like all others.

    Attributes:
        capture: that one.
        position: samples read so far.
        overruns: times that samples were overwritten before they were read.
    """

    def __init__(
        self, capture: Capture, ring: RingBuffer, hop: int, first_hop: Callable[[int], int] | None = None
    ) -> None:
        self.capture = capture
        self._ring, self._hop, self._first_hop = ring, hop, first_hop
        self._stopped = False
        self.position = self.overruns = 0

    def finish(self) -> None:
        """Stop the capture: the iteration ends with what it has captured."""
        self.capture.stop()
        self._ring.close()

    def stop(self) -> None:
        """Stop the capture and end the iteration."""
        self._stopped = True
        self.finish()

    def age(self, now: float | None = None) -> float:
        """Wall-clock seconds since the newest sound read was captured; `now` as in `Capture.age`."""
        return self.capture.age(self.position, now)

    @property
    def gap(self) -> bool:
        """Whether sound is missing in the last ten seconds read."""
        return self.capture.gaps.within(self.position - _WINDOW, self.position)

    def __iter__(self) -> Iterator[tuple[FloatArray, int]]:
        """Samples, float32 [m], and the hops in them that were skipped, until the sound ends or fails."""
        ring, due = self._ring, self._hop
        if self._first_hop is not None and ring.wait(1):
            due = self._first_hop(self._hop)
        while not self._stopped:
            if ring.wait(self.position + due):
                skipped = (ring.written - self.position - due) // self._hop
                begin, self.position = self.position, self.position + due + skipped * self._hop
                due = self._hop
                yield self._between(begin, self.position), skipped
                continue
            fault = self.capture.error
            ends = fault is None or (isinstance(fault, InputFileError) and not isinstance(fault, ConnectionLost))
            if self._stopped or not ends:
                return  # a lost device may return, and its sound then starts again
            rest = final_hop(self._between(self.position, ring.written), self.position)
            self.position += len(rest)
            if len(rest):
                yield rest, 0
            return

    def _between(self, start: int, stop: int) -> FloatArray:
        """Samples [start, stop), float32; zeros where a long stall lost them, so that the clock stays true."""
        ring, oldest = self._ring, start
        while True:
            try:
                sound = ring.read(oldest, stop)
                break
            except Overrun:  # again and again where the writer catches up after the process was stopped
                oldest = min(stop, max(oldest, ring.written - ring.capacity + SAMPLE_RATE))
        if oldest == start:
            return sound
        self.capture.gaps.note(oldest - 1)
        self.overruns += 1
        log.warning("%.1f s of sound were lost: inference was too late to read them", (oldest - start) / SAMPLE_RATE)
        return np.concatenate([np.zeros(oldest - start, np.float32), sound])
