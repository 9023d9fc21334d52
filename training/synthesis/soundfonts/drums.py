"""Drum patterns for the drums alone or the cymbals alone, and a beat played on a kit of single recorded strokes.

A groove has a beat, variations of it, fills and rolls. `kit` assigns unnamed strokes to the parts of a kit: playing
them at random would not be drumming.
"""

from typing import NamedTuple

import numpy as np

from instrec_live.models.arrays import FloatArray
from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.training.synthesis.soundfonts.general_midi import (
    CHINA,
    CLOSED_HAT,
    CRASHES,
    KICKS,
    OPEN_HAT,
    PEDAL_HAT,
    RIDE_BELL,
    RIDES,
    SIDE_STICK,
    SNARES,
    SPLASH,
    TOMS,
)
from instrec_live.training.synthesis.soundfonts.score import Note, Tune, draw_tune

# Sixteenths of a bar of four: X accented, x played, o now and then, . a ghost note now and then. Ride for the cymbals.
STYLES: dict[str, dict[str, str]] = {
    "rock": {
        "kick": "X---o-x-x-o---.-", "snare": "----X--.-.--X--.", "hat": "X-x-X-x-X-x-X-xo", "ride": "X-x-X-x-X-x-X-x-",
    },
    "funk": {
        "kick": "X--x--o---x--o--", "snare": "----X--o-o-.X--o", "hat": "XxxxXxxxXxxxXxxx", "ride": "X-xxX-xxX-xxX-xx",
    },
    "disco": {
        "kick": "X---X---X---X---", "snare": "----X-------X---", "hat": "o-X-o-X-o-X-o-X-", "ride": "--X---X---X---X-",
    },
    "half": {
        "kick": "X-----o---x-----", "snare": ".-----.-X-----.-", "hat": "X-x-x-x-X-x-x-x-", "ride": "X---x---X---x---",
    },
    "swing": {
        "kick": "o---o---o---o-o-", "snare": "--.-x-o---.-x-o-", "hat": "----X-------X---", "ride": "X---X-x-X---X-x-",
    },
    "latin": {
        "kick": "X--xX--xX--xX--x", "snare": "x--x--x---x-x---", "hat": "x-x-x-x-x-x-x-x-", "ride": "X-xx-xx-X-x-xx-x",
    },
    "tribal": {
        "kick": "X---x---X---x-o-", "snare": "--------o-------", "hat": "----x-------x---", "ride": "x-------x-------",
    },
    "march": {
        "kick": "X-------x-------", "snare": "X-xxX-xxXxxxX-o-", "hat": "----x-------x---", "ride": "X-------X-------",
    },
}  # fmt: skip
CHANCE = {"X": 0.98, "x": 0.92, "o": 0.45, ".": 0.3, "-": 0.015}
LOUDNESS = {"X": 108, "x": 86, "o": 74, ".": 40, "-": 50}
RING = {"drums": 0.4, "cymbals": 2.5}  # seconds a stroke is held


Stroke = tuple[float, int, float]  # beat, key, loudness


class Taste(NamedTuple):
    """Choices that stay the same through a phrase."""

    style: str
    kick: int
    snare: int
    ride: int
    rides: bool  # time is kept on the ride, not the hi-hat
    rolls: bool  # the cymbals swell into every fifth bar


def groove(instrument: str, tune: Tune, bars: int, rng: np.random.Generator) -> list[Note]:
    """Notes of a drum kit: only drums (instrument "drums") or only cymbals ("cymbals")."""
    style = str(rng.choice([style for style in STYLES if style != "half" or tune.tempo > 100]))
    taste = Taste(
        style,
        kick=int(rng.choice(KICKS)),
        snare=SIDE_STICK if style in ("latin", "half") and rng.random() < 0.4 else int(rng.choice(SNARES)),
        ride=int(rng.choice(RIDES)),
        rides=style in ("swing", "latin", "march") or rng.random() < 0.3,
        rolls=rng.random() < 0.2,
    )
    level = rng.uniform(0.65, 1.1)
    write = drums if instrument == "drums" else cymbals
    strokes = [stroke for bar in range(bars) for stroke in write(taste, tune, bar, bars, rng)]
    return [
        Note(tune.seconds(beat) + rng.normal(0, 0.006), RING[instrument], key, round(loud * level + rng.normal(0, 5)))
        for beat, key, loud in strokes
    ]


def row(pattern: str, key: int, tune: Tune, bar: int, rng: np.random.Generator) -> list[Stroke]:
    """The strokes on one key of the kit in one bar."""
    first = bar * tune.beats
    return [
        (first + i / 4, key, LOUDNESS[c]) for i, c in enumerate(pattern[: 4 * tune.beats]) if rng.random() < CHANCE[c]
    ]


