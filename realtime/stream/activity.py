"""Whether an instrument sounds: one probability, the thresholds it is compared with, and the result.

Screen, web page and overlay draw from this alone, so that number, bar, mark and colour agree. It loads no numpy.
"""

import math
from dataclasses import dataclass
from enum import Enum


class Activity(Enum):
    """Whether an instrument sounds, as the hysteresis of `smoothing.Hysteresis` sees it."""

    ON = "on"  # active, at its threshold or above
    HELD = "held"  # active, and kept so only by the hysteresis: below its threshold, not below its off-threshold
    LEAVING = "leaving"  # still active, but below its off-threshold: it is switched off unless it rises again
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Decision:
    """A probability, the thresholds it is compared with, and the result.

    Attributes:
        probability: smoothed.
        on_at: the threshold that switches the instrument on.
        off_below: the threshold below which it is switched off, at most `on_at`.
        activity: the result.
    """

    probability: float
    on_at: float
    off_below: float
    activity: Activity

    @classmethod
    def of(cls, probability: float, active: bool, on_at: float, off_below: float) -> "Decision":
        """The decision on a probability (NaN: there is none), given whether the instrument is active."""
        if not active:
            activity = Activity.OFF
        elif probability >= on_at:
            activity = Activity.ON
        else:
            activity = Activity.HELD if probability >= off_below else Activity.LEAVING
        return cls(probability, on_at, off_below, activity)

    @property
    def mark(self) -> float:
        """The threshold that applies now: `on_at`, or `off_below` if the instrument is held or leaving."""
        return self.off_below if self.activity in (Activity.HELD, Activity.LEAVING) else self.on_at

    @property
    def sounds(self) -> bool:
        """Whether it is shown as sounding: on or held."""
        return self.activity in (Activity.ON, Activity.HELD)


def off_threshold(on_at: float, off_margin: float) -> float:
    """The threshold that switches off, `off_margin` logits below the one that switches on."""
    return min(on_at, 1.0 / (1.0 + math.exp(off_margin - math.log(on_at / (1.0 - on_at)))))
