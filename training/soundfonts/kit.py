"""A drum kit put together out of single strokes, and a beat played on it: hits that nobody has named, walked through at
random, are no drumming.
"""

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.training.soundfonts.general_midi import (
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
from instrec_live.training.soundfonts.groove import groove
from instrec_live.training.soundfonts.score import draw_tune

FloatArray = NDArray[np.float32]

# Keys of a kit, in the order in which strokes are handed out to them: drums from dark to bright, cymbals from short to
# long.
ORDER: dict[str, tuple[tuple[int, ...], ...]] = {
    "drums": (KICKS, TOMS[::-1], (SIDE_STICK, *SNARES)),
    "cymbals": ((CLOSED_HAT, PEDAL_HAT), (OPEN_HAT, RIDE_BELL, *RIDES), (*CRASHES, CHINA, SPLASH)),
}
ALIKE = 3  # strokes that one key takes turns with: no drummer hits twice the same


def kit(strokes: list[FloatArray], instrument: str, rng: np.random.Generator) -> dict[int, list[FloatArray]]:
    """Which strokes sound on which key.

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
