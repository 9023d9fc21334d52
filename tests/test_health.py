"""Level, lateness, state word."""

import numpy as np
import pytest

from instrec_live.realtime import health
from instrec_live.realtime.update import State


def test_levels_of_known_signals() -> None:
    t = np.arange(32_000) / 32_000
    sine = (0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    assert health.level_db(sine) == pytest.approx(-9.03, abs=0.01)
    assert health.peak_db(sine) == pytest.approx(-6.02, abs=0.01)
    for nothing in (np.zeros(320, np.float32), np.zeros(0, np.float32)):
        assert health.level_db(nothing) == health.peak_db(nothing) == -120.0


def test_lateness_forgets_after_a_minute() -> None:
    lateness = health.Lateness()
    for second in range(20):
        lateness.note(float(second), skipped=1)
    assert lateness.fraction == pytest.approx(0.5)
    for second in range(20, 100):
        lateness.note(float(second), skipped=0)
    assert lateness.fraction == 0.0
    assert lateness.skipped == 20


def test_one_slow_first_window_is_no_trend() -> None:
    lateness = health.Lateness()
    lateness.note(0.5, skipped=1)
    assert lateness.fraction <= health.LATE_FRACTION
    lateness.note(1.5, skipped=1)
    assert lateness.fraction > health.LATE_FRACTION


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
