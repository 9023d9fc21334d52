"""Calm answers that do not depend on how often they are asked for."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instrec_live.models.calibration import logit, sigmoid
from instrec_live.models.errors import UsageError
from instrec_live.realtime.stream.activity import off_threshold
from instrec_live.realtime.stream.smoothing import (
    Hysteresis,
    LogitEma,
    SilenceGate,
    Smoother,
    Smoothing,
    by_instrument,
    live_thresholds,
    merged_thresholds,
)

HOPS = st.sampled_from([0.1, 0.25, 0.37, 0.5, 1.0, 2.0])
LOGITS = st.lists(st.floats(-12, 12), min_size=1, max_size=60)


def test_sigmoid_and_logit_are_inverse_and_never_overflow() -> None:
    p = np.array([1e-4, 0.2, 0.5, 0.9999])
    np.testing.assert_allclose(sigmoid(logit(p)), p, rtol=1e-5)
    assert sigmoid(np.array([-1e6, 1e6])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("wanted", [1e-50, 1e-6, 0.99999999])
def test_a_threshold_next_to_0_or_1_stays_between_them(wanted: float) -> None:
    for on_at in merged_thresholds(np.full(20, 0.5, np.float32), wanted).tolist():
        assert 0 < off_threshold(on_at, 1.6) < on_at < 1
        assert on_at == pytest.approx(wanted, abs=1.1e-6)


def test_thresholds_are_the_models_own_unless_others_are_wanted() -> None:
    own = np.linspace(0.2, 0.6, 3)
    names = ("oud", "ney", "kanun")
    assert by_instrument(own, names) == {"oud": 0.2, "ney": 0.4, "kanun": 0.6}
    with pytest.raises(ValueError, match="shorter"):
        by_instrument(own[:2], names)  # type: ignore[arg-type]
    kept = merged_thresholds(own, None, names)  # type: ignore[arg-type]
    assert kept.dtype == np.float32
    np.testing.assert_allclose(kept, own, rtol=1e-6)
    np.testing.assert_allclose(merged_thresholds(kept, {"ney": 0.9}, names), [0.2, 0.9, 0.6], rtol=1e-6)
    np.testing.assert_allclose(merged_thresholds(kept, 0.9, names), [0.9] * 3, rtol=1e-6)
    with pytest.raises(UsageError) as error:
        merged_thresholds(kept, {"saz": 0.5}, names)
    assert str(error.value) == "there is no instrument 'saz' — they are oud, ney, kanun"
    np.testing.assert_allclose(merged_thresholds(kept, {"Ney": 0.9}, names), [0.2, 0.9, 0.6], rtol=1e-6)
    with pytest.raises(UsageError, match="ney has two thresholds"):
        merged_thresholds(kept, {"ney": 0.9, "Ney": 0.5}, names)
    for wrong in (0.0, 1.0, 1.5, -0.1, float("nan")):
        with pytest.raises(UsageError, match=f"the threshold of ney must lie between 0 and 1, not {wrong:g}"):
            merged_thresholds(kept, {"ney": wrong}, names)


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


def test_on_at_the_threshold_itself_and_not_off_at_the_lower_edge_itself() -> None:
    smoothing = Smoothing(on_seconds=0.0, off_seconds=0.0, min_on_seconds=0.0, min_off_seconds=0.0, off_margin=0.4)
    hysteresis = Hysteresis(np.array([0.5]), smoothing)
    stays = [(-1e-9, False), (0.0, True), (-0.4, True), (np.nextafter(-0.4, -1.0), False)]
    assert [(z, bool(hysteresis.step(np.array([z]), 0.5)[0])) for z, _ in stays] == stays


def seconds_until(hysteresis: Hysteresis, state: bool, z: float, hop: float) -> float:
    for count in range(1, 1000):
        if bool(hysteresis.step(np.array([z]), hop)[0]) is state:
            return count * hop
    raise AssertionError("never switched")


@pytest.mark.parametrize("hop", [0.1, 0.25, 0.5, 1.0])
def test_switching_takes_as_long_at_every_hop(hop: float) -> None:
    smoothing = Smoothing(on_seconds=1.0, off_seconds=2.0, min_on_seconds=0.0, min_off_seconds=0.0)
    hysteresis = Hysteresis(np.array([0.5]), smoothing)
    assert seconds_until(hysteresis, True, 3.0, hop) == pytest.approx(1.0)
    assert seconds_until(hysteresis, False, -3.0, hop) == pytest.approx(2.0)


@pytest.mark.parametrize("hop", [0.1, 0.25, 0.5, 1.0])
def test_the_shortest_times_last_as_long_at_every_hop(hop: float) -> None:
    smoothing = Smoothing(on_seconds=0.0, off_seconds=0.0, min_on_seconds=1.0, min_off_seconds=2.0)
    hysteresis = Hysteresis(np.array([0.5]), smoothing)
    assert seconds_until(hysteresis, True, 3.0, hop) == hop  # there was no time on before it
    assert seconds_until(hysteresis, False, -3.0, hop) == pytest.approx(1.0)
    assert seconds_until(hysteresis, True, 3.0, hop) == pytest.approx(2.0)


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


def test_the_gate_takes_its_own_level_for_sound() -> None:
    gate = SilenceGate(-60.0, 0.0)
    assert not gate.step(-60.0, 0.25)
    assert gate.step(-60.01, 0.25)


def test_after_silence_the_past_is_forgotten() -> None:
    smoother = Smoother(np.full(20, 0.5), Smoothing(on_seconds=0.5))
    smoother.silence(("",), 0.5)
    p, active = smoother.step({"": np.full(20, 2.0, np.float32)}, 0.5)
    np.testing.assert_allclose(p[""], sigmoid(np.array(2.0)), rtol=1e-6)
    assert active.all()


def test_smoothing_is_the_same_after_silence() -> None:
    slow = Smoothing(tau_up=0.5, tau_down=1.0, min_off_seconds=0.0)
    fresh, used = (Smoother(np.full(20, 0.5), slow) for _ in range(2))
    used.step({"": np.full(20, 7.0)}, 2.0)
    used.silence(("",), 0.5)
    for z in (3.0, -3.0, 1.0, -0.5):
        expected, who = fresh.step({"": np.full(20, z)}, 0.1)
        p, active = used.step({"": np.full(20, z)}, 0.1)
        np.testing.assert_array_equal(p[""], expected[""])
        np.testing.assert_array_equal(active, who)


def test_silence_falls_from_what_came_before_and_never_rises() -> None:
    smoothing = Smoothing(tau_up=0.5, tau_down=1.0, quiet_logit=-5.0)
    smoother = Smoother(np.full(20, 0.5), smoothing)
    smoother.step({"": np.full(20, 3.0), "low": np.full(20, -9.0)}, 0.5)
    p, _ = smoother.silence(("", "low", "new"), 0.5)
    np.testing.assert_allclose(p[""], sigmoid(-5.0 + 8.0 * np.exp(-0.5)), rtol=1e-6)
    np.testing.assert_allclose(p["low"], sigmoid(-9.0), rtol=1e-6)
    np.testing.assert_allclose(p["new"], sigmoid(-5.0), rtol=1e-6)
    assert p[""].shape == p["new"].shape == (20,)


def test_silence_ends_what_was_about_to_switch_on() -> None:
    smoothing = Smoothing(on_seconds=1.0, min_off_seconds=0.0)
    hysteresis = Hysteresis(np.array([0.5]), smoothing)
    loud = np.array([5.0])
    assert not hysteresis.step(loud, 0.5)[0]
    assert not hysteresis.silence(0.5)[0]
    assert not hysteresis.step(loud, 0.5)[0]
    assert hysteresis.step(loud, 0.5)[0]


def test_a_silence_counts_as_time_off() -> None:
    smoother = Smoother(np.full(20, 0.5), Smoothing(on_seconds=0.5, min_off_seconds=1.0))
    loud = {"": np.full(20, 5.0)}
    assert smoother.step(loud, 0.5)[1].all()
    for _ in range(3):  # the first switches off
        smoother.silence(("",), 0.5)
    assert smoother.step(loud, 0.5)[1].all()
    smoother.silence(("",), 0.5)
    assert not smoother.step(loud, 0.5)[1].any()  # too short a time off


def test_other_thresholds_count_from_the_next_step_on() -> None:
    smoothing = replace(Smoothing().scaled(0.0), off_margin=0.4)
    smoother = Smoother(np.full(20, 0.5), smoothing)
    between = {"": np.full(20, logit(np.array(0.7)))}
    assert smoother.step(between, 1.0)[1].all()
    smoother.set_thresholds(np.array([0.9, *[0.5] * 19]))
    assert smoother.step(between, 1.0)[1].tolist() == [False] + [True] * 19


def test_each_other_instrument_that_is_on_makes_the_wait_longer() -> None:
    smoothing = replace(Smoothing().scaled(0.0), off_seconds=1.0, off_seconds_per_other=0.5)
    for others, updates in ((0, 2), (1, 3), (3, 5)):
        hysteresis = Hysteresis(np.full(4, 0.5), smoothing)
        on, rest = np.full(4, 5.0), np.full(4, 5.0)
        on[1 + others :] = rest[1 + others :] = -9.0
        rest[0] = -9.0
        assert hysteresis.step(on, 0.5).sum() == 1 + others
        went = [not hysteresis.step(rest, 0.5)[0] for _ in range(updates)]
        assert went == [False] * (updates - 1) + [True]


@pytest.mark.parametrize(("others", "height", "updates"), [(0, 0.1, 2), (1, 0.1, 4), (3, 0.9, 4), (1, 1.0, 2)])
def test_a_second_name_takes_longer_unless_it_is_clear(others: int, height: float, updates: int) -> None:
    smoothing = replace(Smoothing().scaled(0.0), on_seconds=1.0, on_seconds_with_others=1.0, clear_margin=1.0)
    hysteresis = Hysteresis(np.full(4, 0.5), smoothing)
    there = np.full(4, -9.0)
    there[1 : 1 + others] = 9.0
    for _ in range(2):
        hysteresis.step(there, 0.5)
    assert hysteresis.active.sum() == others
    there[0] = height
    came = [bool(hysteresis.step(there, 0.5)[0]) for _ in range(updates)]
    assert came == [False] * (updates - 1) + [True]


def test_answers_are_copies_and_float64_inside() -> None:
    ema = LogitEma(1.0, 1.0)
    target = np.ones(3, np.float32)
    first = ema.step(target, 0.5)
    target[:] = 9.0
    assert (first.dtype, first.tolist()) == (np.float64, [1.0] * 3)
    hysteresis = Hysteresis(np.full(3, 0.5), Smoothing(on_seconds=0.0))
    hysteresis.step(np.full(3, 2.0), 0.5)[:] = False
    assert hysteresis.active.tolist() == [True] * 3


@pytest.mark.parametrize(
    "right",
    [{"long_weight": 1.0}, {"long_weight": 0.0}, {"short_seconds": 2.0}, {"short_seconds": 10.0}, {"quiet_logit": 1.0}],
)
def test_parameters_may_reach_their_limits(right: dict[str, float]) -> None:
    assert asdict(Smoothing(**right)) == asdict(Smoothing()) | right


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("long_weight", 1.5, "at most 1"),
        ("tau_up", -1.0, "a finite number of at least 0"),
        ("off_margin", float("nan"), "a finite number of at least 0"),
        ("quiet_logit", -float("inf"), "a finite number of at least 0"),
        ("short_seconds", 0.9, "from 1 to 10"),
        ("short_seconds", 10.5, "from 1 to 10"),
    ],
)
def test_senseless_parameters_are_refused(name: str, value: float, rule: str) -> None:
    with pytest.raises(ValueError, match=f"^smoothing: {name} must be {rule}, not {value}$"):
        Smoothing(**{name: value})


def test_one_factor_scales_all_times_and_nothing_else() -> None:
    plain = Smoothing(short_seconds=3.0, quiet_seconds=0.7)
    assert plain.scaled(1.0) == plain
    double = plain.scaled(2.0)
    times = {
        "tau_up", "tau_down", "on_seconds", "on_seconds_with_others", "off_seconds", "off_seconds_per_other",
        "min_on_seconds", "min_off_seconds",
    }  # fmt: skip
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
