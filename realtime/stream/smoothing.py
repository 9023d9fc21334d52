"""From noisy logits to stable results: smoothing, hysteresis and a silence gate, in seconds, independent of the hop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.arrays import BoolArray, DoubleArray, FloatArray
from instrec_live.models.calibration import logit, sigmoid
from instrec_live.models.errors import UsageError
from instrec_live.models.instruments import INSTRUMENTS, instrument


def by_instrument(thresholds: FloatArray, instruments: Sequence[str] = INSTRUMENTS) -> dict[str, float]:
    """Thresholds [n] as a mapping from instrument to threshold."""
    return {name: float(each) for name, each in zip(instruments, thresholds, strict=True)}


def merged_thresholds(
    own: FloatArray, wanted: float | Mapping[str, float] | None, instruments: Sequence[str] = INSTRUMENTS
) -> FloatArray:
    """The models' own thresholds [n], overruled by one for all or by some of them by instrument.

    Raises:
        UsageError: an unknown instrument, or a threshold outside 0…1.
    """
    if wanted is None:
        wanted = {}
    elif not isinstance(wanted, Mapping):
        wanted = dict.fromkeys(instruments, wanted)
    thresholds = np.array(own, np.float32)
    given: set[str] = set()
    for name, threshold in wanted.items():
        known = instrument(name, instruments)
        if known in given:
            raise UsageError(f"{known} has two thresholds", "leave one of them out")
        given.add(known)
        place = instruments.index(known)
        if not 0.0 < threshold < 1.0:
            raise UsageError(f"the threshold of {name} must lie between 0 and 1, not {threshold:g}")
        thresholds[place] = threshold
    return np.clip(thresholds, 1e-6, 1 - 1e-6)  # anything closer would round to 0 or 1 in float32


_TIMES = (
    "tau_up", "tau_down", "on_seconds", "on_seconds_with_others", "off_seconds", "off_seconds_per_other",
    "min_on_seconds", "min_off_seconds",
)  # fmt: skip

_EPSILON = 1e-6  # s; sums of hops must not miss a duration by a rounding


@dataclass(frozen=True, slots=True)
class Smoothing:
    """Everything that decides how fast and how steadily the display follows the networks.

    The defaults follow benchmarks/timing.py: timelines of real solos for speed, whole clips for calm.

    Attributes:
        short_seconds: length of the short window, s; networks that do not work in patches get at least 2.
        long_weight: w of the fusion z = w * z_long + (1 - w) * z_short, 0 to 1.
        tau_up: time constant of rising logits, s.
        tau_down: time constant of falling logits, s.
        live_margin: how far thresholds are above those of whole clips, logits; the higher, the fewer false names
            are shown, and the fewer right ones.
        on_seconds: how long a probability must stay at its threshold or above to switch on, s.
        on_seconds_with_others: how much longer if another instrument is on, s: most false names are second names.
        clear_margin: how far above its threshold a logit must be to switch on without that longer wait, logits.
        off_seconds: how long a logit must stay below its threshold's logit - off_margin to switch off, s.
        off_seconds_per_other: how much longer for each other instrument that is on, s: in a band voices mask each other
            for a moment, the end of a solo is detected.
        off_margin: depth of the hysteresis, logits.
        min_on_seconds: shortest time on, s.
        min_off_seconds: shortest time off between two times on, s.
        quiet_seconds: how long the level must stay below the gate to count as silence, s.
        quiet_logit: where logits fall to in silence.
    """

    short_seconds: float = 1.0
    long_weight: float = 0.3
    tau_up: float = 0.0
    tau_down: float = 0.4
    live_margin: float = 0.0
    on_seconds: float = 0.5
    on_seconds_with_others: float = 1.0
    clear_margin: float = 0.5
    off_seconds: float = 0.5
    off_seconds_per_other: float = 0.5
    off_margin: float = 1.6
    min_on_seconds: float = 2.0
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

        Windows, margins and the definition of silence are unchanged.

        Raises:
            ValueError: a factor that is negative or not finite.
        """
        if not 0.0 <= factor < np.inf:
            raise ValueError(f"smoothing: the factor must be a finite number of at least 0, not {factor}")
        return replace(self, **{name: factor * getattr(self, name) for name in _TIMES})


def live_thresholds(thresholds: NDArray[np.floating], smoothing: Smoothing) -> FloatArray:
    """Thresholds of whole clips -> those of a stream, float32, same shape: higher by the live margin."""
    return raised(thresholds, smoothing.live_margin)


