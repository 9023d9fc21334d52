"""How far a device's clock is off, against this machine's monotonic one. It is measured, never corrected."""

from dataclasses import dataclass

import numpy as np

_BIN = 10.0  # s; of so many blocks at least one comes without delay
_MOST = 256  # points; when there are more, every two become one
_ENOUGH = 300.0  # s without a gap, before there is a slope to speak of


@dataclass(frozen=True, slots=True)
class Drift:
    """What a sound's clock has come to.

    Attributes:
        seconds: by how much it is ahead of the monotonic clock since the sound began; sound that was lost counts as
            behind.
        ppm: how much faster it runs, in millionths; None before five minutes without a gap.
    """

    seconds: float
    ppm: float | None


@dataclass(frozen=True, slots=True)
class _Point:
    wall: float  # s
    lead: float  # s, of the sound before the wall clock
    stretch: int  # of sound without a gap


class DriftMeter:
    """Compares how much sound has come with how much time has passed, in a memory that does not grow.

    Blocks come late by chance, never early: of every ten seconds the block that is furthest ahead counts. The slope is
    the median of those between all pairs of such points (Theil and Sen), which a few odd ones do not move.
    """

    def __init__(self) -> None:
        self._first: _Point | None = None  # of the first ten seconds
        self._newest: _Point | None = None  # of the ten seconds that now pass
        self._before: _Point | None = None  # of those before
        self._began = 0.0  # s, when these ten seconds began
        self._points: list[_Point] = []
        self._span = _BIN  # s that a point stands for

    def note(self, sound: float, wall: float, stretch: int = 0) -> None:
        """`sound` seconds have come at `wall` (monotonic, s); `stretch` is another number after every gap."""
        point, newest = _Point(wall, sound - wall, stretch), self._newest
        if newest is not None and newest.stretch == stretch and wall - self._began < _BIN:
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
        """What it comes to so far; None in the first ten seconds. From any thread."""
        first, newest = self._first, self._before
        if first is None or newest is None:
            return None
        return Drift(newest.lead - first.lead, _slope(list(self._points)))

    def _keep(self, point: _Point) -> None:
        last = self._points[-1] if self._points else None
        if last is None or last.stretch != point.stretch or point.wall - last.wall >= self._span:
            self._points.append(point)
        if len(self._points) > _MOST:
            fewer = _halved(self._points)
            if len(fewer) < _MOST * 3 // 4:  # else most of them stand alone between gaps, and the oldest must go
                self._span *= 2
            self._points = fewer[-_MOST // 2 :]


def _halved(points: list[_Point]) -> list[_Point]:
    """Every second point, of each stretch."""
    kept: list[_Point] = []
    odd = False
    for point in points:
        odd = not (odd and kept[-1].stretch == point.stretch)
        if odd:
            kept.append(point)
    return kept


def _slope(points: list[_Point]) -> float | None:
    """Millionths by which the lead grows, None if no stretch is long enough."""
    wall, lead, stretch = (np.array([getattr(p, name) for p in points]) for name in ("wall", "lead", "stretch"))
    earlier, later = np.triu_indices(len(points), 1)
    pairs = stretch[earlier] == stretch[later]
    earlier, later = earlier[pairs], later[pairs]
    apart = wall[later] - wall[earlier]
    if not len(apart) or apart.max() < _ENOUGH:
        return None
    return float(np.median((lead[later] - lead[earlier]) / apart)) * 1e6