def drums(taste: Taste, tune: Tune, bar: int, bars: int, rng: np.random.Generator) -> list[Stroke]:
    """One bar of kick, snare and toms; mostly a fill at the end of every fourth."""
    pattern = STYLES[taste.style]
    strokes = row(pattern["kick"], taste.kick, tune, bar, rng) + row(pattern["snare"], taste.snare, tune, bar, rng)
    if taste.style == "tribal":
        strokes += row("x-xxo-x-x-xox-x-", TOMS[2 + bar % 3], tune, bar, rng)
    if not (bar % 4 == 3 or bar == bars - 1) or rng.random() < 0.2:
        return strokes
    length = float(rng.choice([1, 2, tune.beats]))
    begin = (bar + 1) * tune.beats - length
    return [s for s in strokes if s[0] < begin or s[1] == taste.kick] + fill(begin, length, tune, rng)


def fill(begin: float, length: float, tune: Tune, rng: np.random.Generator) -> list[Stroke]:
    """Down the toms, or a roll on the snare, growing louder."""
    unit = float(rng.choice([0.5, 0.25, 1 / 3, 0.125], p=[0.2, 0.5, 0.2, 0.1]))
    if unit * 60 / tune.tempo < 0.06:
        unit *= 2
    count = round(length / unit)
    keys = [SNARES[0], *TOMS] if rng.random() < 0.75 else [SNARES[0]]
    down = np.sort(rng.integers(0, len(keys), count))
    return [(begin + i * unit, keys[k], 70 + 35 * i / count + 8 * (i % 2 == 0)) for i, k in enumerate(down)]


def cymbals(taste: Taste, tune: Tune, bar: int, bars: int, rng: np.random.Generator) -> list[Stroke]:
    """One bar of hi-hat or ride, with crashes where phrases begin."""
    first = bar * tune.beats
    if taste.rolls and bar % 4 == 3:
        count = tune.beats * 4
        return [(first + i / 4, CRASHES[0], 30 + 65 * i / count) for i in range(count)]
    if taste.rides:
        strokes = row(STYLES[taste.style]["ride"], taste.ride, tune, bar, rng)
        strokes = [(b, RIDE_BELL if loud > 100 and rng.random() < 0.15 else k, loud) for b, k, loud in strokes]
        strokes += [(first + b, PEDAL_HAT, 70.0) for b in range(1, tune.beats, 2)]
    else:
        opens = 0.9 if taste.style == "disco" else 0.12
        strokes = [
            (b, OPEN_HAT if b % 1 == 0.5 and rng.random() < opens else k, loud)
            for b, k, loud in row(STYLES[taste.style]["hat"], CLOSED_HAT, tune, bar, rng)
        ]
    if bar % 4 == 0 and rng.random() < 0.8:
        strokes.append((first, CRASHES[bar // 4 % 2], 105.0))
    if bar % 4 == 3 and rng.random() < 0.35:
        strokes.append((first + tune.beats - 1, int(rng.choice([SPLASH, CHINA, CRASHES[1]])), 90.0))
    return strokes


# Keys of a kit, in the order in which strokes are handed out to them: drums from dark to bright, cymbals from short to
# long.
ORDER: dict[str, tuple[tuple[int, ...], ...]] = {
    "drums": (KICKS, TOMS[::-1], (SIDE_STICK, *SNARES)),
    "cymbals": ((CLOSED_HAT, PEDAL_HAT), (OPEN_HAT, RIDE_BELL, *RIDES), (*CRASHES, CHINA, SPLASH)),
}
ALIKE = 3  # strokes that one key takes turns with: no drummer hits twice the same


def kit(strokes: list[FloatArray], instrument: str, rng: np.random.Generator) -> dict[int, list[FloatArray]]:
    """Assign strokes to the keys of a kit.

    Args:
        strokes: float32 arrays at 32 kHz, in an order in which neighbours are alike.
        instrument: "drums" or "cymbals".
    """
    nature = _centroid if instrument == "drums" else len
    ranked = np.argsort([nature(stroke) for stroke in strokes], kind="stable")
    thirds = np.array_split(ranked, 3)
    sounding: dict[int, list[FloatArray]] = {}
    for keys, third in zip(ORDER[instrument], thirds, strict=True):
        members = np.sort(third if len(third) else ranked)  # back to the order of neighbours
        for key in keys:
            first = int(rng.integers(len(members)))
            sounding[key] = [strokes[i] for i in members[first : first + ALIKE]]
    return sounding


def _centroid(stroke: FloatArray) -> float:
    """Hz."""
    power = np.square(np.abs(np.fft.rfft(stroke[: SAMPLE_RATE // 4])))
    return float((power * np.fft.rfftfreq(min(len(stroke), SAMPLE_RATE // 4), 1 / SAMPLE_RATE)).sum() / power.sum())


def beat(strokes: list[FloatArray], instrument: str, samples: int, rng: np.random.Generator) -> FloatArray:
    """A groove played on such a kit, float32 [samples] at 32 kHz."""
    sounding, tune = kit(strokes, instrument, rng), draw_tune(rng)
    out = np.zeros(samples, np.float32)
    bars = int(np.ceil(samples / SAMPLE_RATE / tune.seconds(tune.beats)))
    for note in groove(instrument, tune, bars, rng):
        start = max(0, round(note.time * SAMPLE_RATE))
        choices = sounding[note.key]
        stroke = choices[int(rng.integers(len(choices)))][: max(0, samples - start)]
        out[start : start + len(stroke)] += stroke * np.float32((max(note.velocity, 1) / 100) ** 2)
    return out
