"""From which probability an instrument counts as sounding."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.errors import UsageError
from instrec_live.models.instruments import INSTRUMENTS

FloatArray = NDArray[np.float32]


def by_instrument(levels: FloatArray) -> dict[str, float]:
    return {name: float(level) for name, level in zip(INSTRUMENTS, levels, strict=True)}


def merged_thresholds(own: FloatArray, wanted: float | Mapping[str, float] | None) -> FloatArray:
    """The models' own thresholds [20], overruled by one for all or by some of them by instrument.

    Raises:
        UsageError: a name that is no instrument, or a threshold not inside 0…1.
    """
    if wanted is None:
        wanted = {}
    elif not isinstance(wanted, Mapping):
        wanted = dict.fromkeys(INSTRUMENTS, wanted)
    levels = np.array(own, np.float32)
    for name, level in wanted.items():
        if name not in INSTRUMENTS:
            raise UsageError(f"no instrument is called {name}", f"they are {', '.join(INSTRUMENTS)}")
        if not 0.0 < level < 1.0:
            raise UsageError(f"the threshold of {name} must lie between 0 and 1, not {level:g}")
        levels[INSTRUMENTS.index(name)] = level
    return levels
