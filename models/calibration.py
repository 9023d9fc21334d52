"""From logits to calibrated probabilities."""

from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class Platt:
    """Calibrated logits = scale * logits + bias per instrument (Platt, 1999); fitted in training.

    Attributes:
        scale: float32 [20], positive.
        bias: float32 [20].

    Raises:
        ValueError: wrong length, not finite, or a scale that is not positive.
    """

    scale: FloatArray
    bias: FloatArray

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

    @classmethod
    def identity(cls) -> "Platt":
        return cls(np.ones(len(INSTRUMENTS), np.float32), np.zeros(len(INSTRUMENTS), np.float32))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Platt":
        """Read {"scale": [20], "bias": [20]}.

        Raises:
            KeyError, TypeError, ValueError: malformed.
        """
        if "context" in content:  # it changed each logit by those of the other instruments
            raise ValueError('a calibration with a "context" is of an earlier version')
        return cls(content["scale"], content["bias"])

    def as_json(self) -> dict[str, Any]:
        return {"scale": self.scale.tolist(), "bias": self.bias.tolist()}

    def __call__(self, logits: ArrayLike) -> FloatArray:
        """Logits float32 [..., 20] -> calibrated logits float32 [..., 20]."""
        return np.asarray(np.asarray(logits, np.float32) * self.scale + self.bias, np.float32)
