"""A phrase of one instrument in a tune: its melody or chords, and the controls of its playing technique.

    tune = draw_tune(rng)
    score = phrase("cello", tune, rng)

Phrases of several instruments that are written for one tune fit together. A `Manner` describes how each pitched
instrument is played; melodies repeat motifs; chords are struck, broken or strummed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from instrec_live.training.synthesis.soundfonts.drums import groove
from instrec_live.training.synthesis.soundfonts.general_midi import COMPASS
from instrec_live.training.synthesis.soundfonts.score import (
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


@dataclass(frozen=True, slots=True)
class Manner:
    """How an instrument is played.

    Attributes:
        textures: how likely it plays "melody", "line" (a bass's), "chords", "broken" chords, "strum", or "both" hands.
        shortest: seconds; no written note is shorter.
        longest: seconds; no note of a melody is held longer, since it would have died away.
        blown: a note is kept up by breath, bow or bellows: it can swell, and ends when it should.
        voices: fewest and most notes of a chord.
        vibrato: cents, at most.
        slide: chance that a note is slid into.
        trill: chance that a long note is ornamented.
        tremolo: chance that a long note is repeated fast instead of held.
    """

    textures: dict[str, float] = field(default_factory=lambda: {"melody": 1.0})
    shortest: float = 0.09
    longest: float = 3.0
    blown: bool = True
    voices: tuple[int, int] = (3, 4)
    vibrato: float = 0.0
    slide: float = 0.0
    trill: float = 0.06
    tremolo: float = 0.0


MANNERS: dict[str, Manner] = {
    "accordion": Manner({"melody": 1.5, "both": 2, "chords": 1}, trill=0.1),
    "banjo": Manner({"broken": 4, "melody": 2, "strum": 1}, 0.1, 0.8, False, (3, 4), slide=0.05),
    "bass": Manner({"line": 3, "melody": 1}, 0.13, 1.8, False, slide=0.06, trill=0.02),
    "cello": Manner(shortest=0.11, vibrato=28, slide=0.06, trill=0.04),
    "clarinet": Manner(shortest=0.08, trill=0.08),
    "flute": Manner(shortest=0.08, vibrato=18, trill=0.1),
    "guitar": Manner({"melody": 1.5, "strum": 2, "broken": 2, "chords": 0.5}, 0.1, 1.8, False, (3, 6), 12, 0.08),
    "mallet_percussion": Manner(
        {"melody": 3, "broken": 1, "chords": 1, "both": 1}, 0.1, 0.9, False, (2, 4), tremolo=0.3
    ),
    "mandolin": Manner({"melody": 3, "strum": 1.5, "broken": 0.7}, 0.1, 0.8, False, (3, 4), trill=0.03, tremolo=0.5),
    "organ": Manner({"both": 2, "chords": 2, "melody": 1, "broken": 0.5}, 0.1, 4.0, voices=(3, 5)),
    "piano": Manner({"both": 3, "broken": 1.5, "chords": 1, "melody": 1}, 0.08, 2.0, False, (2, 5)),
    "saxophone": Manner(vibrato=20, slide=0.15, trill=0.05),
    "synthesizer": Manner({"melody": 2, "chords": 2, "broken": 2, "line": 0.7, "both": 0.5}, slide=0.08, trill=0.03),
    "trombone": Manner(shortest=0.12, vibrato=12, slide=0.2, trill=0.02),
    "trumpet": Manner(vibrato=15, slide=0.05),
    "ukulele": Manner({"strum": 4, "broken": 1.5, "melody": 1}, 0.1, 0.8, False, (3, 4), trill=0.03),
    "violin": Manner(vibrato=30, slide=0.06, trill=0.08),
    "voice": Manner({"melody": 1.5, "chords": 2}, 0.16, 3.5, True, (2, 4), 25, 0.1, 0.02),
    "bassoon": Manner(shortest=0.1, trill=0.04),
    "french_horn": Manner(shortest=0.12, trill=0.02),
    "harmonica": Manner({"melody": 2, "chords": 1}, 0.1, voices=(2, 3), vibrato=15, slide=0.1),
    "harp": Manner({"broken": 3, "both": 1, "chords": 1, "melody": 1}, 0.1, 1.8, False, (3, 5)),
    "oboe": Manner(shortest=0.09, vibrato=18, trill=0.08),
    "tuba": Manner({"melody": 1, "line": 1}, 0.15, trill=0.02),
}


@dataclass(frozen=True, slots=True)
class Part:
    """A part to write: a number of bars of a tune, between two keys, in a manner."""

    tune: Tune
    bars: int
    low: int
    high: int
    manner: Manner

    @property
    def beat(self) -> float:
        """Seconds per beat."""
        return 60 / self.tune.tempo

    def chord(self, bar: int) -> list[int]:
        """All keys of the bar's chord between low and high, ascending."""
        root = self.tune.root(bar)
        return [self.tune.key(d) for d in self.tune.degrees(self.low, self.high) if (d - root) % 7 in (0, 2, 4)]


# Beats; a bar's rhythm is a row of these.
CELLS = (
    (1.0,), (0.5, 0.5), (0.75, 0.25), (0.25, 0.25, 0.25, 0.25), (0.5, 0.25, 0.25), (0.25, 0.25, 0.5),
    (1 / 3, 1 / 3, 1 / 3), (2.0,), (1.5, 0.5), (0.5, 1.0, 0.5), (3.0,), (4.0,),
)  # fmt: skip
FORMS = ("aaba", "abab", "abac", "aabc")
TOUCHES = (1.0, 0.95, 0.8, 0.45)  # legato, tenuto, detached, staccato: how much of its length a note sounds
GAP = 0.4  # seconds; a longer silence is written, as a rest
PHRASE = 4  # bars, from breath to breath

Written = tuple[float, float, int]  # beat, beats, degree


def melody(part: Part, rng: np.random.Generator) -> list[Note]:
    """Phrases of four bars whose bars return; each bar runs, leaps, turns or breaks the chord; each phrase comes to
    rest on a note of the chord."""
    reach = part.tune.degrees(part.low, part.high)
    width = min(len(reach), int(rng.integers(7, 14)))
    first = int(rng.integers(len(reach) - width + 1))
    window = reach[first : first + width]
    pace = float(np.exp(rng.uniform(np.log(0.14), np.log(0.7))))
    form = FORMS[int(rng.integers(len(FORMS)))]
    ideas = {}
    for label in "abc":
        beats = rhythm(part, pace, rng)
        ideas[label] = (beats, motion(len(beats), rng))
    here, line = width // 2, []
    for bar in range(part.bars):
        beats, steps = ideas[form[bar % PHRASE]]
        start, ends = bar * part.tune.beats, bar % PHRASE == PHRASE - 1 or bar == part.bars - 1
        for i, (beat, length) in enumerate(beats):
            if ends and beat >= part.tune.beats / 2:
                break
            here = fold(here + steps[i], width) if i else at_rest(window, here, part.tune.root(bar))
            if i == 0 or rng.random() > 0.05:  # else a rest
                line.append((start + beat, min(length, part.tune.beats / 2) if ends else length, window[here]))
        if ends:
            here = at_rest(window, here, part.tune.root(bar))
            half = part.tune.beats / 2
            held = min(half - (0.5 if part.manner.blown else 0.0), part.manner.longest / part.beat)
            line.append((start + half, held, window[here]))
    return articulate(line, part, rng)


def rhythm(part: Part, pace: float, rng: np.random.Generator) -> list[tuple[float, float]]:
    """One bar as (beat, beats), in notes of about `pace` seconds."""
    beat, bar = 0.0, []
    while beat < part.tune.beats - 1e-6:
        fits = [
            cell
            for cell in CELLS
            if beat + sum(cell) <= part.tune.beats + 1e-6
            and min(cell) * part.beat >= part.manner.shortest
            and (max(cell) * part.beat <= part.manner.longest or cell == CELLS[0])
        ]
        odds = np.array([np.exp(-1.5 * abs(np.log(np.mean(cell) * part.beat / pace))) for cell in fits])
        for length in fits[int(rng.choice(len(fits), p=odds / odds.sum()))]:
            bar.append((beat, length))
            beat += length
    return bar


def motion(count: int, rng: np.random.Generator) -> list[int]:
    """Steps in degrees from note to note: a run, a broken chord, a turn about a note, or leaps that turn back."""
    way = int(rng.choice([-1, 1]))
    kind = rng.random()
    if kind < 0.4:
        return [way if rng.random() > 0.15 else -way for _ in range(count)]
    if kind < 0.65:
        return [way * (2 if i % 3 else 3) for i in range(count)]
    if kind < 0.8:
        return [way * (1, -1, -1, 1)[i % 4] for i in range(count)]
    return [way * int(rng.integers(3, 8)) if i % 3 == 1 else -way * int(rng.integers(0, 3)) for i in range(count)]


def fold(index: int, width: int) -> int:
    """An index reflected at the ends of the window."""
    index %= max(1, 2 * (width - 1))
    return min(index, 2 * (width - 1) - index)


def at_rest(window: Sequence[int], here: int, root: int) -> int:
    """The index of the nearest degree that belongs to the chord."""
    return min((i for i, d in enumerate(window) if (d - root) % 7 in (0, 2, 4)), key=lambda i: abs(i - here))


def articulate(line: Sequence[Written], part: Part, rng: np.random.Generator) -> list[Note]:
    """Notes with articulation, a dynamic arc per phrase, accents, timing errors and ornaments."""
    tune, level, arc = part.tune, rng.uniform(55, 95), rng.uniform(5, 28)
    touches = rng.choice(TOUCHES, size=part.bars // PHRASE + 1, p=[0.4, 0.25, 0.2, 0.15])
    notes = []
    for beat, length, degree in line:
        phrase, place = divmod(beat / tune.beats, PHRASE)
        time = tune.seconds(beat)
        seconds = tune.seconds(beat + length) - time
        accent = 8 if beat % tune.beats < 0.01 else 3 if beat % 1 < 0.01 else 0
        note = Note(
            time + rng.normal(0, 0.008),
            max(seconds * touches[int(phrase)], seconds - GAP),
            tune.key(degree),
            round(level + arc * np.sin(np.pi * place / PHRASE) + accent + rng.normal(0, 4)),
        )
        notes += ornament(note, tune.key(degree + 1), part.manner, rng)
    return notes


def ornament(note: Note, upper: int, manner: Manner, rng: np.random.Generator) -> list[Note]:
    """The note; sometimes, if long enough, as a tremolo or trill, or with a grace note or a mordent."""
    if note.duration > 0.4 and rng.random() < manner.tremolo:
        return shake(note, (note.key,), rng.uniform(9, 13))
    if note.duration < 0.25 or rng.random() > manner.trill:
        return [note]
    kind = rng.random()
    if kind < 0.4 and note.duration > 0.4:
        return shake(note, (note.key, upper), rng.uniform(10, 14))
    if kind < 0.6:
        quick = rng.uniform(0.05, 0.08)
        turn = [
            note._replace(time=note.time + i * quick, duration=quick, key=k) for i, k in enumerate((note.key, upper))
        ]
        return [*turn, note._replace(time=note.time + 2 * quick, duration=note.duration - 2 * quick)]
    quick = rng.uniform(0.04, 0.07)
    grace = note._replace(time=note.time - quick, duration=quick, key=upper if kind < 0.85 else note.key - 1)
    return [grace, note]


def shake(note: Note, keys: tuple[int, ...], rate: float) -> list[Note]:
    """The keys in alternation, `rate` per second, for the duration of the note."""
    count = max(2, round(note.duration * rate))
    each = note.duration / count
    return [
        Note(note.time + i * each, each * 0.95, keys[i % len(keys)], note.velocity - (6 if i % 2 else 0))
        for i in range(count)
    ]


def bass_line(part: Part, rng: np.random.Generator) -> list[Note]:
    """Roots, roots and fifths, octaves, a walk from chord to chord, or a riff that moves with the chords."""
    reach = part.tune.degrees(part.low, part.high)
    floor = reach[int(rng.integers(0, 4))]
    beats = part.tune.beats
    kind = str(rng.choice(["roots", "fifths", "octaves", "walk", "riff"]))
    unit = 0.5 if part.beat / 2 >= max(part.manner.shortest, 0.14) and rng.random() < 0.6 else 1.0
    riff = rhythm(part, float(rng.uniform(0.2, 0.6)), rng)
    tones = rng.choice([0, 0, 2, 4, 6, 7], size=len(riff))
    line: list[Written] = []
    for bar in range(part.bars):
        root = floor + (part.tune.root(bar) - floor) % 7
        following = floor + (part.tune.root(bar + 1) - floor) % 7
        if kind == "riff":
            line += [(bar * beats + b, n, root + int(t)) for (b, n), t in zip(riff, tones, strict=True)]
            continue
        unit_now = 1.0 if kind == "walk" else min(2.0, beats / 2) if kind == "fifths" else unit
        count = round(beats / unit_now)
        steps = {"roots": [0] * count, "fifths": [0, 4] * count, "octaves": [0, 7] * count, "walk": [0, 2, 4, 5]}[kind]
        degrees = [root + step for step in steps[:count]]
        if kind == "walk":
            degrees[-1] = following + int(rng.choice([-1, 1]))
        line += [(bar * beats + i * unit_now, unit_now, d) for i, d in enumerate(degrees)]
    return articulate([(b, n, min(max(d, reach[0]), reach[-1])) for b, n, d in line], part, rng)


STRUMS = ("D-DU-UDU", "DUDUDUDU", "D-D-D-DU", "D---D-DU", "D-DUD-DU", "-U-U-U-U", "D-U-D-U-", "D-------")  # eighths
ORDERS = ((0, 1, 2, 3), (3, 2, 1, 0), (0, 1, 2, 1), (0, 2, 1, 3), (0, 3, 2, 3), (0, 2, 3, 1, 2, 3))


def voicings(part: Part, rng: np.random.Generator) -> list[list[int]]:
    """One chord per bar: neighbouring chord tones, as near as possible to the register of the part."""
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
    """Block chords in a repeating rhythm, held or short."""
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
    """Broken chords in a repeating order; plucked or struck notes may ring on."""
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
    """Expression that follows the phrase and long notes; sometimes with more modulation."""
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
    """Slides into notes, and a delayed vibrato on long ones."""
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
    """The pedal: up at the bar line, down again just after it."""
    bars = [part.tune.seconds(bar * part.tune.beats) for bar in range(part.bars)]
    return [c for t in bars for c in (Control(t, PEDAL, 0), Control(t + 0.08, PEDAL, 127))]
