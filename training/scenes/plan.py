"""Who plays in a scene, when and how loud: planned once, rendered as power mels (mixer) or as sound (write)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.datasets.sounds import EVERYTHING

FloatArray = NDArray[np.float32]

POLYPHONY = (0.04, 0.32, 0.24, 0.18, 0.12, 0.06, 0.04)  # chance of 0, 1, … 6 instruments
KIT = tuple(INSTRUMENTS.index(name) for name in ("drums", "cymbals"))
WHOLE_KIT = 0.7  # how often who plays one of the two plays both
SHORTEST = 40  # frames, 0.4 s: what a part keeps of a scene at least


@dataclass(frozen=True, slots=True)
class Part:
    """One instrument's playing in a scene.

    Attributes:
        instrument: 0 … 19, or a stranger's number beyond.
        gain_db: beside the other parts, -14 … 0.
        onset, offset: frames (10 ms) between which it plays; before and after it is silent.
        release: frames in which it dies away (60 dB) after the offset.
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
    """Who may play: sources of sound, each with the number of phrases it has to give.

    Rare instruments are kept in play: an instrument is as likely as the root of its phrases; its sources are as likely
    as their phrases are many, which were already shared out by diversity.

    Args:
        sources: (instrument's name, phrases) of each source.
    """

    def __init__(self, sources: Sequence[tuple[str, int]]) -> None:
        self._sources: list[list[int]] = [[] for _ in EVERYTHING]
        for i, (name, _) in enumerate(sources):
            self._sources[EVERYTHING.index(name)].append(i)
        self._bounds = [np.cumsum([sources[i][1] for i in of]) for of in self._sources]
        roots = np.sqrt([float(bounds[-1]) if len(bounds) else 0.0 for bounds in self._bounds])
        known = roots[: len(INSTRUMENTS)]
        self.chances = known / known.sum()
        self.strangers = [i for i, of in enumerate(self._sources) if of and i >= len(INSTRUMENTS)]

    def source(self, instrument: int, rng: np.random.Generator) -> int:
        """The number of a source of this instrument."""
        bounds = self._bounds[instrument]
        return self._sources[instrument][int(np.searchsorted(bounds, rng.integers(bounds[-1]), side="right"))]


def draw_stranger(rng: np.random.Generator, frames: int, cast: Cast, share: float) -> tuple[Part, ...]:
    """With probability `share` a part of somebody whose instrument is none of the 20, if there is one."""
    if not cast.strangers or rng.random() >= share:
        return ()
    onset = int(rng.uniform(0, 0.5) * frames) if rng.random() < 0.3 else 0
    who = int(rng.choice(cast.strangers))
    return (Part(who, float(rng.uniform(-10, 0)), onset, frames, int(rng.integers(4, 50))),)


def draw_parts(rng: np.random.Generator, frames: int, chances: NDArray[np.float64], count: int) -> tuple[Part, ...]:
    """`count` different instruments (or as many as there are), most of them from beginning to end, some entering late,
    some leaving early; and where there are drums or cymbals, usually the whole kit, one more."""
    chosen = rng.choice(len(chances), size=min(count, np.count_nonzero(chances)), replace=False, p=chances)
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
