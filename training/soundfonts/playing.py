"""A phrase of one instrument in a tune: notes in its own manner, and what fingers, breath and feet add to them.

    tune = draw_tune(rng)
    score = phrase("cello", tune, rng)

Phrases of several instruments that are written for one tune go together.
"""

import numpy as np

from instrec_live.training.soundfonts.chords import broken, struck, strummed
from instrec_live.training.soundfonts.general_midi import COMPASS
from instrec_live.training.soundfonts.groove import groove
from instrec_live.training.soundfonts.manner import MANNERS, Manner, Part
from instrec_live.training.soundfonts.melody import bass_line, melody
from instrec_live.training.soundfonts.score import (
    BEND,
    EXPRESSION,
    MODULATION,
    PEDAL,
    Control,
    Note,
    Score,
    Tune,
    score_of,
)

TEXTURES = {"melody": melody, "line": bass_line, "chords": struck, "broken": broken, "strum": strummed}
SINGLE = ("melody", "line")  # one note at a time: it may be bent
TICK = 0.02  # seconds between controls


def phrase(
    instrument: str,
    tune: Tune,
    rng: np.random.Generator,
    seconds: float = 15.0,
    compass: tuple[int, int] | None = None,
) -> Score:
    """Whole bars of about `seconds`.

    Args:
        instrument: one of the 20. "drums" and "cymbals" are written for the keys of a General MIDI kit.
        compass: lowest and highest key; the instrument's own where None.
    """
    bars = max(1, round(seconds * tune.tempo / 60 / tune.beats))
    length = tune.seconds(bars * tune.beats)
    if instrument in ("drums", "cymbals"):
        return score_of(groove(instrument, tune, bars, rng), [], length)
    low, high = compass or COMPASS[instrument]
    manner = MANNERS[instrument]
    odds = np.array(list(manner.textures.values()))
    texture = str(rng.choice(list(manner.textures), p=odds / odds.sum()))
    part = Part(tune, bars, low, high, manner)
    notes = both_hands(part, rng) if texture == "both" else TEXTURES[texture](part, rng)
    controls: list[Control] = []
    if manner.blown:
        controls += swells(notes, length, rng)
    if texture in SINGLE:
        controls += bends(notes, manner, rng)
    elif instrument == "piano" and rng.random() < 0.6:
        controls += pedal(part)
    return score_of(notes, controls, length)


def both_hands(part: Part, rng: np.random.Generator) -> list[Note]:
    """Chords or a bass line in the lower half, a melody above them."""
    middle = (part.low + part.high) // 2
    left = Part(part.tune, part.bars, part.low, middle + 3, part.manner)
    right = Part(part.tune, part.bars, middle, part.high, part.manner)
    below = (struck, broken, bass_line)[int(rng.choice(3, p=[0.4, 0.4, 0.2]))]
    softer = rng.uniform(0.7, 0.95)
    return [n._replace(velocity=round(n.velocity * softer)) for n in below(left, rng)] + melody(right, rng)


def swells(notes: list[Note], length: float, rng: np.random.Generator) -> list[Control]:
    """Expression that breathes with the phrase, and within long notes; now and then a deeper modulation."""
    times = np.arange(0, length, 2.5 * TICK)
    curve = 112 + rng.uniform(2, 10) * np.sin(2 * np.pi * (times / rng.uniform(4, 12) + rng.random()))
    for note in notes:
        if note.duration > 0.8 and rng.random() < 0.6:
            within = (times >= note.time) & (times < note.time + note.duration)
            curve[within] += rng.uniform(-18, 12) * np.linspace(0, 1, int(within.sum()))
    values = np.clip(np.round(curve), 70, 127).astype(int)
    changed = np.flatnonzero(np.diff(values, prepend=-1))
    depth = int(rng.integers(0, 50)) if rng.random() < 0.3 else 0
    return [Control(0.0, MODULATION, depth)] + [Control(float(times[i]), EXPRESSION, int(values[i])) for i in changed]


def bends(notes: list[Note], manner: Manner, rng: np.random.Generator) -> list[Control]:
    """Slides into notes, and a vibrato that sets in late on long ones."""
    controls = []
    rate, depth = rng.uniform(4.5, 6.5), manner.vibrato * rng.uniform(0.3, 1.0)
    for note in notes:
        slides = rng.random() < manner.slide
        shakes = depth > 3 and note.duration > 0.35
        if not slides and not shakes:
            continue
        times = np.arange(0, note.duration, TICK)
        cents = np.zeros(len(times))
        if slides:
            cents += rng.uniform(-200, -40) * np.clip(1 - times / rng.uniform(0.06, 0.18), 0, 1)
        if shakes:
            rising = np.clip((times - rng.uniform(0.1, 0.25)) / 0.3, 0, 1)
            cents += depth * rising * np.sin(2 * np.pi * rate * rng.uniform(0.95, 1.05) * times)
        controls += [Control(float(note.time + t), BEND, round(c)) for t, c in zip(times, cents, strict=True)]
        controls.append(Control(note.time + note.duration, BEND, 0))
    return controls


def pedal(part: Part) -> list[Control]:
    """Up at the bar line, down again just after it."""
    bars = [part.tune.seconds(bar * part.tune.beats) for bar in range(part.bars)]
    return [c for t in bars for c in (Control(t, PEDAL, 0), Control(t + 0.08, PEDAL, 127))]
