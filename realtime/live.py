"""A source's sound as it comes, hop by hop, which can be sent to another second or come from another source."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from time import monotonic

from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.realtime.capture import Capture, Intake
from instrec_live.realtime.devices import give_up_on_driver
from instrec_live.realtime.drift import Drift
from instrec_live.realtime.errors import AudioDeviceError
from instrec_live.realtime.pieces import Pieces
from instrec_live.realtime.playing.clock import Clock
from instrec_live.realtime.ring_buffer import RingBuffer
from instrec_live.realtime.search import Search
from instrec_live.realtime.sound import Lost, Sound
from instrec_live.realtime.sources import FileSource, Source

_JOIN_WITHIN = 1.0  # s; a thread may be stuck in a driver
_TELL_EVERY = 1.0  # s, while there is no sound

log = logging.getLogger(__name__)


class LiveSound:
    """The sound of a source in real time.

    One thread iterates `sounds`, and alone begins anew; each time with other `Pieces`, which have their own resampler,
    ring and thread. `seek`, `change_to` and `close` come from any thread: they only leave word and end the present
    pieces.
    While a source is lost, a `Search` has a thread of its own, in which `bring_back` may call `change_to`.

    A source that takes a lost one's place begins as much later as wall-clock time (of the monotonic clock) passed
    since the last sound: so the seconds stay true however long it was away. They count for the limit too.

    Args:
        source: where the sound comes from.
        hop: samples.
        kept: samples that may wait to be heard.
        clock: paces what could come too fast; None for a source that keeps its own time.
        limit: seconds to listen, or None.
        start: the second at which the source begins.
        stay: wait at the end for another jump.
        bring_back: one attempt to go on with the source, once it is lost; None: that is the end.
        first_hop: hop -> samples of the first piece, asked when sound begins to come; None: a hop, as all others.
    """

    def __init__(
        self,
        source: Source,
        hop: int,
        kept: int,
        clock: Clock | None = None,
        limit: float | None = None,
        start: float = 0.0,
        stay: bool = False,
        bring_back: Callable[[], None] | None = None,
        first_hop: Callable[[int], int] | None = None,
    ) -> None:
        self.source = source
        self._hop, self._kept, self._clock, self._limit = hop, kept, clock, limit
        self._start, self._stay, self._bring_back, self._first_hop = start, stay, bring_back, first_hop
        self._lock = threading.Lock()  # between those who leave word, and the thread that takes it
        self._word = threading.Event()  # there is something new for a thread that waits at the end
        self._jump: float | None = None  # second to go on from
        self._away = self._changed = self._lost = False
        self._again_at: float | None = None  # when another source took the place of a lost one, monotonic s
        self._returned = False  # whether that one is the same device
        self._search: Search | None = None
        self._closed = threading.Event()
        self._error: Exception | None = None
        self._xruns = self._bad_samples = 0  # of sources and pieces before these
        self._drift: Drift | None = None  # of the same device, before it was lost
        self._pieces = self._anew()

    @property
    def xruns(self) -> int:
        """Times that sound was lost, of all sources so far."""
        return self._xruns + self._pieces.overruns + self.source.xruns

    @property
    def bad_samples(self) -> int:
        """Samples zeroed, of all sources so far."""
        return self._bad_samples + self.source.bad_samples

    @property
    def jumping(self) -> bool:
        """Whether what has been handed on last is not wanted any more."""
        return self._jump is not None or self._changed

    @property
    def lost(self) -> bool:
        """Whether the source gives no sound any more, and somebody waits for it."""
        return self._lost and not self._closed.is_set()

    def age(self) -> float:
        """Wall-clock seconds since the newest sound handed on was captured."""
        return self._pieces.age()

    @property
    def gap(self) -> bool:
        """Whether some sound is missing in the last ten seconds handed on."""
        return self._pieces.gap

    @property
    def drift(self) -> Drift | None:
        """How far the source's clock is off, as far as that is known; None for a source that is paced by ours."""
        now, before = self._pieces.capture.drift.drift, self._drift
        return before if now is None or (now.ppm is None and before is not None) else now

    def seek(self, time: float) -> None:
        """Go on from another second of the file. Returns at once."""
        assert self._clock is not None
        with self._lock:
            self._jump = time
            self._clock.set(time)
            self._end_pieces()

    def change_to(self, source: Source, begun: float | None = None) -> None:
        """Go on with another source, and let go of the old one. Returns once that is closed.

        `begun`: of a lost one that is back, when its sound began, s of the monotonic clock; None: of another one, now.
        """
        with self._lock:
            if self._lost or self._again_at is not None:
                self._again_at, self._returned = monotonic() if begun is None else begun, begun is not None
            self._lost, self._error = False, None
            old, self.source = self.source, source
            counted = old.xruns
            self._xruns, self._bad_samples = self._xruns + counted, self._bad_samples + old.bad_samples
            self._changed = True
            self._end_pieces()
        old.close()
        with self._lock:
            self._xruns += old.xruns - counted
        if self._closed.is_set():
            source.close()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Let go of the source for a while: its end is not the end of the sound.

        An error inside is, unless the sound goes on with another source.
        """
        self._away, gone = True, self.source
        self._end_pieces()
        try:
            gone.close()
            yield
        except Exception as error:
            if self.source is gone and not self._lost:
                self._error = error
            raise
        finally:
            self._away = False
            self._word.set()

    def close(self) -> None:
        """End the sounds soon, and let go of the source."""
        self._closed.set()
        self._end_pieces()
        self.source.close()
        if self._clock is not None:
            self._clock.close()
        if (search := self._search) is not None:
            search.stop()
            if not search.join(_JOIN_WITHIN):
                give_up_on_driver(search)
        self._pieces.capture.join(_JOIN_WITHIN)

    def sounds(self) -> Iterator[Sound | Lost | None]:
        """Pieces of sound, until it ends or is closed; None when it has ended and may yet be sent elsewhere.

        While the source is lost and looked for, a `Lost` at once and then one a second.

        Raises:
            InstrecError: what the source raises, after the sound before it.
        """
        begins: float | None = None
        self._run()
        while True:
            for samples, skipped in self._pieces:
                yield Sound(samples, skipped, begins)
                begins = None
            ended = False
            while not self.jumping and not self._closed.is_set():
                if self._away:
                    self._word.wait()
                elif (error := self._error or self._pieces.capture.error) is not None:
                    if not self._can_return(error):
                        raise error
                    yield from self._until_found(error)
                    if not self.jumping:  # closed, or its time is over
                        return
                elif not self._stay:
                    return
                elif not ended:
                    ended = True
                    self._stand()
                    yield None
                else:
                    self._word.wait()
                self._word.clear()
            if self._closed.is_set():
                return
            begins = self._turn()

    def _can_return(self, error: BaseException) -> bool:
        """Whether to wait for the source: for one that never gave any sound that would be in vain."""
        return self._bring_back is not None and isinstance(error, AudioDeviceError) and self._pieces.capture.heard_any

    def _until_found(self, error: BaseException) -> Iterator[Lost]:
        """Word that the source is lost, until the sound goes on, its time is over or it is closed."""
        assert self._bring_back is not None
        with self._lock:
            self._error, self._lost = None, not self.jumping
        if not self.lost:
            return
        log.warning("%s; it is looked for until it is back", getattr(error, "message", error))
        search = self._search = Search(self._bring_back, lambda: self.lost, self._word.set)
        search.start()
        try:
            while self.lost and (left := self._left()) > 0.0:
                if search.defect is not None:
                    raise search.defect
                yield Lost(self.age())
                self._word.wait(min(_TELL_EVERY, left))
                self._word.clear()
        finally:
            search.stop()
            self._lost = False

    def _left(self) -> float:
        """Seconds until the limit, those without sound counted."""
        return inf if self._limit is None else self._limit - self._pieces.heard / SAMPLE_RATE - self.age()

    def _turn(self) -> float:
        """Begin where word says; returns that second."""
        with self._lock:
            time, self._jump = self._jump, None
            changed, self._changed = self._changed, False
            again_at, self._again_at = self._again_at, None
            returned, self._returned = self._returned, False
            self._xruns += self._pieces.overruns
        # Two threads must not read one file; a microphone that is closed reads no more.
        self._pieces.capture.join(_JOIN_WITHIN if changed else None)
        self._drift = self.drift if returned else None
        if time is not None and isinstance(self.source, FileSource):
            self._start = self.source.seek(time)
        else:
            passed = self._pieces.heard / SAMPLE_RATE
            if again_at is not None:
                silent = self._pieces.age(again_at)
                log.warning("%s: sound again, after %.1f s without", self.source.label, silent)
                passed += silent
            self._start += passed
            self._limit = None if self._limit is None else max(0.0, self._limit - passed)
        self._pieces = self._anew()
        self._run()
        return self._start

    def _anew(self) -> Pieces:
        """Those from here on, whose capture has not begun yet."""
        ring = RingBuffer(self._kept)
        capture = Capture(Intake(self.source, self._limit), ring, self._clock, self._start)
        return Pieces(capture, ring, self._hop, self._first_hop)

    def _run(self) -> None:
        """Let the capture begin, unless it is out of date already."""
        with self._lock:
            if self.jumping or self._closed.is_set():
                self._end_pieces()
                return
            if self._clock is not None:
                self._clock.set(self._start)
                self._clock.run()
            self._pieces.capture.start()

    def _stand(self) -> None:
        """Let the clock stand at the end."""
        with self._lock:
            if self._clock is not None and not self.jumping:
                self._clock.set(self._start + self._pieces.heard / SAMPLE_RATE)

    def _end_pieces(self) -> None:
        self._pieces.stop()
        self._word.set()
