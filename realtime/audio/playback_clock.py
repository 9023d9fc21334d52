"""Paces a file: the second that is played now, and the transport (pause, seek, speed)."""

import math
import threading
import time
from collections.abc import Callable
from typing import Protocol

from instrec_live.models.errors import UsageError
from instrec_live.realtime.audio.file import FileSource

MIN_SPEED, MAX_SPEED = 0.25, 4.0


class Clock(Protocol):
    """What paces a sound that could come faster. Every method may be called from any thread, and returns at once.

    Attributes:
        position: second of the sound that is played now.
        paused: whether the user holds it.
        speed: seconds of sound a second.
        audible: whether the sound is also played.
        lead: how long before its end is played a block may be read, s.
    """

    @property
    def position(self) -> float: ...
    @property
    def paused(self) -> bool: ...
    @property
    def speed(self) -> float: ...
    @property
    def audible(self) -> bool: ...
    @property
    def lead(self) -> float: ...
    def until(self, position: float) -> float:
        """Wall-clock seconds until `position` is played: 0 once it is, infinite while the clock is paused."""

    def set(self, position: float) -> None:
        """Move to another position and wait there until `run`."""

    def run(self) -> None:
        """Continue from the position that was set, unless the user has paused it."""

    def pause(self, paused: bool) -> None:
        """Pause or resume."""

    def go(self, speed: float) -> None:
        """Another speed from here on."""

    def close(self) -> None:
        """Release what drives the clock."""


class WallClock:
    """A clock without playback. See `Clock`; it stays at `position` until `run`.

    Args:
        patience: seconds that the sound may be behind. One that is further behind, because the machine slept, is not
            made up for: the clock continues from the position of the sound.
    """

    audible = False
    lead = 0.0

    def __init__(self, position: float = 0.0, speed: float = 1.0, patience: float = math.inf) -> None:
        self._lock = threading.Lock()
        self._position, self._since = position, time.monotonic()  # where it was, and when
        self._running = False
        self._paused, self._speed, self._patience = False, speed, patience

    @property
    def position(self) -> float:
        with self._lock:
            return self._now()

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def speed(self) -> float:
        return self._speed

    def until(self, position: float) -> float:
        with self._lock:
            left = position - self._now()
            if left < -self._patience * self._speed:
                self._position, self._since = position, time.monotonic()
            if left <= 0.0:
                return 0.0
            return left / self._speed if self._running and not self._paused else math.inf

    def set(self, position: float) -> None:
        with self._lock:
            self._position, self._running = position, False

    def run(self) -> None:
        with self._lock:
            self._note()
            self._running = True

    def pause(self, paused: bool) -> None:
        with self._lock:
            self._note()
            self._paused = paused

    def go(self, speed: float) -> None:
        with self._lock:
            self._note()
            self._speed = speed

    def close(self) -> None:
        """Nothing to release."""

    def _now(self) -> float:
        if not self._running or self._paused:
            return self._position
        return self._position + (time.monotonic() - self._since) * self._speed

    def _note(self) -> None:
        self._position, self._since = self._now(), time.monotonic()


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
        jump: continues at another second of it.
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
        """Continue at another second, clipped to the file; the next update has `jumped`.

        Raises:
            UsageError: the time is no number.
        """
        if math.isnan(time):
            raise UsageError("the second to play from must be a number")
        self._jump(self._source.held(time))

    def go(self, speed: float) -> None:
        """Play at another speed.

        Raises:
            UsageError: it is not within 0.25…4.
        """
        self._clock.go(checked_speed(speed))
