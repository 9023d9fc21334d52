"""Calm answers that do not depend on how often they are asked for."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instrec_live.models.calibration import logit, sigmoid
from instrec_live.realtime.smoothing import (
    Hysteresis,
    LogitEma,
    SilenceGate,
    Smoother,
    Smoothing,
    live_thresholds,
)

HOPS = st.sampled_from([0.1, 0.25, 0.37, 0.5, 1.0, 2.0])
LOGITS = st.lists(st.floats(-12, 12), min_size=1, max_size=60)


def test_sigmoid_and_logit_are_inverse_and_never_overflow() -> None:
    p = np.array([1e-4, 0.2, 0.5, 0.9999])
    np.testing.assert_allclose(sigmoid(logit(p)), p, rtol=1e-5)
    assert sigmoid(np.array([-1e6, 1e6])).tolist() == [0.0, 1.0]


@given(target=st.floats(-10, 10), tau=st.floats(0.05, 5))
def test_the_average_of_a_step_is_the_same_for_every_hop(target: float, tau: float) -> None:
    ends = []
    for hop in (0.25, 0.5, 1.0):
        ema = LogitEma(tau, 2 * tau)
        ema.step(np.zeros(1), hop)
        for _ in range(round(4 / hop)):
            ema.step(np.array([target]), hop)
        assert ema.value is not None
        ends.append(ema.value[0])
    np.testing.assert_allclose(ends, ends[0], atol=1e-9)
    assert ends[0] == pytest.approx(target * (1 - np.exp(-4 / (tau if target > 0 else 2 * tau))), abs=1e-9)


@given(targets=LOGITS, hop=HOPS)
def test_the_average_stays_between_the_extremes_it_has_seen(targets: list[float], hop: float) -> None:
    ema = LogitEma(0.4, 0.8)
    for target in targets:
        value = ema.step(np.array([target]), hop)
    assert min(targets) - 1e-9 <= value[0] <= max(targets) + 1e-9


@given(logits=LOGITS, hop=HOPS, threshold=st.floats(0.05, 0.95))
def test_nothing_switches_on_below_its_threshold_nor_off_above_its_margin(
    logits: list[float], hop: float, threshold: float
) -> None:
    smoothing = Smoothing()
    hysteresis = Hysteresis(np.array([threshold]), smoothing)
    edge = logit(np.array([threshold]))[0]
    before = False
    for z in logits:
        now = bool(hysteresis.step(np.array([z]), hop)[0])
        if now and not before:
            assert z >= edge
        if before and not now:
            assert z < edge - smoothing.off_margin
        before = now


@given(wobble=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=50), hop=HOPS, on=st.booleans())
def test_within_the_margin_nothing_toggles(wobble: list[float], hop: float, on: bool) -> None:
    smoothing = Smoothing()
    hysteresis = Hysteresis(np.array([0.5]), smoothing)
    if on:
        for _ in range(20):
            hysteresis.step(np.array([5.0]), 0.5)
    assert bool(hysteresis.active[0]) is on
    for share in wobble:  # from just below the threshold to just above the lower edge
        hysteresis.step(np.array([-1e-9 - share * (smoothing.off_margin - 1e-6)]), hop)
        assert bool(hysteresis.active[0]) is on


@pytest.mark.parametrize("hop", [0.1, 0.25, 0.5, 1.0])
def test_switching_takes_as_long_at_every_hop(hop: float) -> None:
    smoothing = Smoothing(on_seconds=1.0, off_seconds=2.0, min_on_seconds=0.0, min_off_seconds=0.0)
    hysteresis = Hysteresis(np.array([0.5]), smoothing)

    def seconds_until(state: bool, z: float) -> float:
        for count in range(1, 1000):
            if bool(hysteresis.step(np.array([z]), hop)[0]) is state:
                return count * hop
        raise AssertionError("never switched")

    assert seconds_until(True, 3.0) == pytest.approx(1.0)
    assert seconds_until(False, -3.0) == pytest.approx(2.0)


@given(logits=LOGITS, hop=HOPS)
@settings(max_examples=50)
def test_times_on_and_off_have_their_shortest_length(logits: list[float], hop: float) -> None:
    smoothing = Smoothing(on_seconds=0.0, off_seconds=0.0, min_on_seconds=1.5, min_off_seconds=1.0)
    hysteresis = Hysteresis(np.array([0.5]), smoothing)
    time, switched, before = 0.0, -np.inf, False
    for z in logits:
        time += hop
        now = bool(hysteresis.step(np.array([z]), hop)[0])
        if now is not before:
            assert time - switched >= (1.0 if now else 1.5) - 1e-5
            switched, before = time, now


def test_the_gate_is_closed_at_first_and_opens_at_once_but_closes_after_a_second() -> None:
    gate = SilenceGate(-60.0, 1.0)
    assert gate.step(-90.0, 0.25)
    assert not gate.step(-20.0, 0.25)
    assert [gate.step(-90.0, 0.25) for _ in range(4)] == [False, False, False, True]


@given(loud=st.floats(-8, 8), hop=HOPS)
def test_silence_decays_monotonically_and_leaves_nothing_active(loud: float, hop: float) -> None:
    smoother = Smoother(np.full(20, 0.5), Smoothing())
    for _ in range(10):
        p, _ = smoother.step({"": np.full(20, loud, np.float32)}, hop)
    last = p[""]
    for _ in range(30):
        p, active = smoother.silence(("",), hop)
        assert not active.any()
        assert (p[""] <= last).all()
        last = p[""]
    if hop >= 0.5:
        assert (last <= sigmoid(np.array(-4.99))).all()


def test_after_silence_the_past_is_forgotten() -> None:
    smoother = Smoother(np.full(20, 0.5), Smoothing(on_seconds=0.5))
    smoother.silence(("",), 0.5)
    p, active = smoother.step({"": np.full(20, 2.0, np.float32)}, 0.5)
    np.testing.assert_allclose(p[""], sigmoid(np.array(2.0)), rtol=1e-6)
    assert active.all()


@pytest.mark.parametrize(
    "wrong", [{"long_weight": 1.5}, {"tau_up": -1.0}, {"off_margin": float("nan")}, {"short_seconds": 1.0}]
)
def test_senseless_parameters_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Smoothing(**wrong)


def test_one_factor_scales_all_times_and_nothing_else() -> None:
    plain = Smoothing(short_seconds=3.0, quiet_seconds=0.7)
    assert plain.scaled(1.0) == plain
    double = plain.scaled(2.0)
    times = {"tau_up", "tau_down", "on_seconds", "off_seconds", "min_on_seconds", "min_off_seconds"}
    for name, value in asdict(plain).items():
        assert getattr(double, name) == (2 * value if name in times else value), name
    assert plain == Smoothing(short_seconds=3.0, quiet_seconds=0.7)  # pure


@given(logits=st.lists(st.floats(-8, 8), min_size=1, max_size=20), hop=HOPS)
def test_without_smoothing_the_raw_networks_are_shown(logits: list[float], hop: float) -> None:
    smoother = Smoother(np.full(20, 0.5), Smoothing().scaled(0.0))
    for z in logits:
        raw = np.full(20, z, np.float32)
        p, active = smoother.step({"": raw}, hop)
        np.testing.assert_array_equal(p[""], sigmoid(raw.astype(np.float64)))
        if z > 0:
            assert active.all()
        if z < -Smoothing().off_margin:
            assert not active.any()


@pytest.mark.parametrize("factor", [-0.1, float("nan"), float("inf")])
def test_senseless_factors_are_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="factor"):
        Smoothing().scaled(factor)


def test_a_stream_asks_for_more_than_a_clip() -> None:
    thresholds = np.array([0.1, 0.5, 0.9])
    raised = live_thresholds(thresholds, Smoothing(live_margin=1.0))
    np.testing.assert_allclose(logit(raised) - logit(thresholds), 1.0, atol=1e-5)
    np.testing.assert_allclose(live_thresholds(thresholds, Smoothing(live_margin=0.0)), thresholds, rtol=1e-6)
