"""A whole recording in a few figures per instrument, summed up while its updates pass."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.outputs import Summary
from instrec_live.realtime.update import State, Update

DoubleArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tag:
    """One instrument in one recording.

    Attributes:
        instrument: its name.
        mean: of its probability over all of the sound that is no silence; None if all is silence.
        peak: its highest probability.
        active_seconds: how long it was shown as sounding.
        first_s, last_s: when it came in first and went out last, s from the start; None if it never did.
    """

    instrument: str
    mean: float | None
    peak: float | None
    active_seconds: float
    first_s: float | None
    last_s: float | None


@dataclass(frozen=True, slots=True)
class Record:
    """What there is to say of one file.

    Attributes:
        name: what the results call it.
        duration_s: how much of it was heard.
        silence_s: how much of that is below the gate.
        tags: one for each instrument, in their order; none if nothing was heard.
        error: what is wrong with it, or None. There may be tags all the same, of the sound before the fault.
    """

    name: str
    duration_s: float | None
    silence_s: float | None
    tags: tuple[Tag, ...]
    error: str | None = None


class Tally:
    """Takes updates, and at the end their summary, as the outputs do; then `record` has it all."""

    def __init__(self) -> None:
        self._time = self._silence = 0.0
        self._sum: DoubleArray = np.zeros(len(INSTRUMENTS))
        self._peak: DoubleArray = np.zeros(len(INSTRUMENTS))
        self._active: tuple[str, ...] = ()
        self._first: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._active_seconds: dict[str, float] = {}

    def write(self, update: Update) -> None:
        seconds, self._time = update.time - self._time, update.time
        if update.state is State.QUIET:
            self._silence += seconds
        else:
            p = update.probabilities.astype(np.float64)
            self._sum += seconds * p
            self._peak = np.maximum(self._peak, p)
        for name in update.active:
            self._first.setdefault(name, update.time)
        for name in set(self._active) - set(update.active):
            self._last[name] = update.time
        self._active = update.active

    def close(self, summary: Summary) -> None:
        self._last |= dict.fromkeys(self._active, self._time)
        self._active_seconds = summary.active_seconds

    def record(self, name: str, error: str | None) -> Record:
        """What was heard of the file called `name`, and what was wrong with it."""
        if not self._time:
            return Record(name, None, None, (), error)
        sound = self._time - self._silence
        tags = tuple(
            Tag(
                instrument,
                mean=round(float(total / sound), 4) if sound > 1e-6 else None,
                peak=round(float(peak), 4) if sound > 1e-6 else None,
                active_seconds=round(self._active_seconds.get(instrument, 0.0), 2),
                first_s=_rounded(self._first.get(instrument)),
                last_s=_rounded(self._last.get(instrument)),
            )
            for instrument, total, peak in zip(INSTRUMENTS, self._sum, self._peak, strict=True)
        )
        return Record(name, round(self._time, 2), round(self._silence, 2), tags, error)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)
