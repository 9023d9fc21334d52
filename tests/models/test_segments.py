"""Decisions with look-ahead: the cheapest sequence, in bounded memory, with boundaries where the sound changes."""

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
