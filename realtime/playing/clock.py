"""Which second of a sound is heard now: as the wall clock goes, slower, faster, or standing still."""

import math
import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What paces a sound that could come faster. Every method may be called from any thread, and returns at once.

    Attributes:
        position: second of the sound that is heard now.
        paused: whether the user holds it.
        speed: seconds of sound a second.
        audible: whether the sound is also played.
        lead: how long before its end is heard a block may be taken in, s.
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
        """Wall-clock seconds until `position` is heard: 0 once it is, infinite while the clock stands."""

    def set(self, position: float) -> None:
        """Stand at another position until `run`."""

    def run(self) -> None:
        """Go on from where it was set, unless the user holds it."""

    def pause(self, paused: bool) -> None:
        """Hold it, or let it go on."""

    def go(self, speed: float) -> None:
        """Another speed from here on."""

    def close(self) -> None:
        """Let go of what makes it run."""


class WallClock:
    """A clock for what nobody hears. See `Clock`; it stands at `position` until `run`.

    Args:
        patience: seconds that the sound may be behind. One that is further behind, because the machine slept, is not
            hurried after: the clock goes on from where the sound is.
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
        """Nothing to let go of."""

    def _now(self) -> float:
        if not self._running or self._paused:
            return self._position
        return self._position + (time.monotonic() - self._since) * self._speed

    def _note(self) -> None:
        self._position, self._since = self._now(), time.monotonic()
