"""Single lines: melodies of motifs that come back, and the lines that a bass plays."""

from collections.abc import Sequence

import numpy as np

from instrec_live.training.soundfonts.manner import Manner, Part
from instrec_live.training.soundfonts.score import Note

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
    """Turned back at the ends of the window."""
    index %= max(1, 2 * (width - 1))
    return min(index, 2 * (width - 1) - index)


def at_rest(window: Sequence[int], here: int, root: int) -> int:
    """The index of the nearest degree that belongs to the chord."""
    return min((i for i, d in enumerate(window) if (d - root) % 7 in (0, 2, 4)), key=lambda i: abs(i - here))


def articulate(line: Sequence[Written], part: Part, rng: np.random.Generator) -> list[Note]:
    """From written to played: touch, the arc of a phrase's loudness, accents, human error, ornaments."""
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
    """The note; or now and then, where it is long enough, repeated fast, trilled, or with a grace note or a mordent."""
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
    """The keys in turn, `rate` a second, for as long as the note."""
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
