"""How the listening goes: level, lateness, and the one word that sums them up."""

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.update import State, Update

FLOOR_DB = -120.0
LATE_FRACTION = 0.10  # more than this of the last minute skipped: CATCHING UP
_MINUTE = 60.0
_FEWEST_WINDOWS = 10  # one slow first window is not yet a trend


def level_db(samples: NDArray[np.float32]) -> float:
    """RMS of a block in dBFS, floored at -120, without its offset: many a microphone has one, and nobody hears it."""
    return _decibel(float(np.std(samples, dtype=np.float64))) if len(samples) else FLOOR_DB


def peak_db(samples: NDArray[np.float32]) -> float:
    """Highest absolute sample of a block in dBFS, floored at -120."""
    return _decibel(float(np.abs(samples).max())) if len(samples) else FLOOR_DB


def _decibel(amplitude: float) -> float:
    return max(FLOOR_DB, 20.0 * float(np.log10(max(amplitude, 1e-12))))


class Lateness:
    """Windows skipped because inference was late: in all, and as a share of the last minute."""

    def __init__(self) -> None:
        self.skipped = 0
        self._recent: deque[tuple[float, int]] = deque()  # (time of an update, windows skipped before it)
        self._recent_skipped = 0

    def note(self, time: float, skipped: int) -> None:
        """One update was made at sample time `time` (s, ascending) after `skipped` windows were left out."""
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
    """The state word; what explains an empty screen comes before what explains a late one."""
    if quiet:
        return State.QUIET
    if skipped_fraction > LATE_FRACTION:
        return State.CATCHING_UP
    return State.OK if filled_s >= window_s else State.WARMING


def device_lost(time: float, models: Sequence[str], age_s: float) -> Update:
    """The update of a device that has given no sound for `age_s` since sample time `time`, s: nothing is heard."""
    nothing = np.zeros(len(INSTRUMENTS), np.float32)
    return Update(
        time=time,
        probabilities=nothing,
        active=(),
        by_model=dict.fromkeys(models, nothing),
        level_db=FLOOR_DB,
        peak_db=FLOOR_DB,
        state=State.DEVICE_LOST,
        filled_s=0.0,
        age_s=age_s,
        inference_s=0.0,
        skipped=0,
        xruns=0,
        bad_samples=0,
    )


def reason(update: Update) -> str:
    """Why the state is what it is, and what can be done, in at most 60 characters; "" where all is well."""
    if update.no_signal:
        return "only zeros come: is the microphone muted, or forbidden?"
    match update.state:
        case State.WARMING:
            return f"{update.filled_s:.0f} of 10 s heard: answers are still rough"
        case State.QUIET:
            return f"too soft to judge ({update.level_db:.0f} dB); is the gate too high?"
        case State.CATCHING_UP:
            return "too slow: try fewer --models, or a longer --hop"
        case State.DEVICE_LOST:
            return "no sound comes any more; it is looked for. Unplugged?"
        case _:
            return "sound was lost in the last 10 s: answers may be wrong" if update.gap else ""
