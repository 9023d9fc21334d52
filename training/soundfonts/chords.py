"""Chords: struck together, broken, or strummed."""

import numpy as np

from instrec_live.training.soundfonts.manner import Part
from instrec_live.training.soundfonts.melody import GAP, rhythm
from instrec_live.training.soundfonts.score import Note

STRUMS = ("D-DU-UDU", "DUDUDUDU", "D-D-D-DU", "D---D-DU", "D-DUD-DU", "-U-U-U-U", "D-U-D-U-", "D-------")  # eighths
ORDERS = ((0, 1, 2, 3), (3, 2, 1, 0), (0, 1, 2, 1), (0, 2, 1, 3), (0, 3, 2, 3), (0, 2, 3, 1, 2, 3))


def voicings(part: Part, rng: np.random.Generator) -> list[list[int]]:
    """One chord a bar: neighbouring chord tones, as near as they come to where the last chord lay."""
    fewest, most = part.manner.voices
    count = int(rng.integers(fewest, most + 1))
    center = rng.uniform(part.low + 7, max(part.low + 8, part.high - 9))
    chords = []
    for bar in range(part.bars):
        tones = part.chord(bar)
        starts = range(max(1, len(tones) - count + 1))
        best = min(starts, key=lambda s: abs(np.mean(tones[s : s + count]) - center))
        chords.append(tones[best : best + count])
    return chords


def struck(part: Part, rng: np.random.Generator) -> list[Note]:
    """Every chord at once, in a rhythm that returns, held or short."""
    figure = rhythm(part, float(np.exp(rng.uniform(np.log(0.35), np.log(2.0)))), rng)
    touch = float(rng.choice([0.98, 0.85, 0.5], p=[0.55, 0.25, 0.2]))
    level, spread = rng.uniform(50, 90), rng.uniform(0, 0.012)
    notes = []
    for bar, chord in enumerate(voicings(part, rng)):
        for beat, length in figure:
            time, end = (part.tune.seconds(bar * part.tune.beats + b) for b in (beat, beat + length))
            loud = level + (6 if beat == 0 else 0) + rng.normal(0, 4)
            time += rng.normal(0, 0.008)
            notes += [
                Note(
                    time + i * spread, max((end - time) * touch, end - time - GAP), key, round(loud + rng.normal(0, 3))
                )
                for i, key in enumerate(chord)
            ]
    return notes


def broken(part: Part, rng: np.random.Generator) -> list[Note]:
    """Chord tones one after another, in an order that returns; what is plucked or struck rings on."""
    units = [u for u in (0.25, 1 / 3, 0.5, 1.0) if max(part.manner.shortest, 0.1) <= u * part.beat <= 0.6]
    unit = units[int(rng.integers(len(units)))]
    order = ORDERS[int(rng.integers(len(ORDERS)))]
    rings = not part.manner.blown and rng.random() < 0.7
    level, sway = rng.uniform(50, 90), rng.uniform(0, 12)
    notes = []
    for bar, chord in enumerate(voicings(part, rng)):
        first = bar * part.tune.beats
        count = round(part.tune.beats / unit)
        for i in range(count):
            time = part.tune.seconds(first + i * unit)
            end = part.tune.seconds(first + (part.tune.beats if rings else (i + 1) * unit))
            loud = level + sway * np.sin(2 * np.pi * bar / 4) + (8 if i % len(order) == 0 else 0) + rng.normal(0, 4)
            key = chord[order[i % len(order)] % len(chord)]
            notes.append(Note(time + rng.normal(0, 0.007), end - time, key, round(loud)))
    return notes


def strummed(part: Part, rng: np.random.Generator) -> list[Note]:
    """Down- and upstrokes across the strings; upstrokes are lighter and reach fewer of them."""
    pattern = STRUMS[int(rng.integers(len(STRUMS)))][: 2 * part.tune.beats]
    fan, level = rng.uniform(0.004, 0.022), rng.uniform(55, 95)
    damped = rng.random() < 0.25
    strokes = [i for i, stroke in enumerate(pattern) if stroke != "-"]
    notes = []
    for bar, chord in enumerate(voicings(part, rng)):
        for n, i in enumerate(strokes):
            following = strokes[n + 1] if n + 1 < len(strokes) else len(pattern) + strokes[0]
            time, end = (part.tune.seconds(bar * part.tune.beats + e / 2) for e in (i, following))
            down = pattern[i] == "D"
            strings = chord if down else chord[::-1][: max(2, len(chord) - 1)]
            loud = level + (7 if i % 4 == 0 else 0) - (0 if down else 10) + rng.normal(0, 4)
            time += rng.normal(0, 0.008)
            held = min(end - time, 0.12 if damped and not down else 4.0)
            notes += [Note(time + s * fan, held, key, round(loud + rng.normal(0, 3))) for s, key in enumerate(strings)]
    return notes
