"""Decisions with look-ahead: the cheapest sequence, in bounded memory, with boundaries where the sound changes."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.segments import (
    HopLogits,
    Lookahead,
    SegmentDecider,
    centred,
    cheapest,
    overlaps,
    segments_of,
    silent,
)

HALVES = st.integers(-6, 6).map(lambda n: n / 2)


def worth(evidence: list[float], states: tuple[bool, ...], cost: float, before: bool) -> float:
    changes = sum(a != b for a, b in zip((before, *states), states, strict=False))
    return sum(e for e, on in zip(evidence, states, strict=True) if on) - cost * changes


@given(st.lists(HALVES, min_size=1, max_size=7), st.sampled_from([0.0, 0.75, 2.0]), st.booleans())
def test_no_sequence_is_worth_more(evidence: list[float], cost: float, before: bool) -> None:
    found = cheapest(np.array(evidence)[:, None], cost, np.array([before]))[:, 0]
    best = max(worth(evidence, states, cost, before) for states in product([False, True], repeat=len(evidence)))
    assert worth(evidence, tuple(found.tolist()), cost, before) == pytest.approx(best)


def test_a_segment_needs_evidence_for_both_its_changes() -> None:
    short, long = [-1.0, 2.0, 1.5, -5.0], [-1.0, 2.0, 2.5, -5.0]
    assert not cheapest(np.array(short)[:, None], 2.0).any()
    assert cheapest(np.array(long)[:, None], 2.0)[:, 0].tolist() == [False, True, True, False]


@pytest.mark.parametrize(("seconds", "logit", "sounds"), [(0.5, 1.5, True), (1.0, 1.5, True), (3.0, 1.5, True),
                                                          (0.5, -0.5, False), (1.0, 0.25, False)])  # fmt: skip
def test_a_sound_of_a_second_is_decided_as_one_of_ten(seconds: float, logit: float, sounds: bool) -> None:
    """A note of a second has no more than three logit seconds of evidence."""
    decider = SegmentDecider(Lookahead(), lambda logits: logits["one"], ["one"], np.full(20, 0.5), 0.5, 1.0)
    logits = {"one": np.full(20, logit, np.float32)}
    for number in range(1, round(seconds / 0.5) + 1):
        assert decider.add(HopLogits(16_000 * number, 0.5, False, False, logits, None)) == []
    assert {bool(hop.active.all()) for hop in decider.rest()} == {sounds}
    assert len(decider.rest()) == 0


@pytest.mark.parametrize(
    ("hop", "window", "shares"),
    [
        (0.5, 1.0, [0.5, 0.5]),
        (1.0, 1.0, [1.0]),
        (5.0, 1.0, [1.0]),
        (0.5, 1.25, [0.4, 0.4, 0.2]),
        (0.25, 0.5, [0.5, 0.5]),
    ],
)
def test_a_hop_shares_its_windows(hop: float, window: float, shares: list[float]) -> None:
    assert overlaps(hop, window) == pytest.approx(shares)


def test_evidence_belongs_to_the_middle_of_a_window() -> None:
    windows = np.array([0.0, 0.0, 1.0, 1.0, 0.0, np.nan])[:, None]  # heard from 1.0 s to 2.0 s, say
    silence = np.arange(6) == 5
    hops = centred(windows, overlaps(0.5, 1.0), silence, 0)
    assert hops[:5, 0].tolist() == [0.0, 0.5, 1.0, 0.5, 0.0]
    assert np.isnan(hops[5, 0])


@given(
    known=st.lists(st.sampled_from("kkn-s"), min_size=1, max_size=30),
    shares=st.sampled_from([[1.0], [0.5, 0.5], [0.4, 0.4, 0.2]]),
    most=st.integers(0, 4),
)
def test_a_hop_without_a_window_takes_those_around(known: list[str], shares: list[float], most: int) -> None:
    """Known, two kinds of unknown, and silent."""
    values = np.where(np.array(known) == "k", np.arange(1.0, len(known) + 1), np.nan)
    silence = np.array(known) == "s"
    got = centred(values[:, None], np.array(shares), silence, most)[:, 0]
    for hop, what in enumerate(known):
        around = [(share, values[hop + k]) for k, share in enumerate(shares) if hop + k < len(known)]
        around = [(share, value) for share, value in around if np.isfinite(value)]
        before = next((k for k in range(hop, -1, -1) if known[k] in "ks"), -1)
        if what == "s":
            assert np.isnan(got[hop])
        elif around:
            assert got[hop] == pytest.approx(sum(s * v for s, v in around) / sum(s for s, _ in around))
        elif before >= 0 and known[before] == "k" and hop - before <= most:
            assert got[hop] == values[before]
        else:
            assert np.isnan(got[hop])


def test_silence_begins_where_the_level_falls() -> None:
    quiet = [True, False, False, False, True, True, False]
    below = [True, False, True, True, True, True, True]
    assert silent(quiet, below).tolist() == [True, False, True, True, True, True, False]


def decider(hop: float, **parameters: float) -> SegmentDecider:
    thresholds = np.full(len(INSTRUMENTS), 0.5, np.float32)
    return SegmentDecider(Lookahead(**parameters), lambda z: z["a"], ("a",), thresholds, hop, 1.0)


def hops(levels: np.ndarray, hop: float) -> list[HopLogits]:
    ends = [round((n + 1) * hop * 32_000) for n in range(len(levels))]
    return [
        HopLogits(end, hop, False, False, {"a": np.full(20, level, np.float32)}, None)
        for end, level in zip(ends, levels, strict=True)
    ]


@pytest.mark.parametrize("hop", [0.25, 0.5, 1.0, 5.0])
def test_streaming_decisions_equal_those_on_the_whole_and_memory_is_bounded(hop: float) -> None:
    rng = np.random.default_rng(1)
    levels = np.repeat(rng.choice([-2.0, 2.0], 60), 20) + rng.normal(0, 1, 1_200)
    ours, out, most = decider(hop), [], 0
    for each in hops(levels, hop):
        out += ours.add(each)
        most = max(most, len(ours._hops) + len(ours._known))
    out += ours.rest()
    assert len(out) == 1_200
    assert most * hop <= 80 + 4 * hop
    silence = np.zeros(len(levels), np.bool_)
    evidence = np.clip(centred(levels[:, None], overlaps(hop, 1.25), silence, 0), -3, 3) * hop
    whole = cheapest(evidence, Lookahead().switch_cost)[:, 0]
    assert np.array_equal([each.active[0] for each in out], whole)
    assert whole.any()
    assert not whole.all()


@pytest.mark.parametrize("hop", [0.3, 0.5])
@pytest.mark.parametrize("shift", [0, 1, 2])
def test_a_network_on_every_third_hop_has_logits_in_all(hop: float, shift: int) -> None:
    """Also in the last hop before a silence, and where the decider no longer needs the hop before it."""
    rng = np.random.default_rng(2)
    levels, silence = rng.normal(0, 1, 900), np.zeros(900, np.bool_)
    for pause in range(20 + shift, 900, 40):
        silence[pause - 5 : pause] = True
    for ahead in range(int(20 / hop), 900, int(20 / hop)):  # decided so many at a time: a silence after the first
        silence[ahead - 7 : ahead - 3], silence[ahead + 1 : ahead + 5] = True, True
    starts = ~silence & np.roll(silence, 1)
    given_at = (np.arange(900) % 3 == shift) | starts | (np.arange(900) == 0)
    ours = decider(hop)
    out = []
    for n, each in enumerate(hops(levels, hop)):
        short = {**each.short, "b": each.short["a"]} if given_at[n] else each.short
        out += ours.add(replace(each, quiet=bool(silence[n]), short={} if silence[n] else short))
    out += ours.rest()
    table = np.where(given_at & ~silence, levels, np.nan)[:, None]
    logits = centred(table, overlaps(hop, 1.25), silence, int(np.ceil(1 / hop)))[:, 0]
    assert np.array_equal(np.isnan(logits), silence)
    for decided, logit, quiet in zip(out, logits, silence, strict=True):
        assert decided.silent == quiet
        assert quiet or decided.probabilities["b"][0] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)


def test_what_is_left_out_has_no_probability() -> None:
    left_out = np.array([name != "piano" for name in INSTRUMENTS])
    ours = SegmentDecider(Lookahead(), lambda z: z["a"], ("a",), np.full(20, 0.5), 0.5, 1.0, left_out)
    decided = [each for hop in hops(np.full(20, 3.0), 0.5) for each in ours.add(hop)] + ours.rest()
    for each in decided:
        assert [name for name, on in zip(INSTRUMENTS, each.active, strict=True) if on] == ["piano"]
        assert np.count_nonzero(each.probabilities[""]) == np.count_nonzero(each.probabilities["a"]) == 1


def test_segments_have_the_mean_and_the_peak_of_their_hops() -> None:
    active = np.zeros((4, 20), np.bool_)
    active[1:3, 12] = active[3, 0] = True
    p = np.full((4, 20), 0.5, np.float32)
    p[2, 12] = 1.0
    first, second = segments_of(active, p, [0.5, 1.0, 1.5, 1.8])
    assert (first.name, first.onset, first.offset, first.mean, first.peak) == ("piano", 0.5, 1.5, 0.75, 1.0)
    assert (second.name, second.onset, second.offset) == ("accordion", 1.5, 1.8)
