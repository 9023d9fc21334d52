"""From noisy logits to calm answers: smoothing, hysteresis and a silence gate, in seconds, never in hops."""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.calibration import logit, sigmoid

FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_TIMES = ("tau_up", "tau_down", "on_seconds", "off_seconds", "min_on_seconds", "min_off_seconds")
_EPSILON = 1e-6  # s; sums of hops must not miss a duration by a rounding


@dataclass(frozen=True, slots=True)
class Smoothing:
    """Everything that decides how fast and how steadily the display follows the networks.

    The defaults follow benchmarks/timing.py: timelines of real solos for speed, whole clips for calm.

    Attributes:
        short_seconds: length of the recent window, s; with less than 2, networks that do not hear in patches hear 2.
        long_weight: w of the fusion z = w * z_long + (1 - w) * z_short, 0 to 1.
        tau_up: time constant of rising logits, s.
        tau_down: time constant of falling logits, s.
        live_margin: how much surer than in a whole clip an instrument must be to be shown, logits: a few seconds
            know less, and a false name on the screen is worse than a late one.
        on_seconds: how long a probability must stay at its threshold or above to switch on, s.
        off_seconds: how long a logit must stay below its threshold's logit - off_margin to switch off, s.
        off_margin: depth of the hysteresis, logits.
        min_on_seconds: shortest time on, s.
        min_off_seconds: shortest time off between two times on, s.
        quiet_seconds: how long the level must stay below the gate to count as silence, s.
        quiet_logit: where logits fall to in silence.
    """

    short_seconds: float = 1.0
    long_weight: float = 0.1
    tau_up: float = 0.2
    tau_down: float = 0.2
    live_margin: float = 1.0
    on_seconds: float = 0.5
    off_seconds: float = 1.0
    off_margin: float = 1.6
    min_on_seconds: float = 1.0
    min_off_seconds: float = 1.0
    quiet_seconds: float = 1.0
    quiet_logit: float = -5.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not np.isfinite(value) or (value < 0 and field.name != "quiet_logit"):
                raise ValueError(f"smoothing: {field.name} must be a finite number of at least 0, not {value}")
        if self.long_weight > 1:
            raise ValueError(f"smoothing: long_weight must be at most 1, not {self.long_weight}")
        if not 1.0 <= self.short_seconds <= 10.0:
            raise ValueError(f"smoothing: short_seconds must be from 1 to 10, not {self.short_seconds}")

    def scaled(self, factor: float) -> "Smoothing":
        """All time constants and durations on and off times `factor`, at least 0; with 0, the raw networks.

        Windows, margins and what counts as silence stay as they are.

        Raises:
            ValueError: a factor that is negative or not finite.
        """
        if not 0.0 <= factor < np.inf:
            raise ValueError(f"smoothing: the factor must be a finite number of at least 0, not {factor}")
        return replace(self, **{name: factor * getattr(self, name) for name in _TIMES})


def live_thresholds(thresholds: NDArray[np.floating], smoothing: Smoothing) -> FloatArray:
    """Thresholds of whole clips -> those of a stream, float32, same shape: higher by the live margin."""
    return sigmoid(logit(thresholds) + smoothing.live_margin)


class LogitEma:
    """Exponential moving average of logits that rises and falls at different speeds.

    The first value is taken as it is.
    """

    def __init__(self, tau_up: float, tau_down: float) -> None:
        self._tau_up, self._tau_down = tau_up, tau_down
        self.value: DoubleArray | None = None

    def step(self, target: NDArray[np.floating], dt: float) -> DoubleArray:
        """Move towards `target` (any shape) for `dt` seconds; returns the new value, float64."""
        goal: DoubleArray = np.array(target, np.float64)
        if self.value is not None:
            gap = goal - self.value
            rising, falling = _alpha(dt, self._tau_up), _alpha(dt, self._tau_down)
            goal = self.value + np.where(gap > 0, rising, falling) * gap
        self.value = goal
        return goal


def _alpha(dt: float, tau: float) -> float:
    return 1.0 if tau <= 0 else float(-np.expm1(-dt / tau))


