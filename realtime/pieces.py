"""A source's sound from one beginning on, hop by hop as it comes."""

import logging
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.logmel import SAMPLE_RATE, WINDOW_SECONDS
from instrec_live.realtime.capture import Capture
from instrec_live.realtime.hops import last_piece
from instrec_live.realtime.ring_buffer import Overrun, RingBuffer

FloatArray = NDArray[np.float32]

_WINDOW = round(WINDOW_SECONDS * SAMPLE_RATE)

log = logging.getLogger(__name__)


class Pieces:
    """What a capture brings into its ring, up to the newest whole hop each time one is there, and the rest at the end.

    One thread iterates it, once; `stop` comes from any.

    Args:
        capture: not begun yet.
        ring: that it writes into.
        hop: samples.
        first_hop: hop -> samples of the first piece, asked when sound begins to come; None: a hop, as all others.

    Attributes:
        capture: that one.
        heard: samples handed on.
        overruns: times that some were overwritten before anybody listened.
    """

    def __init__(
        self, capture: Capture, ring: RingBuffer, hop: int, first_hop: Callable[[int], int] | None = None
    ) -> None:
        self.capture = capture
        self._ring, self._hop, self._first_hop = ring, hop, first_hop
        self._stopped = False
        self.heard = self.overruns = 0

    def stop(self) -> None:
        """End the capture, and let who waits for a piece go: no other comes."""
        self._stopped = True
        self.capture.stop()
        self._ring.close()

    def age(self, now: float | None = None) -> float:
        """Wall-clock seconds since the newest sound handed on was captured; `now` as of `Capture.age`."""
        return self.capture.age(self.heard, now)

    @property
    def gap(self) -> bool:
        """Whether some sound is missing in the last ten seconds handed on."""
        return self.capture.gaps.within(self.heard - _WINDOW, self.heard)

    def __iter__(self) -> Iterator[tuple[FloatArray, int]]:
        """Samples, float32 [m], and the hops in them that were skipped, until the sound ends or fails."""
        ring, due = self._ring, self._hop
        if self._first_hop is not None and ring.wait(1):
            due = self._first_hop(self._hop)
        while not self._stopped:
            if ring.wait(self.heard + due):
                skipped = (ring.written - self.heard - due) // self._hop
                begin, self.heard = self.heard, self.heard + due + skipped * self._hop
                due = self._hop
                yield self._between(begin, self.heard), skipped
                continue
            if self._stopped or self.capture.error is not None:
                return
            rest = last_piece(self._between(self.heard, ring.written), self.heard)
            self.heard += len(rest)
            if len(rest):
                yield rest, 0
            return

    def _between(self, start: int, stop: int) -> FloatArray:
        """Samples [start, stop), float32; what a long stall lost is silence, so the clock stays true."""
        ring = self._ring
        try:
            return ring.read(start, stop)
        except Overrun:
            oldest = min(stop, ring.written - ring.capacity + SAMPLE_RATE)
            self.capture.gaps.note(oldest - 1)
            self.overruns += 1
            log.warning("%.1f s of sound were lost: nobody listened in time", (oldest - start) / SAMPLE_RATE)
            return np.concatenate([np.zeros(oldest - start, np.float32), ring.read(oldest, stop)])
