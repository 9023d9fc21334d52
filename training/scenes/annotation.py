"""What is known of a scene: which instruments are audible when, and what follows for the clip as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import HOP, SAMPLE_RATE

FloatArray = NDArray[np.float32]

FAINT_DB, ABSENT_DB = -18.0, -35.0  # of the loudest part: below the first a label is masked, below the second 0
MIN_SOUNDING = 30  # frames, 0.3 s
FRAMES_PER_SECOND = SAMPLE_RATE / HOP


@dataclass(frozen=True, slots=True)
class Event:
    """An instrument is heard from onset to offset, seconds from the scene's beginning."""

    instrument: str
    onset: float
    offset: float


@dataclass(frozen=True, slots=True)
class Annotation:
    """The truth about a scene.

    Attributes:
        activity: bool [20, T], audible in this frame (10 ms); says nothing where the mask is 0.
        labels: float32 [20], 1 where the instrument is audible for 0.3 s or more.
        mask: float32 [20], 1 where that is known: not of what is faint, nor of what else a song may hold.
    """

    activity: NDArray[np.bool_]
    labels: FloatArray
    mask: FloatArray

    def events(self, gap: float = 0.1) -> list[Event]:
        """Every stretch in which an instrument that is labelled 1 is heard, rests shorter than `gap` s bridged."""
        out = []
        for i in np.flatnonzero((self.labels > 0) & (self.mask > 0)):
            frames = np.flatnonzero(self.activity[i])
            for run in np.split(frames, np.flatnonzero(np.diff(frames) > gap * FRAMES_PER_SECOND) + 1):
                onset, offset = run[0] / FRAMES_PER_SECOND, (run[-1] + 1) / FRAMES_PER_SECOND
                out.append(Event(INSTRUMENTS[i], float(onset), float(offset)))
        return sorted(out, key=lambda event: (event.onset, event.instrument))


def annotate(
    instruments: Sequence[int], powers: Sequence[FloatArray], frames: int, loudest: float, others_known: bool = True
) -> Annotation:
    """The annotation of parts that are mixed together.

    Args:
        instruments: the parts' instruments, 0 … 19, each once.
        powers: each part's power in every frame, float32 [frames].
        frames: the scene's length.
        loudest: power of the loudest part while it sounds.
        others_known: False where something in the scene may hold other instruments: a song, real music.
    """
    count = len(INSTRUMENTS)
    activity, labels = np.zeros((count, frames), np.bool_), np.zeros(count, np.float32)
    mask = np.full(count, others_known, np.float32)
    for instrument, power in zip(instruments, powers, strict=True):
        activity[instrument] = power > loudest * 10 ** (FAINT_DB / 10)
        heard = activity[instrument].sum() >= MIN_SOUNDING
        gone = (power > loudest * 10 ** (ABSENT_DB / 10)).sum() < MIN_SOUNDING // 3
        labels[instrument], mask[instrument] = heard, heard or (gone and others_known)
    return Annotation(activity, labels, mask)
