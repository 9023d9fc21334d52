"""The plan of a scene (instruments, onsets, levels) and its annotation (labels, mask, events).

A plan is rendered as power mels (mixer) or as audio (write).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.arrays import FloatArray
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import HOP, SAMPLE_RATE
from instrec_live.training.data.sounds import EVERYTHING

POLYPHONY = (0.04, 0.32, 0.24, 0.18, 0.12, 0.06, 0.04)  # probability of 0, 1, … 6 instruments
KIT = tuple(INSTRUMENTS.index(name) for name in ("drums", "cymbals"))
WHOLE_KIT = 0.7  # probability that a player of one of the two plays both
SHORTEST = 40  # frames, 0.4 s: minimum length of a part


@dataclass(frozen=True, slots=True)
class Part:
    """One instrument in a scene.

    Attributes:
        instrument: 0 … 19, or the index of a distractor from 20.
        gain_db: relative to the other parts, -14 … 0.
        onset, offset: frames (10 ms) between which it plays.
        release: frames in which it decays by 60 dB after the offset.
    """

    instrument: int
    gain_db: float
    onset: int
    offset: int
    release: int

    def envelope(self, frames: int) -> FloatArray:
        """Its power gain in every frame, float32 [frames]: 0 before the onset, fading after the offset."""
        at = np.arange(frames)
        db = self.gain_db - 60 * np.maximum(0, at - self.offset + 1) / self.release
        return np.where((at < self.onset) | (at >= self.offset + self.release), 0, 10 ** (db / 10)).astype(np.float32)


class Cast:
    """The sources that may play, with their numbers of phrases.

    The probability of an instrument is proportional to the root of its number of phrases, so that rare ones are not
    lost; that of a source to its number of phrases, which already depends on its diversity.

    Args:
        sources: (name of the instrument, number of phrases) of each source.
    """

    def __init__(self, sources: Sequence[tuple[str, int]]) -> None:
        self._sources: list[list[int]] = [[] for _ in EVERYTHING]
        for i, (name, _) in enumerate(sources):
            self._sources[EVERYTHING.index(name)].append(i)
        self._bounds = [np.cumsum([sources[i][1] for i in of]) for of in self._sources]
        roots = np.sqrt([float(bounds[-1]) if len(bounds) else 0.0 for bounds in self._bounds])
        known = roots[: len(INSTRUMENTS)]
        self.chances = known / known.sum()
        self.distractors = [i for i, of in enumerate(self._sources) if of and i >= len(INSTRUMENTS)]

    def source(self, instrument: int, rng: np.random.Generator) -> int:
        """The index of a random source of this instrument."""
        bounds = self._bounds[instrument]
        return self._sources[instrument][int(np.searchsorted(bounds, rng.integers(bounds[-1]), side="right"))]


def draw_distractor(rng: np.random.Generator, frames: int, cast: Cast, share: float) -> tuple[Part, ...]:
    """With probability `share`, a part of a distractor, if there is one."""
    if not cast.distractors or rng.random() >= share:
        return ()
    onset = int(rng.uniform(0, 0.5) * frames) if rng.random() < 0.3 else 0
    instrument = int(rng.choice(cast.distractors))
    return (Part(instrument, float(rng.uniform(-10, 0)), onset, frames, int(rng.integers(4, 50))),)


def draw_parts(rng: np.random.Generator, frames: int, chances: NDArray[np.float64], count: int) -> tuple[Part, ...]:
    """`count` different instruments (at most as many as there are), most of them throughout, some entering late, some
    leaving early; with drums or cymbals usually the whole kit, as one more part."""
    chosen = rng.choice(len(chances), size=min(count, int(np.count_nonzero(chances))), replace=False, p=chances)
    begin = int(rng.uniform(0, 0.7) * frames) if rng.random() < 0.05 else 0  # a window that is not yet full
    parts = []
    for instrument in chosen:
        onset, offset = 0, frames
        if rng.random() < 0.3:
            onset = int(rng.uniform(0, 0.85) * frames)
        if rng.random() < 0.32:
            offset = int(rng.uniform(0.15, 1) * frames)
        onset = max(begin, onset)
        if offset - onset < SHORTEST:
            offset = frames
        parts.append(Part(int(instrument), float(rng.uniform(-14, 0)), onset, offset, int(rng.integers(4, 50))))
    kit = [part for part in parts if part.instrument in KIT]
    if len(kit) == 1 and rng.random() < WHOLE_KIT:
        rest = KIT[1] if kit[0].instrument == KIT[0] else KIT[0]
        if chances[rest] > 0:
            gain_db = float(np.clip(kit[0].gain_db + rng.uniform(-6, 6), -14, 0))
            parts.append(replace(kit[0], instrument=rest, gain_db=gain_db))
    return tuple(parts)


# Relative to the loudest part: below the first a label is masked, below the second it is 0.
FAINT_DB, ABSENT_DB = -18.0, -35.0
MIN_SOUNDING = 30  # frames, 0.3 s
FRAMES_PER_SECOND = SAMPLE_RATE / HOP


@dataclass(frozen=True, slots=True)
class Event:
    """An instrument is audible from onset to offset, seconds from the start of the scene."""

    instrument: str
    onset: float
    offset: float


@dataclass(frozen=True, slots=True)
class Annotation:
    """The labels of a scene.

    Attributes:
        activity: bool [20, T], audible in a frame (10 ms); undefined where the mask is 0.
        labels: float32 [20], 1 if the instrument is audible for 0.3 s or more.
        mask: float32 [20], 1 if that is known: 0 for faint parts, and for other instruments of a song.
    """

    activity: NDArray[np.bool_]
    labels: FloatArray
    mask: FloatArray

    def events(self, gap: float = 0.1) -> list[Event]:
        """Every interval in which an instrument of label 1 is audible, rests shorter than `gap` s bridged."""
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
    """The annotation of a mix of parts.

    Args:
        instruments: the parts' instruments, 0 … 19, each once.
        powers: each part's power in every frame, float32 [frames].
        frames: the scene's length.
        loudest: power of the loudest part while it sounds.
        others_known: False if the scene may contain other instruments: a song, real music.
    """
    count = len(INSTRUMENTS)
    activity, labels = np.zeros((count, frames), np.bool_), np.zeros(count, np.float32)
    mask = np.full(count, others_known, np.float32)
    for instrument, power in zip(instruments, powers, strict=True):
        activity[instrument] = power > loudest * 10 ** (FAINT_DB / 10)
        audible = activity[instrument].sum() >= MIN_SOUNDING
        absent = (power > loudest * 10 ** (ABSENT_DB / 10)).sum() < MIN_SOUNDING // 3
        labels[instrument], mask[instrument] = audible, audible or (absent and others_known)
    return Annotation(activity, labels, mask)
