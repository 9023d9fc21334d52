"""What a picture of a run needs, in bounded memory. It loads no matplotlib."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.segments import Segment
from instrec_live.realtime.outputs.sink import SegmentTracker, goes_on, hop_began
from instrec_live.realtime.stream.update import State, Update

CELLS = 4096  # of time; more than a picture has pixels

MOST_EVENTS = 2000  # segments that are kept one by one, and so many labels

_NEAR = 1e-6  # of a cell: what rounding may do to a time


class History:
    """A grid of time cells by instruments whose resolution is halved when the run no longer fits.

    A cell holds the highest probability of its time, and whether the instrument was active in any of it. Sound that is
    repeated after a seek backwards falls into the same cells.

    Attributes:
        instruments: their names; below, n is their number.
        origin: start of the first cell, s of the source's clock.
        cell: its length, s: the hop times a power of two.
        segments: the first 2000.
        entries: onsets of each instrument, int [n].
        highest: the highest probability of each, float32 [n].
        labels: (time, text), the first 2000.
        heard: seconds of sound; repeated ones are counted twice.
    """

    def __init__(
        self, hop: float, instruments: Sequence[str] = INSTRUMENTS, head: Mapping[str, Any] | None = None
    ) -> None:
        self.origin, self.cell = 0.0, hop
        self.instruments = tuple(instruments)
        self.segments: list[Segment] = []
        self.entries = np.zeros(len(self.instruments), np.int64)
        self.highest = np.zeros(len(self.instruments), np.float32)
        self.labels: list[tuple[float, str]] = []
        self.heard = 0.0
        self._hop, self._time = hop, -math.inf
        self._open = SegmentTracker(head or {})
        self._cells = 0
        self._shades = np.zeros((CELLS, len(self.instruments)), np.uint8)  # 0: no sound; 1…255: probability 0…1
        self._active = np.zeros((CELLS, len(self.instruments)), np.bool_)

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Float32 [cells, n], NaN where there was no sound."""
        shades = self._shades[: self._cells].astype(np.float32)
        return np.where(shades > 0, (shades - 1) / 254, np.nan).astype(np.float32)

    @property
    def active(self) -> NDArray[np.bool_]:
        """Bool [cells, n]."""
        return self._active[: self._cells]

    @property
    def end(self) -> float:
        """Where the last cell ends, s."""
        return self.origin + self._cells * self.cell

    def write(self, update: Update) -> None:
        """Add an update, which covers the time since the one before, or its hop."""
        since = (
            self._time if goes_on(update, self._time) and math.isfinite(self._time) else hop_began(update, self._hop)
        )
        self._time = update.time
        self.heard += update.time - since
        self._keep(self._open.after(update))
        if update.state is State.DEVICE_LOST:  # there is no sound
            return
        sounds = np.array([name in update.active for name in self.instruments])
        first, last = self._reach(since, update.time)
        # As JSON lines have them, so that a report is the same picture.
        rows = [update.instruments.index(name) for name in self.instruments]
        probabilities = np.clip(np.round(update.probabilities[rows].astype(np.float64), 4), 0, 1)
        shade = (1 + np.rint(254 * probabilities)).astype(np.uint8)
        np.maximum(self._shades[first:last], shade, out=self._shades[first:last])
        self._active[first:last] |= sounds
        self.highest = np.maximum(self.highest, probabilities.astype(np.float32))

    def label(self, time: float, text: str) -> None:
        if len(self.labels) < MOST_EVENTS:
            self.labels.append((time, text))

    def finish(self) -> None:
        """End the open segments."""
        self._keep(self._open.rest())

    def _keep(self, ended: list[Segment]) -> None:
        for each in ended:
            self.entries[self.instruments.index(each.name)] += 1
        self.segments += ended[: MOST_EVENTS - len(self.segments)]

    def _reach(self, since: float, time: float) -> tuple[int, int]:
        """The cells [first, last) of a time, once the grid has room for it."""
        if self._cells == 0:
            self.origin = since
        low, high = min(since, self.origin), max(time, self.end)
        while (high - low) / self.cell > CELLS - 1:
            self._halve()
        before = math.ceil((self.origin - low) / self.cell - _NEAR)
        if before > 0:
            self._shift(before)
        first = max(0, math.floor((since - self.origin) / self.cell + _NEAR))
        last = max(first + 1, math.ceil((time - self.origin) / self.cell - _NEAR))
        self._cells = max(self._cells, last)
        return first, last

    def _halve(self) -> None:
        """Halve the resolution."""
        for grid in (self._shades, self._active):
            grid[: CELLS // 2] = grid.reshape(CELLS // 2, 2, -1).max(axis=1)
            grid[CELLS // 2 :] = 0
        self._cells, self.cell = -(-self._cells // 2), 2 * self.cell

    def _shift(self, cells: int) -> None:
        """Insert cells before the first."""
        for grid in (self._shades, self._active):
            grid[cells:] = grid[: CELLS - cells].copy()
            grid[:cells] = 0
        self._cells, self.origin = self._cells + cells, self.origin - cells * self.cell
