"""Signal level, skipped windows, and the state word that summarises them."""

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.conditioning import FLOOR_DB as FLOOR_DB
from instrec_live.models.conditioning import decibel
from instrec_live.models.conditioning import level_db as level_db
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.stream.update import CaptureStats, State, Update

LATE_FRACTION = 0.10  # more than this of the last minute skipped: CATCHING UP
_MINUTE = 60.0
_FEWEST_WINDOWS = 10  # one slow first window is not yet a trend


def peak_db(samples: NDArray[np.float32]) -> float:
    """Highest absolute sample of a block in dBFS, at least -120."""
    return decibel(float(np.abs(samples).max())) if len(samples) else FLOOR_DB


class SkipCounter:
    """Windows skipped because inference was late: the total, and their share of the last minute.

    Args:
        skipped: the total to start from.
    """

    def __init__(self, skipped: int = 0) -> None:
        self.skipped = skipped
        self._recent: deque[tuple[float, int]] = deque()  # (time of an update, windows skipped before it)
        self._recent_skipped = 0

    def note(self, time: float, skipped: int) -> None:
        """An update was made at sample time `time` (s, ascending) after `skipped` windows were left out."""
        self.skipped += skipped
        self._recent.append((time, skipped))
        self._recent_skipped += skipped
        while self._recent[0][0] <= time - _MINUTE:
            self._recent_skipped -= self._recent.popleft()[1]

    @property
    def fraction(self) -> float:
        """Share of the last minute's windows that were skipped, 0…1."""
        due = len(self._recent) + self._recent_skipped
        return self._recent_skipped / max(due, _FEWEST_WINDOWS)


def state(quiet: bool, skipped_fraction: float, filled_s: float, window_s: float) -> State:
    """The state word; reasons for an empty screen come before reasons for a late one."""
    if quiet:
        return State.QUIET
    if skipped_fraction > LATE_FRACTION:
        return State.CATCHING_UP
    return State.OK if filled_s >= window_s else State.WARMING


def device_lost(
    time: float,
    models: Sequence[str],
    capture: CaptureStats,
    skipped: int = 0,
    instruments: tuple[str, ...] = INSTRUMENTS,
) -> Update:
    """The update of a device that has given no sound since sample time `time`, s."""
    nothing = np.zeros(len(instruments), np.float32)
    return Update(
        time=time,
        probabilities=nothing,
        active=(),
        by_model=dict.fromkeys(models, nothing),
        level_db=FLOOR_DB,
        peak_db=FLOOR_DB,
        state=State.DEVICE_LOST,
        filled_s=0.0,
        age_s=capture.age_s,
        inference_s=0.0,
        skipped=skipped,
        xruns=capture.xruns,
        bad_samples=capture.bad_samples,
        instruments=instruments,
        sound_s=0.0,
    )


def reason(update: Update) -> str:
    """Why the state is what it is, and what to do, in at most 60 characters; "" where all is well."""
    if update.no_signal:
        return "receiving only zeros: is the microphone muted or blocked?"
    match update.state:
        case State.WARMING:
            return f"{int(update.filled_s)} of 10 s of sound so far: results are still rough"
        case State.QUIET:
            return f"too quiet to judge ({update.level_db:.0f} dB); is --gate too high?"
        case State.CATCHING_UP:
            return "too slow: use fewer --models or a longer --hop"
        case State.DEVICE_LOST:
            return "no sound from the device; reconnecting. Is it unplugged?"
        case _:
            return "sound was lost in the last 10 s: results may be wrong" if update.gap else ""
