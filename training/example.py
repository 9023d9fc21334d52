"""One training example, and who supplies them."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Example:
    """A log-mel and what is known of it.

    Attributes:
        log_mel: float32 [128, T].
        labels: float32 [20], 1 where the instrument sounds; soft labels lie between.
        mask: float32 [20], 1 where that is known.
        real: it has recorded music in it, of which only a teacher can say more.
    """

    log_mel: FloatArray
    labels: FloatArray
    mask: FloatArray
    real: bool = False


class Supply(Protocol):
    """A source of examples: scenes mixed on the fly, recordings on disk."""

    def example(self, index: int, rng: np.random.Generator, frames: int) -> Example:
        """Example number `index` of the run, `frames` long; all that is random in it comes from `rng`."""
        ...
