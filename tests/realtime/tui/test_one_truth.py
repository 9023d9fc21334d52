"""Number, bar, mark and state of a row are of one quantity: over the demo and three concerts, with real networks."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from screen_truth import longest_above, rows_drawn, sounds

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.stream.activity import Activity, Decision, off_threshold
from instrec_live.realtime.stream.smoothing import Smoothing
from instrec_live.realtime.stream.update import State
from instrec_live.realtime.tui.drawing import UNICODE
from instrec_live.realtime.tui.rows import columns, row_runs

CELLS = columns(120, 3)
STEP = 1 / (8 * CELLS.bar)  # the bar's resolution
SOUNDING = (Activity.ON, Activity.HELD)
SIGNS = {Activity.ON: "▸", Activity.HELD: "▹", Activity.LEAVING: "◃", Activity.OFF: " "}
probability = st.floats(0.001, 0.999)


@pytest.mark.parametrize("name", ["demo", "three at a time", "with rests", "swelling"])
def test_no_row_contradicts_itself(name):
    samples, rate = next((samples, rate) for each, samples, rate in sounds() if each == name)
    above, leaving = defaultdict(float), defaultdict(float)
    rule = Smoothing()
    shown = 0
    for update, info, since, row in rows_drawn(samples, rate):
        p = float(update.probabilities[INSTRUMENTS.index(row.name)])
        assert row.activity is Activity.OFF or row.name in update.active
        if row.activity in SOUNDING:
            assert row.value >= row.mark - STEP
            assert p >= row.mark - 1e-6
            shown += 1
        elif row.activity is Activity.LEAVING:
            assert row.value <= row.mark + STEP
        if row.activity is Activity.ON:
            assert row.value >= row.threshold - STEP
        if since == float("inf"):
            entering = row.activity is Activity.OFF and p >= row.threshold and update.state is not State.QUIET
            above[row.name] = above[row.name] + info.hop if entering else 0.0
            assert above[row.name] <= longest_above()
            leaving[row.name] = leaving[row.name] + info.hop if row.activity is Activity.LEAVING else 0.0
            others = rule.off_seconds_per_other * max(0, len(update.active) - 1)
            assert leaving[row.name] <= max(rule.min_on_seconds, rule.off_seconds + others + info.hop)
    assert shown > 0


@given(probability, st.booleans(), probability, st.floats(0, 5))
def test_what_is_drawn_follows_from_the_decision_alone(p, active, on_at, margin):
    decision = Decision.of(p, active, on_at, off_threshold(on_at, margin))
    assert decision.off_below <= on_at + 1e-9
    assert decision.sounds == (active and p >= decision.off_below)
    assert decision.mark == (decision.off_below if active and p < on_at else on_at)
    assert not decision.sounds or p >= decision.mark
    assert (decision.activity is Activity.ON) == (active and p >= on_at)
    assert (decision.activity is Activity.OFF) == (not active)


def test_each_state_has_its_own_sign():
    samples, rate = next((samples, rate) for each, samples, rate in sounds() if each == "swelling")
    seen = set()
    for _, _, since, row in rows_drawn(samples, rate):
        if since == float("inf") and row.activity not in seen:
            seen.add(row.activity)
            assert "".join(text for _, text in row_runs(row, CELLS, UNICODE))[1] == SIGNS[row.activity]
    assert {Activity.ON, Activity.OFF} <= seen
