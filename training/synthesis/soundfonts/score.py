"""Scores (notes and controls of one instrument) and tunes (what all parts of a piece share).

Parts that are written for one tune fit together: same key, chords, tempo, metre and swing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

BEND, MODULATION, EXPRESSION, PEDAL = -1, 1, 11, 64

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}
# Roots of the chords as scale degrees from 0, one a bar: the progressions that most songs are made of.
PROGRESSIONS = (
    (0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 4, 0), (1, 4, 0, 0), (5, 3, 0, 4), (0, 6, 5, 4), (0, 0, 3, 0, 4, 3, 0, 4),
    (0, 4, 5, 2, 3, 0, 3, 4), (0, 3), (0, 0, 4, 0), (0, 1, 3, 4), (0,),
)  # fmt: skip


class Note(NamedTuple):
    """time and duration in seconds; key 0…127, 60 is middle C; velocity 1…127."""

    time: float
    duration: float
    key: int
    velocity: int


class Control(NamedTuple):
    """time in seconds; number of the MIDI controller, value 0…127; or BEND, value in cents, -200…200."""

    time: float
    number: int
    value: int


@dataclass(frozen=True, slots=True)
class Score:
    """One part: notes and controls by time; a note ends before the next one on its key."""

    notes: tuple[Note, ...]
    controls: tuple[Control, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Tune:
    """What all parts of a piece share.

    Attributes:
        tonic: pitch class, 0 is C.
        scale: seven semitone steps above the tonic.
        chords: roots as scale degrees from 0, one a bar, over and over.
        tempo: beats per minute.
        beats: per bar.
        swing: position in the beat where its second half begins; 0.5 is straight.
    """

    tonic: int
    scale: tuple[int, ...]
    chords: tuple[int, ...]
    tempo: float
    beats: int = 4
    swing: float = 0.5

    def key(self, degree: int) -> int:
        """The MIDI key of a degree; degree 0 is the lowest tonic, 7 the next."""
        return self.tonic + 12 * (degree // 7) + self.scale[degree % 7]

    def degrees(self, low: int, high: int) -> list[int]:
        """All degrees whose keys lie within low…high."""
        return [d for d in range(76) if low <= self.key(d) <= high]

    def root(self, bar: int) -> int:
        """The degree, 0…6, of the chord of a bar."""
        return self.chords[bar % len(self.chords)]

    def seconds(self, beat: float) -> float:
        """The time of a beat, or of a part of one, s."""
        whole, part = divmod(beat, 1.0)
        swung = part * 2 * self.swing if part < 0.5 else self.swing + (part - 0.5) * 2 * (1 - self.swing)
        return float((whole + swung) * 60 / self.tempo)


def draw_tune(rng: np.random.Generator) -> Tune:
    """A key, a progression, a tempo of 60–170 beats a minute, mostly in four; a third of the tunes swing."""
    scale = list(SCALES.values())[int(rng.choice(len(SCALES), p=[0.45, 0.25, 0.08, 0.11, 0.11]))]
    return Tune(
        tonic=int(rng.integers(12)),
        scale=scale,
        chords=PROGRESSIONS[int(rng.integers(len(PROGRESSIONS)))],
        tempo=float(np.exp(rng.uniform(np.log(60), np.log(170)))),
        beats=3 if rng.random() < 0.15 else 4,
        swing=float(rng.uniform(0.56, 0.67)) if rng.random() < 0.33 else 0.5,
    )


def score_of(notes: Iterable[Note], controls: Iterable[Control], seconds: float) -> Score:
    """Sort notes and controls, clipped to 0…seconds and to the MIDI ranges; a note ends before the next on its key."""
    kept: list[Note] = []
    next_on_key: dict[int, float] = {}
    for note in sorted(notes, reverse=True):
        start = max(0.0, note.time)
        end = min(start + note.duration, next_on_key.get(note.key, seconds) - 0.005)
        if end - start > 0.015 and 0 <= note.key <= 127:
            kept.append(Note(start, end - start, note.key, int(np.clip(note.velocity, 1, 127))))
            next_on_key[note.key] = start
    ordered = sorted(Control(max(0.0, c.time), c.number, c.value) for c in controls if c.time < seconds)
    return Score(tuple(reversed(kept)), tuple(ordered), seconds)
