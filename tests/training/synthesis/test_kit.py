"""Strokes become a drum kit, and a kit plays beats."""

import numpy as np
import pytest

from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.training.synthesis.soundfonts.drums import ORDER, beat, kit
from instrec_live.training.synthesis.soundfonts.general_midi import CLOSED_HAT, CRASHES, KICKS, SNARES


def stroke(hertz: float, seconds: float) -> np.ndarray:
    at = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (np.sin(2 * np.pi * hertz * at) * np.exp(-5 * at / seconds)).astype(np.float32)


def test_dark_strokes_are_kicks_and_bright_ones_snares() -> None:
    strokes = [stroke(hertz, 0.2) for hertz in (3000, 60, 400, 65, 2500, 420, 70, 2800, 380)]
    for seed in range(20):
        sounding = kit(strokes, "drums", np.random.default_rng(seed))
        assert set(sounding) == {key for keys in ORDER["drums"] for key in keys}
        assert all(any(s is strokes[i] for i in (1, 3, 6)) for key in KICKS for s in sounding[key])
        assert all(any(s is strokes[i] for i in (0, 4, 7)) for key in SNARES for s in sounding[key])


def test_short_strokes_are_hi_hats_and_long_ones_crashes() -> None:
    strokes = [stroke(6000, seconds) for seconds in (3.0, 0.1, 1.0)]
    sounding = kit(strokes, "cymbals", np.random.default_rng(0))
    assert [len(s) for s in sounding[CLOSED_HAT]] == [SAMPLE_RATE // 10]
    assert [len(s) for key in CRASHES for s in sounding[key]] == [3 * SAMPLE_RATE] * 2


@pytest.mark.parametrize("instrument", ["drums", "cymbals"])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_beat_continues_to_the_end(instrument: str, count: int) -> None:
    strokes = [stroke(100 * (i + 1), 0.15) for i in range(count)]
    for seed in range(8):
        out = beat(strokes, instrument, 6 * SAMPLE_RATE, np.random.default_rng(seed))
        assert (out.shape, out.dtype) == ((6 * SAMPLE_RATE,), np.float32)
        np.testing.assert_array_equal(out, beat(strokes, instrument, 6 * SAMPLE_RATE, np.random.default_rng(seed)))
        loud = np.abs(out).reshape(-1, SAMPLE_RATE * 3).max(1)
        assert (loud > 0.05).all()
