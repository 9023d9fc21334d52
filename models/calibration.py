"""From logits to calibrated probabilities: scaled per instrument, and aware of what else sounds."""

from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from instrec_live.models.arrays import FloatArray
from instrec_live.models.instruments import INSTRUMENTS

_LOWEST = 1e-6  # logits of ±13.8; no network exceeds that


def sigmoid(logits: ArrayLike) -> FloatArray:
    """Probabilities, same shape, float32; never overflows."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(logits, np.float64))), np.float32)


def logit(probabilities: ArrayLike) -> FloatArray:
    """Inverse of `sigmoid`, float32; 0 and 1 become finite logits of ±13.8."""
    p = np.clip(np.asarray(probabilities, np.float64), _LOWEST, 1.0 - _LOWEST)
    return np.log(p / (1.0 - p)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Context:
    """How the other instruments' logits change one: they show whether few or many sound.

    A network gives each voice of a band a lower logit than it gives a soloist. So a scaled logit z becomes
    own * z + highest_other * (the highest other z) + expected_others * (the sum of the others' probabilities)
    + fourth * (the fourth highest z of all) + bias. By default it stays z.
    """

    own: float = 1.0
    highest_other: float = 0.0
    expected_others: float = 0.0
    fourth: float = 0.0
    bias: float = 0.0

    @staticmethod
    def features(logits: FloatArray) -> FloatArray:
        """Logits float32 [..., 20] -> of each: itself and the three features, float32 [..., 20, 4]."""
        ordered = np.sort(logits, axis=-1)
        highest = np.where(logits == ordered[..., -1:], ordered[..., -2:-1], ordered[..., -1:])
        probabilities = sigmoid(logits)
        others = probabilities.sum(axis=-1, keepdims=True) - probabilities
        out = np.empty((*logits.shape, 4), np.float32)
        out[..., 0], out[..., 1], out[..., 2], out[..., 3] = logits, highest, others, ordered[..., -4:-3]
        return out

    def __call__(self, logits: FloatArray) -> FloatArray:
        """Logits float32 [..., 20] -> what they become, float32 [..., 20]."""
        if self == _UNCHANGED:
            return logits
        weights = np.array([self.own, self.highest_other, self.expected_others, self.fourth], np.float32)
        return np.asarray(self.features(logits) @ weights + np.float32(self.bias), np.float32)


_UNCHANGED = Context()


@dataclass(frozen=True, eq=False)
class Platt:
    """Calibrated logits = context(z), z = scale * logits + bias per instrument (Platt, 1999); fitted in training.

    Attributes:
        scale: float32 [20], positive.
        bias: float32 [20].
        context: what the other instruments change.

    Raises:
        ValueError: wrong length, not finite, or a scale that is not positive.
    """

    scale: FloatArray
    bias: FloatArray
    context: Context = Context()

    def __post_init__(self) -> None:
        for name in ("scale", "bias"):
            with np.errstate(over="ignore"):  # a number too large for float32 becomes infinite
                values = np.array(getattr(self, name), np.float32)
            if values.shape != (len(INSTRUMENTS),):
                raise ValueError(f"calibration {name} must have {len(INSTRUMENTS)} numbers, not {values.shape}")
            if not np.isfinite(values).all():
                raise ValueError(f"calibration {name} is not finite")
            values.setflags(write=False)
            object.__setattr__(self, name, values)
        if (self.scale <= 0).any():
            raise ValueError("calibration scale must be positive: a negative one would reverse the ranking")
        if not np.isfinite(astuple(self.context)).all() or self.context.own <= 0:
            raise ValueError("calibration context must be finite, and its own weight positive")

    @classmethod
    def identity(cls) -> "Platt":
        return cls(np.ones(len(INSTRUMENTS), np.float32), np.zeros(len(INSTRUMENTS), np.float32))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Platt":
        """Read {"scale": [20], "bias": [20], "context": {…}}; a file without "context" has none.

        Raises:
            KeyError, TypeError, ValueError: malformed.
        """
        context = Context(**{str(name): float(value) for name, value in dict(content.get("context", {})).items()})
        return cls(content["scale"], content["bias"], context)

    def as_json(self) -> dict[str, Any]:
        return {"scale": self.scale.tolist(), "bias": self.bias.tolist(), "context": asdict(self.context)}

    def __call__(self, logits: ArrayLike) -> FloatArray:
        """Logits float32 [..., 20] -> calibrated logits float32 [..., 20]."""
        return self.context(np.asarray(np.asarray(logits, np.float32) * self.scale + self.bias, np.float32))
