"""From a benchmark's times to the smallest hop, to words, and to a table that fits."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrec_live.models.engines.base import PROBABILITY_TOLERANCE
from instrec_live.realtime.commands.benchmark.comparison import COLUMNS, lines, milliseconds
from instrec_live.realtime.commands.benchmark.verdict import (
    FAR,
    HOPS,
    Figures,
    Row,
    Timing,
    in_words,
    of_the_machine,
    percentile,
    smallest_hop,
)
from instrec_live.realtime.stream.analysis import MAX_HOP, MIN_HOP, hop_samples

SECONDS = st.floats(1e-4, 100.0)
TIMINGS = st.lists(st.builds(Timing, SECONDS, SECONDS, st.booleans()), min_size=1, max_size=40)


def timings(short: float, long: float, count: int = 10) -> list[Timing]:
    return [Timing(long if k % 2 else short, 0.0, bool(k % 2)) for k in range(count)]


def figures(**changes: object) -> Figures:
    usual = Figures(
        runs_on="onnxruntime 1.32 cpu",
        updates=30,
        p50_ms=12.3,
        p95_ms=45.6,
        core=0.123,
        load=0.15,
        resident_mb=210.0,
        added_mb=150.0,
        difference=1e-5,
        compared=40,
        smallest_hop=0.1,
    )
    return Figures(**{**{name: getattr(usual, name) for name in Figures.__slots__}, **changes})  # type: ignore[arg-type]


# --- from times to numbers ---


def test_percentiles() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([1.0, 2.0], 0.5) == 1.0
    assert percentile(range(1, 101), 0.95) == 95
    assert percentile([7.0], 0.0) == percentile([7.0], 1.0) == 7.0
    assert percentile([1.0, 2.0], 0.95) == 2.0  # of few the worst, not something between


@given(st.lists(SECONDS, min_size=1), st.floats(0.0, 1.0))
def test_a_percentile_is_one_of_the_values_and_so_many_are_no_greater(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) * (1 - 1e-9)
    assert sum(value < found for value in values) <= share * len(values) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("short", "long", "hop"),
    [
        (0.001, 0.002, 0.1),  # the program's least
        (0.05, 0.2, 0.2),  # the update with the long window, too, must be done in time
        (0.21, 0.3, 0.3),
        (0.4, 2.34, 2.4),  # two digits, rounded up
        (3.0, 9.95, 10.0),
        (8.0, 59.2, 60.0),
        (20.0, 60.1, None),
    ],
)
def test_the_smallest_hop(short: float, long: float, hop: float | None) -> None:
    assert smallest_hop(timings(short, long)) == hop


def test_a_rare_straggler_does_not_count() -> None:
    quick = timings(0.05, 0.2, 100)
    assert smallest_hop([*quick, Timing(5.0, 0.0, long=False)]) == 0.2


def test_hops_are_the_program_s_own() -> None:
    assert (HOPS[0], HOPS[-1]) == (MIN_HOP, MAX_HOP)
    assert all(1.0 < b / a < 1.12 for a, b in pairwise(HOPS))
    assert all(hop_samples(hop) == pytest.approx(hop * 32_000) for hop in HOPS)


@given(TIMINGS)
def test_at_the_smallest_hop_updates_are_prompt(measured: list[Timing]) -> None:
    hop = smallest_hop(measured)
    longest = max(each.wall for each in measured)
    if hop is None:
        assert longest > HOPS[-1]
        return
    assert hop <= 1.12 * max(longest, HOPS[0])
    if len({each.long for each in measured}) == 1:
        assert percentile([each.wall for each in measured], 0.95) <= hop


@given(TIMINGS, st.floats(1.0, 10.0))
def test_a_slower_machine_needs_a_longer_hop(measured: list[Timing], factor: float) -> None:
    slower = [Timing(factor * each.wall, each.cpu, each.long) for each in measured]
    endless = HOPS[-1] + 1
    assert (smallest_hop(measured) or endless) <= (smallest_hop(slower) or endless)


# --- words ---


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"core": 0.04}, "easily live: 4 % of a core"),
        ({"core": 0.001}, "easily live: <1 % of a core"),
        ({"core": 0.6}, "live: 60 % of a core"),
        ({"core": 0.9, "p95_ms": 480.0}, "just live: 90 % of a core"),
        ({"smallest_hop": 2.0}, "keeps up at 2 s, not at 0.5 s"),
        ({"smallest_hop": None}, "too slow, even at 60 s"),
        ({"difference": 0.2}, "off by 0.2: do not use it"),
        ({"difference": None}, "easily live: 12 % of a core"),
    ],
)
def test_verdicts(changes: dict[str, object], words: str) -> None:
    assert in_words(figures(**changes), 0.5) == words


def test_the_machine_s_verdict() -> None:
    slow = Row("onnx", "fp32", "together", figures(load=0.5), "")
    fast = Row("openvino", "fp32", "together", figures(load=0.1, core=0.07), "")
    wrong = Row("openvino:bf16", "bf16", "together", figures(load=0.01, difference=2 * FAR), "")
    broken = Row("tensorrt", "fp16", "together", None, "cannot run: it crashed")
    rows = [slow, fast, wrong, broken]
    said = of_the_machine(rows, ["a", "b"], 0.5)
    assert said == (
        "this machine can listen live with a, b together at a hop of 0.5 s: 7 % of a core on openvino, "
        "the fastest of 2 engines"
    )
    late = Row("onnx", "fp32", "a", figures(smallest_hop=2.4, load=1.2), "")
    later = Row("openvino", "fp32", "a", figures(smallest_hop=2.6, load=1.1), "")
    assert "keeps up with a at a hop of 2.4 s, not at 0.5 s: on onnx" in of_the_machine([later, late], ["a"], 0.5)
    never = Row("onnx", "fp32", "a", figures(smallest_hop=None), "")
    assert "too slow for a, even at a hop of 60 s" in of_the_machine([never], ["a"], 0.5)
    assert of_the_machine([broken], ["a"], 0.5) == "this machine cannot run a: it crashed"
    assert "no engine can be used" in of_the_machine([], ["a"], 0.5)
    assert "off by" in of_the_machine([Row("x", "", "a", wrong.figures, "off by 0.06: do not use it")], ["a"], 0.5)


def test_what_is_off_is_further_off_than_any_precision_may_be() -> None:
    assert max(PROBABILITY_TOLERANCE.values()) <= FAR < 0.1


# --- the table ---

NAMES = st.text(min_size=1, max_size=40)
NUMBERS = st.floats(0.0, 99_000.0)
ROWS = st.builds(
    Row,
    NAMES,
    st.just("fp32"),
    NAMES,
    st.none()
    | st.builds(
        figures,
        p50_ms=NUMBERS,
        p95_ms=NUMBERS,
        core=st.floats(0.0, 16.0),
        added_mb=st.none() | st.floats(0.0, 9_999.0),
        difference=st.none() | st.floats(0.0, 1.0),
        smallest_hop=st.none() | st.sampled_from(HOPS),
    ),
    st.just(""),
)


@given(st.lists(ROWS, max_size=5), st.lists(st.tuples(NAMES, NAMES), max_size=3), st.sampled_from(HOPS))
def test_the_table_fits(rows: list[Row], unusable: list[tuple[str, str]], hop: float) -> None:
    said = [
        Row(row.engine, "", row.network, row.figures, in_words(row.figures, hop) if row.figures else "no " * 60)
        for row in rows
    ]
    table = lines(said, unusable, hop)
    assert all(len(line) <= COLUMNS and line.isprintable() for line in table)


def test_milliseconds() -> None:
    assert [milliseconds(ms) for ms in (0.123, 9.994, 9.996, 99.94, 99.96, 12345.0)] == [
        "0.12", "9.99", "10.0", "99.9", "100", "12345",
    ]  # fmt: skip