class Hysteresis:
    """Which instruments count as sounding, each by its own threshold.

    On: at the threshold or above for on_seconds. Off: below logit(threshold) - off_margin for off_seconds.
    Between the two nothing changes. An update speaks for the hop that it ends, so a hop longer than
    on_seconds switches at once.

    Args:
        thresholds: probabilities inside 0…1, [n].
    """

    def __init__(self, thresholds: NDArray[np.floating], smoothing: Smoothing) -> None:
        self._smoothing = smoothing
        self.use(thresholds)
        self.active: BoolArray = np.zeros(len(self._on_at), np.bool_)
        self._above = np.zeros(len(self._on_at))  # s at or above the threshold, without a break
        self._below = np.zeros(len(self._on_at))  # s below the lower edge, without a break
        self._held = np.full(len(self._on_at), np.inf)  # s since the last switch

    def use(self, thresholds: NDArray[np.floating]) -> None:
        """Other thresholds [n] from now on; who is on stays on until these have switched it off."""
        self._on_at = logit(thresholds).astype(np.float64)
        self._off_below = self._on_at - self._smoothing.off_margin

    def step(self, logits: DoubleArray, dt: float) -> BoolArray:
        """Take the smoothed logits [n] of the last `dt` seconds; returns who is on, bool [n], a copy."""
        s = self._smoothing
        self._above = np.where(logits >= self._on_at, self._above + dt, 0.0)
        self._below = np.where(logits < self._off_below, self._below + dt, 0.0)
        self._held += dt
        rise = ~self.active & _reached(self._above, s.on_seconds, dt) & _past(self._held, s.min_off_seconds)
        fall = self.active & _reached(self._below, s.off_seconds, dt) & _past(self._held, s.min_on_seconds)
        self._switch(rise | fall)
        return self.active.copy()

    def silence(self, dt: float) -> BoolArray:
        """Switch everything off at once, for `dt` seconds of silence: it has no instruments. Returns bool [n], all
        False."""
        self._above[:] = 0.0
        self._held += dt
        self._switch(self.active.copy())
        return self.active.copy()

    def _switch(self, which: BoolArray) -> None:
        self.active = self.active ^ which
        self._held[which] = 0.0


def _reached(seconds: DoubleArray, needed: float, dt: float) -> BoolArray:
    return np.asarray(seconds >= max(needed, dt) - _EPSILON)


def _past(seconds: DoubleArray, needed: float) -> BoolArray:
    return np.asarray(seconds >= needed - _EPSILON)


class SilenceGate:
    """Whether there has been nothing to hear: true from the start, and after `seconds` below the gate."""

    def __init__(self, gate_db: float, seconds: float) -> None:
        self._gate_db, self._seconds = gate_db, seconds
        self._below = np.inf

    def step(self, level_db: float, dt: float) -> bool:
        """Take the level of the last `dt` seconds, dBFS; returns whether it is quiet."""
        if level_db >= self._gate_db:
            self._below = 0.0
            return False
        self._below += dt
        return self._below >= self._seconds - _EPSILON


class Smoother:
    """Raw fused logits of the ensemble and of each model -> smoothed probabilities and active instruments."""

    def __init__(self, thresholds: NDArray[np.floating], smoothing: Smoothing) -> None:
        self._smoothing = smoothing
        self._hysteresis = Hysteresis(thresholds, smoothing)
        self._emas: dict[str, LogitEma] = {}
        self._quiet = False

    def use(self, thresholds: NDArray[np.floating]) -> None:
        """Other thresholds [20] from the next step on."""
        self._hysteresis.use(thresholds)

    def step(self, logits: dict[str, FloatArray], dt: float) -> tuple[dict[str, FloatArray], BoolArray]:
        """Take logits [20] by name ("" is the ensemble) for the last `dt` seconds.

        Returns:
            probabilities float32 [20] by the same names, and who is active, bool [20].
        """
        if self._quiet:  # what is heard after a silence owes nothing to what was heard before it
            self._emas.clear()
            self._quiet = False
        smooth = {name: self._ema(name).step(z, dt) for name, z in logits.items()}
        return {name: sigmoid(z) for name, z in smooth.items()}, self._hysteresis.step(smooth[""], dt)

    def silence(self, names: tuple[str, ...], dt: float) -> tuple[dict[str, FloatArray], BoolArray]:
        """As `step`, for `dt` seconds of silence: every probability falls, nothing is active."""
        self._quiet = True
        off = self._hysteresis.silence(dt)
        floor = np.full(len(off), self._smoothing.quiet_logit)
        smooth = {}
        for name in names:
            ema = self._ema(name)
            # Silence never raises a probability that was lower still.
            smooth[name] = ema.step(floor if ema.value is None else np.minimum(ema.value, floor), dt)
        return {name: sigmoid(z) for name, z in smooth.items()}, off

    def _ema(self, name: str) -> LogitEma:
        s = self._smoothing
        return self._emas.setdefault(name, LogitEma(s.tau_up, s.tau_down))
