"""Everything the screen shows at one moment, and how an update turns one picture into the next."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.tui.bar import decay
from instrec_live.realtime.update import StreamInfo, Update

SPAN = 60.0  # s that the sparklines and the skipped share look back
PEAK_FALL = 0.08  # probability a second
LEVEL_FALL = 8.0  # dB a second
EVENTS = 64  # entries and exits remembered

FloatArray = NDArray[np.float32]
NEVER = -np.inf


class Sorting(Enum):
    """The order of the rows."""

    FIXED = "fixed"
    SCORE = "score"
    RECENT = "recent"


@dataclass(frozen=True, slots=True)
class Event:
    """An instrument came in or stopped, at `time` (s)."""

    time: float
    name: str
    entered: bool


def _row(value: float) -> FloatArray:
    return np.full(len(INSTRUMENTS), value, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Picture:
    """A moment of a stream; immutable, so that a frozen display is just a picture kept.

    `times` (s, float64 [n]), `trail` (float32 [n, 20]) and `skips` (int64 [n]) are the last minute's updates,
    oldest first. `peaks` float32 [20] and `peak_db` are the peak holds. `entered` float64 [20] is when each
    instrument last came in, -inf for never.
    """

    info: StreamInfo
    update: Update | None = None
    times: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    trail: FloatArray = field(default_factory=lambda: np.empty((0, len(INSTRUMENTS)), np.float32))
    skips: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    peaks: FloatArray = field(default_factory=lambda: _row(0.0))
    peak_db: float = -120.0
    entered: NDArray[np.float64] = field(default_factory=lambda: np.full(len(INSTRUMENTS), NEVER))
    events: tuple[Event, ...] = ()
    ended: bool = False

    @property
    def probabilities(self) -> FloatArray:
        """float32 [20]; zeros before the first update."""
        return _row(0.0) if self.update is None else self.update.probabilities

    @property
    def active(self) -> frozenset[str]:
        """The instruments that sound now."""
        return frozenset() if self.update is None else frozenset(self.update.active)

    def opinions(self, name: str) -> list[tuple[float | None, float]]:
        """Each network's probability of an instrument, None if it gives no numbers, and its own threshold for it."""
        number = INSTRUMENTS.index(name)

        def opinion(model: str) -> float | None:
            if self.update is None:
                return 0.0
            return float(self.update.by_model[model][number]) if model in self.update.by_model else None

        return [(opinion(model), self.info.model_thresholds[model][name]) for model in self.info.models]

    def after(self, update: Update) -> "Picture":
        """The picture that `update` makes of this one."""
        passed = 0.0 if self.update is None else update.time - self.update.time
        values = np.nan_to_num(update.probabilities, nan=0.0).astype(np.float32)
        keep = self.times > update.time - SPAN + 1e-9
        names = set(update.active)
        changes = sorted(self.active ^ names)
        entered = self.entered.copy()
        entered[[INSTRUMENTS.index(name) for name in names - self.active]] = update.time
        events = tuple(Event(update.time, name, name in names) for name in changes)
        return replace(
            self,
            update=update,
            times=np.append(self.times[keep], update.time),
            trail=np.concatenate([self.trail[keep], values[None]]),
            skips=np.append(self.skips[keep], update.skipped),
            peaks=np.maximum(values, self.peaks - np.float32(PEAK_FALL * max(0.0, passed))),
            peak_db=decay(self.peak_db, update.peak_db, passed, LEVEL_FALL),
            entered=entered,
            events=(events[::-1] + self.events)[:EVENTS],
        )

    def without_peaks(self) -> "Picture":
        """The same with every peak hold let down to the present value."""
        peak_db = -120.0 if self.update is None else self.update.peak_db
        return replace(self, peaks=self.probabilities.copy(), peak_db=peak_db)

    def columns(self, width: int) -> FloatArray:
        """The last minute as float32 [20, width]: each column the highest of its part of the minute.

        Columns stand on a fixed grid of sample time, so that they wander left unchanged. A column
        between two updates repeats the one before; before the first update it is NaN.
        """
        result = np.full((width, len(INSTRUMENTS)), np.nan, np.float32)
        if width == 0 or len(self.times) == 0:
            return result.T
        # A hair is added, since k * hop may fall just short of the grid line that it means.
        cells = np.floor(self.times / (SPAN / width) + 1e-6).astype(np.int64)
        cells += width - 1 - cells[-1]
        seen, first = np.unique(np.maximum(cells, -1), return_index=True)
        highest = np.maximum.reduceat(self.trail, first, axis=0)
        held = np.searchsorted(seen, np.arange(width), side="right") - 1
        result[held >= 0] = highest[held[held >= 0]]
        return result.T

    def skipped_share(self) -> float:
        """The part (0…1) of the last minute's windows that were skipped."""
        if len(self.skips) < 2:
            return 0.0
        skipped, passed = float(self.skips[-1] - self.skips[0]), float(self.times[-1] - self.times[0])
        return min(1.0, skipped * self.info.hop / passed) if passed > 0 else 0.0

    def order(self, sorting: Sorting, previous: Sequence[str] = INSTRUMENTS) -> tuple[str, ...]:
        """The instruments from the top row down.

        By score, neighbours closer than a twentieth keep their `previous` order: rows should not dance.
        """
        index = {name: number for number, name in enumerate(INSTRUMENTS)}
        if sorting is Sorting.FIXED:
            return INSTRUMENTS
        if sorting is Sorting.SCORE:
            return tuple(sorted(previous, key=lambda name: -round(float(self.probabilities[index[name]]) * 20)))
        active = self.active
        return tuple(sorted(INSTRUMENTS, key=lambda name: (name not in active, -self.entered[index[name]])))
