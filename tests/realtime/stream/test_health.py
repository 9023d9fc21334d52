"""Level, lateness, state word."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.stream import health
from instrec_live.realtime.stream.update import CaptureStats, State


def test_levels_of_known_signals() -> None:
    t = np.arange(32_000) / 32_000
    sine = (0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    assert health.level_db(sine) == pytest.approx(-9.03, abs=0.01)
    assert health.peak_db(sine) == pytest.approx(-6.02, abs=0.01)
    for nothing in (np.zeros(320, np.float32), np.zeros(0, np.float32), np.full(320, 1e-7, np.float32)):
        assert health.level_db(nothing) == health.peak_db(nothing) == -120.0


@pytest.mark.parametrize("offset", [0.5, -0.01, 1e-3])
def test_an_offset_has_a_peak_and_no_level(offset: float) -> None:
    noise = (1e-4 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)
    plain = health.level_db(noise)
    assert health.level_db(noise + np.float32(offset)) == pytest.approx(plain, abs=0.01)
    assert health.level_db(np.full(16_000, offset, np.float32)) == -120.0
    assert health.peak_db(np.full(16_000, offset, np.float32)) == pytest.approx(20 * np.log10(abs(offset)), abs=1e-4)


@pytest.mark.parametrize("amplitude", [1e-5, 1.0, 2.0, 1e30, float(np.finfo(np.float32).max)])
def test_a_square_wave_is_as_loud_as_its_peak_however_loud(amplitude: float) -> None:
    """Samples in float may be anything; their squares must not overflow."""
    wave = np.float32(amplitude) * np.resize(np.array([1, -1], np.float32), 320)
    assert health.level_db(wave) == pytest.approx(20 * np.log10(amplitude), abs=1e-4)
    assert health.peak_db(-wave) == pytest.approx(20 * np.log10(amplitude), abs=1e-4)


def test_lateness_forgets_after_a_minute() -> None:
    skip_counter = health.SkipCounter()
    for second in range(20):
        skip_counter.note(float(second), skipped=1)
    assert skip_counter.fraction == pytest.approx(0.5)
    for second in range(20, 100):
        skip_counter.note(float(second), skipped=0)
    assert skip_counter.fraction == 0.0
    assert skip_counter.skipped == 20


@given(notes=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), min_size=1, max_size=60))
def test_lateness_is_what_the_updates_of_the_last_60_seconds_say(notes: list[tuple[int, int]]) -> None:
    skip_counter = health.SkipCounter()
    assert (skip_counter.skipped, skip_counter.fraction) == (0, 0.0)
    made: list[tuple[float, int]] = []
    for pause, skipped in notes:
        made.append((made[-1][0] + pause if made else 0.0, skipped))
        skip_counter.note(*made[-1])
        recent = [count for time, count in made if time > made[-1][0] - 60]
        assert skip_counter.skipped == sum(count for _, count in made)
        assert skip_counter.fraction == pytest.approx(sum(recent) / max(10, len(recent) + sum(recent)))


def test_one_slow_first_window_is_no_trend() -> None:
    skip_counter = health.SkipCounter()
    skip_counter.note(0.5, skipped=1)
    assert skip_counter.fraction <= health.LATE_FRACTION
    skip_counter.note(1.5, skipped=1)
    assert skip_counter.fraction > health.LATE_FRACTION


@pytest.mark.parametrize(
    ("quiet", "skipped", "filled", "word"),
    [
        (True, 0.5, 3.0, State.QUIET),
        (False, 0.5, 3.0, State.CATCHING_UP),
        (False, 0.1, 9.9, State.WARMING),
        (False, 0.0, 10.0, State.OK),
    ],
)
def test_the_state_word(quiet: bool, skipped: float, filled: float, word: State) -> None:
    assert health.state(quiet, skipped, filled, 10.0) is word


def test_of_a_lost_device_nothing_is_analysed() -> None:
    update = health.device_lost(12.5, ("passt", "cbam_cnn"), CaptureStats(age_s=3.0))
    assert (update.state, update.time, update.age_s) == (State.DEVICE_LOST, 12.5, 3.0)
    assert list(update.by_model) == ["passt", "cbam_cnn"]
    for probabilities in (update.probabilities, *update.by_model.values()):
        assert (probabilities.shape, probabilities.dtype) == ((len(INSTRUMENTS),), np.float32)
        assert not probabilities.any()
    assert update.active == ()
    assert (update.level_db, update.peak_db) == (-120.0, -120.0)
    counts = (update.filled_s, update.inference_s, update.skipped, update.xruns, update.bad_samples)
    assert counts == (0, 0, 0, 0, 0)
    taught = health.device_lost(12.5, ("oud",), CaptureStats(), instruments=(*INSTRUMENTS, "oud"))
    assert taught.instruments == (*INSTRUMENTS, "oud")
    assert taught.by_model["oud"].shape == taught.probabilities.shape == (len(INSTRUMENTS) + 1,)


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (State.OK, ""),
        (State.ENDED, ""),
        (State.WARMING, "4 of 10 s of sound so far: results are still rough"),
        (State.QUIET, "too quiet to judge (-71 dB); is --gate too high?"),
        (State.CATCHING_UP, "too slow: use fewer --models or a longer --hop"),
        (State.DEVICE_LOST, "no sound from the device; reconnecting. Is it unplugged?"),
    ],
)
def test_a_state_is_explained_in_a_short_line(state: State, line: str) -> None:
    update = replace(health.device_lost(0.0, (), CaptureStats()), state=state, filled_s=4.8, level_db=-71.4)
    assert health.reason(update) == line
    assert len(line) <= 60


@pytest.mark.parametrize("state", State)
def test_lost_sound_explains_what_nothing_else_does_and_zeros_come_before_all(state: State) -> None:
    update = replace(health.device_lost(0.0, (), CaptureStats()), state=state)
    gap = "sound was lost in the last 10 s: results may be wrong"
    assert health.reason(replace(update, gap=True)) == (health.reason(update) or gap)
    zeros = "receiving only zeros: is the microphone muted or blocked?"
    assert health.reason(replace(update, gap=True, no_signal=True)) == zeros
    assert max(len(gap), len(zeros)) <= 60
