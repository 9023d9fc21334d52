"""A training example, and the protocol of its sources."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from instrec_live.models.arrays import FloatArray


@dataclass(frozen=True, slots=True)
class Example:
    """A log-mel and its labels.

    Attributes:
        log_mel: float32 [128, T].
        labels: float32 [20], 1 where the instrument sounds, 0 where not; soft labels lie between.
        mask: float32 [20], 1 where that is known.
        real: it contains recorded music, about which only a teacher knows more.
        some: float32 [6], 1 where some instrument of a family sounds (data/table.py), whichever; None: not known.
    """

    log_mel: FloatArray
    labels: FloatArray
    mask: FloatArray
    real: bool = False
    some: FloatArray | None = None


class Supply(Protocol):
    """A source of examples: scenes mixed on the fly, recordings on disk."""

    def example(self, index: int, rng: np.random.Generator, frames: int) -> Example:
        """Example number `index` of the run, `frames` long; all its randomness comes from `rng`."""
        ...
