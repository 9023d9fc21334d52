"""Silence in the place of sound that was lost."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.logmel import SAMPLE_RATE

_BEHIND = 10.0  # s; when the sound goes on, its beginning is known only some seconds after
_PIECE = 10 * SAMPLE_RATE  # samples


class Silence:
    """The time that a device is lost, handed on as silence while it passes: a recording keeps the stream's time.

    Args:
        hand_on: takes float32 [m], mono at 32 kHz.
    """

    def __init__(self, hand_on: Callable[[NDArray[np.float32]], None]) -> None:
        self._hand_on = hand_on
        self._handed: int | None = None  # samples; None while nothing is lost

    def goes_on(self, seconds: float) -> None:
        """There has been no sound for so long."""
        self._reach(round((seconds - _BEHIND) * SAMPLE_RATE))

    def ends(self, seconds: float) -> None:
        """There was no sound for so long, if there was any such time, and now there is."""
        if self._handed is not None:
            self._reach(round(seconds * SAMPLE_RATE))
            self._handed = None

    def _reach(self, samples: int) -> None:
        handed = self._handed or 0
        while handed < samples:
            piece = min(_PIECE, samples - handed)
            self._hand_on(np.zeros(piece, np.float32))
            handed += piece
        self._handed = handed
