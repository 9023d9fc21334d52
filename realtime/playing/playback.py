"""A file's transport: what a listener may do to it while it plays."""

import math
from collections.abc import Callable

from instrec_live.models.errors import UsageError
from instrec_live.realtime.playing.clock import Clock
from instrec_live.realtime.sources import FileSource

MIN_SPEED, MAX_SPEED = 0.25, 4.0


def checked_speed(speed: float) -> float:
    """The speed itself.

    Raises:
        UsageError: it is not within 0.25…4.
    """
    if not MIN_SPEED <= speed <= MAX_SPEED:  # also refuses NaN
        raise UsageError(f"the speed must be from {MIN_SPEED:g} to {MAX_SPEED:g}, not {speed:g}")
    return speed


class Playback:
    """The transport of a file, see `transport.Transport`. It has no thread; the clock and `jump` are safe in any.

    Args:
        clock: paces the file.
        source: the file; it alone knows where it ends.
        jump: goes on at another second of it.
    """

    def __init__(self, clock: Clock, source: FileSource, jump: Callable[[float], None]) -> None:
        self._clock, self._source, self._jump = clock, source, jump

    @property
    def paused(self) -> bool:
        return self._clock.paused

    @property
    def speed(self) -> float:
        return self._clock.speed

    @property
    def position(self) -> float:
        return min(self._clock.position, self._source.end or math.inf)

    @property
    def duration(self) -> float | None:
        return self._source.end

    @property
    def audible(self) -> bool:
        return self._clock.audible

    def pause(self, paused: bool) -> None:
        self._clock.pause(paused)

    def seek(self, time: float) -> None:
        """Go on from another second, held within the file; the next update says `jumped`.

        Raises:
            UsageError: the time is no number.
        """
        if math.isnan(time):
            raise UsageError("a file cannot be played from a second that is no number")
        self._jump(self._source.held(time))

    def go(self, speed: float) -> None:
        """Play at another speed.

        Raises:
            UsageError: it is not within 0.25…4.
        """
        self._clock.go(checked_speed(speed))
