"""What comes of a live source: sound, or word that there is none any more."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sound:
    """What came since the last piece, up to the newest whole hop.

    Attributes:
        samples: float32 [m], mono at 32 kHz.
        skipped: hops in it that nobody was told of.
        begins: second at which the sound begins anew, after a jump; None where it goes on.
    """

    samples: FloatArray
    skipped: int
    begins: float | None


@dataclass(frozen=True, slots=True)
class Lost:
    """The source gives no sound any more, and is being looked for.

    Attributes:
        age: wall-clock seconds since the newest sound handed on was captured.
    """

    age: float