def raised(thresholds: NDArray[np.floating], margin: float) -> FloatArray:
    """Thresholds that lie `margin` logits higher, float32, same shape."""
    return sigmoid(logit(thresholds) + margin)


class LogitEma:
    """Exponential moving average of logits that rises and falls at different speeds.

    The first value is returned unchanged.
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
    """Which instruments are active, each by its own threshold.

    On: at the threshold or above for on_seconds; for on_seconds_with_others more if another instrument is on, unless
    the logit is clear_margin above the threshold. Off: below logit(threshold) - off_margin for off_seconds, and for
    off_seconds_per_other more for each other instrument that is on.
    Between the two nothing changes. An update speaks for the hop that it ends, so a hop longer than
    on_seconds switches at once.

    Args:
        thresholds: probabilities inside 0…1, [n].
    """

    def __init__(self, thresholds: NDArray[np.floating], smoothing: Smoothing) -> None:
        self._smoothing = smoothing
        self.set_thresholds(thresholds)
        self.active: BoolArray = np.zeros(len(self._on_at), np.bool_)
        self._above = np.zeros(len(self._on_at))  # s at or above the threshold, without a break
        self._below = np.zeros(len(self._on_at))  # s below the lower edge, without a break
        self._held = np.full(len(self._on_at), np.inf)  # s since the last switch

    def set_thresholds(self, thresholds: NDArray[np.floating]) -> None:
        """Use other thresholds [n] from now on; an active instrument stays so until they switch it off."""
        self._on_at = logit(thresholds).astype(np.float64)
        self._off_below = self._on_at - self._smoothing.off_margin

    def step(self, logits: DoubleArray, dt: float) -> BoolArray:
        """Take the smoothed logits [n] of the last `dt` seconds; returns which are active, bool [n], a copy."""
        s = self._smoothing
        self._above = np.where(logits >= self._on_at, self._above + dt, 0.0)
        self._below = np.where(logits < self._off_below, self._below + dt, 0.0)
        self._held += dt
        longer = self.active.any() & (logits < self._on_at + s.clear_margin)
        needed = s.on_seconds + np.where(longer, s.on_seconds_with_others, 0.0)
        rise = ~self.active & _reached(self._above, needed, dt) & _past(self._held, s.min_off_seconds)
        patience = s.off_seconds + s.off_seconds_per_other * max(0, int(self.active.sum()) - 1)
        fall = self.active & _reached(self._below, patience, dt) & _past(self._held, s.min_on_seconds)
        self._switch(rise | fall)
        return self.active.copy()

    def silence(self, dt: float) -> BoolArray:
        """Switch everything off at once, for `dt` seconds of silence. Returns bool [n], all False."""
        self._above[:] = 0.0
        self._held += dt
        self._switch(self.active.copy())
        return self.active.copy()

    def _switch(self, which: BoolArray) -> None:
        self.active = self.active ^ which
        self._held[which] = 0.0


def _reached(seconds: DoubleArray, needed: DoubleArray | float, dt: float) -> BoolArray:
    return np.asarray(seconds >= np.maximum(needed, dt) - _EPSILON)


def _past(seconds: DoubleArray, needed: float) -> BoolArray:
    return np.asarray(seconds >= needed - _EPSILON)


class SilenceGate:
    """Whether it is silent: true at the start, and after `seconds` below the gate."""

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

    def set_thresholds(self, thresholds: NDArray[np.floating]) -> None:
        """Use other thresholds [n] from the next step on."""
        self._hysteresis.set_thresholds(thresholds)

    def step(self, logits: dict[str, FloatArray], dt: float) -> tuple[dict[str, FloatArray], BoolArray]:
        """Take logits [n] by name ("" is the ensemble) for the last `dt` seconds.

        Returns:
            probabilities float32 [n] by the same names, and which are active, bool [n].
        """
        if self._quiet:  # results after a silence do not depend on the sound before it
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
            # Silence never raises a probability that was already lower.
            smooth[name] = ema.step(floor if ema.value is None else np.minimum(ema.value, floor), dt)
        return {name: sigmoid(z) for name, z in smooth.items()}, off

    def _ema(self, name: str) -> LogitEma:
        s = self._smoothing
        return self._emas.setdefault(name, LogitEma(s.tau_up, s.tau_down))
