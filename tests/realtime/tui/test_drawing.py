"""Bars, sparklines and numbers: what must hold for every value and every width."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from instrec_live.realtime.tui.drawing import (
    ASCII,
    PLAIN,
    UNICODE,
    bar,
    cell_of,
    clock,
    decay,
    dots,
    fitted,
    heat,
    length,
    level,
    printable,
    probability,
    sparkline,
    spread,
    unit,
)  # fmt: skip
from instrec_live.realtime.tui.mel_strip import HIGH, LOW, mel_cells
from instrec_live.realtime.tui.rows import columns
from instrec_live.realtime.tui.state import BANDS
from instrec_live.realtime.tui.stream_view import stack

glyph_sets = st.sampled_from([UNICODE, PLAIN, ASCII])
parts = st.floats(0, 1)
anything = st.floats(allow_nan=True, allow_infinity=True)
widths = st.integers(0, 200)


def text(runs):
    return "".join(sign for _, sign in runs)


def lit(value, width, glyphs=UNICODE):
    """How much of a bar is lit, in steps of its finest resolution."""
    signs = "".join(sign for part, sign in bar(value, width, glyphs) if part == "fill")
    return sum(glyphs.eighths.index(sign) for sign in signs)


@given(anything, widths, glyph_sets, st.none() | anything, st.none() | anything)
def test_a_bar_is_exactly_as_wide_as_asked(value, width, glyphs, threshold, peak):
    assert len(text(bar(value, width, glyphs, threshold, peak))) == width


@given(parts, st.integers(1, 200), glyph_sets)
def test_a_bar_is_right_to_half_its_finest_step(value, width, glyphs):
    steps = width * (len(glyphs.eighths) - 1)
    assert abs(lit(value, width, glyphs) - value * steps) <= 0.5


@given(parts, parts, st.integers(1, 200))
def test_more_is_never_drawn_shorter(one, other, width):
    low, high = sorted((one, other))
    assert lit(low, width) <= lit(high, width)


@given(parts, parts, st.integers(1, 200), glyph_sets)
def test_the_threshold_is_always_there_and_in_its_place(value, threshold, width, glyphs):
    drawn = text(bar(value, width, glyphs, threshold))
    assert drawn[cell_of(threshold, width)] == glyphs.threshold


@given(parts, parts, st.integers(1, 200))
def test_a_peak_never_covers_the_lit_part(value, peak, width):
    kinds = [part for part, sign in bar(value, width, UNICODE, peak=peak) for _ in sign]
    assert "peak" not in kinds or kinds.index("peak") >= kinds.count("fill")
    assert kinds.count("peak") <= 1


@given(st.lists(st.floats(0, 1, width=32) | st.just(math.nan), max_size=130), parts, glyph_sets)
def test_a_sparkline_has_one_sign_for_each_value_and_blanks_for_gaps(values, threshold, glyphs):
    drawn = text(sparkline(np.array(values, np.float32), threshold, glyphs))
    assert len(drawn) == len(values)
    assert [sign == " " for sign in drawn] == [math.isnan(value) for value in values]


def test_a_sparkline_rises_with_its_values():
    drawn = text(sparkline(np.linspace(0, 1, 8, dtype=np.float32), 0.5, UNICODE))
    assert drawn == UNICODE.spark


def test_a_sparkline_marks_what_reached_the_threshold():
    values = np.array([0.0, 0.3, 0.5, 0.9], np.float32)
    assert [part for part, _ in sparkline(values, 0.5, ASCII)] == ["base", "low", "high"]


def test_a_dot_for_each_network_at_its_own_threshold():
    assert dots([(0.5, 0.5), (0.3, 0.2), (0.6, 0.7)], UNICODE) == [("dot", "●"), ("dot", "●"), ("ring", "○")]


def test_a_network_without_a_result_has_its_own_sign():
    for glyphs in (UNICODE, PLAIN, ASCII):
        ((part, sign),) = dots([(None, 0.5)], glyphs)
        assert part == "gone"
        assert sign not in {glyphs.dot, glyphs.ring}


@given(parts, parts, st.floats(0, 100), st.floats(0, 1))
def test_a_peak_falls_but_not_below_the_value(peak, value, seconds, fall):
    fallen = decay(peak, value, seconds, fall)
    assert value <= fallen <= max(peak, value)


def test_a_peak_falls_at_its_rate():
    assert decay(0.9, 0.1, 2.0, 0.1) == pytest.approx(0.7)


@given(anything)
def test_a_probability_takes_three_cells(value):
    assert len(probability(value)) == 3


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, ".00"), (0.834, ".83"), (0.994, ".99"), (1.0, "1.0"), (math.nan, ".00")]
)
def test_probability(value, shown):
    assert probability(value) == shown


@given(anything)
def test_unit_is_in_bounds(value):
    assert 0 <= unit(value) <= 1


def test_level_runs_from_the_floor_to_full_scale():
    assert [level(db) for db in (-120, -60, -30, 0, 6)] == [0, 0, 0.5, 1, 1]


def test_clock():
    assert (clock(3723.9), clock(62, hours=False), clock(3600, hours=False)) == ("01:02:03", "01:02", "01:00:00")


@given(st.text(max_size=60), st.integers(1, 40))
def test_fitted_takes_the_cells_it_is_given(name, width):
    name = printable(name)
    assert cell_len(fitted(name, width, "…")) == width


@given(st.text())
def test_printable_lets_no_control_sign_through(name):
    assert printable(name).isprintable()


def test_signs_that_are_not_to_be_seen_are_not():
    assert printable("10.00\u202fAM \u200eنمی\u200cدانم 👩\u200d🎤 \x07.wav") == "10.00 AM نمیدانم 👩🎤 ?.wav"


@given(st.text("ab ", max_size=30), st.text("ab ", max_size=30), st.integers(0, 100))
def test_spread_fills_the_line(left, right, width):
    line = spread([("a", left)], [("b", right)], width)
    assert length(line) == max(width, len(left) + len(right))


@given(st.integers(30, 400), st.integers(1, 5))
def test_the_columns_of_a_row_fill_it(width, models):
    cells = columns(width, models)
    drawn = 3 + cells.name + 1 + 3 + 1 + 1 + cells.bar + 1 + 1
    drawn += (1 + cells.dots if cells.dots else 0) + (2 + cells.minute if cells.minute else 0)
    assert drawn == width
    assert cells.bar >= 8


def test_a_narrow_row_loses_the_sparkline_then_the_dots():
    kept = [(bool(columns(w, 3).minute), bool(columns(w, 3).dots)) for w in (80, 60, 50, 40, 38, 36)]
    assert kept == sorted(kept, reverse=True)
    assert kept[0] == (True, True)
    assert kept[-1] == (False, False)


@given(st.integers(20, 400), st.integers(4, 200))
def test_the_stack_never_wants_more_lines_than_there_are(width, height):
    lines = stack(width, height)
    assert lines.blank + lines.heading + lines.rows + lines.mel + lines.events == height - 3
    assert lines.rows >= min(20, height - 3)
    assert lines.mel == 0 or lines.mel >= 5
    assert lines.events == 0 or lines.events >= 4
    assert not (lines.side and lines.events)


def test_24_lines_fit_exactly():
    assert stack(80, 24) == (0, 1, 20, 0, 0, 0, 0)


cells_of = st.lists(st.floats(0, 1, width=32), max_size=80).map(lambda values: np.array(values, np.float32))


@given(cells_of, st.floats(0.05, 0.95), glyph_sets)
def test_a_heat_map_has_one_cell_for_each_value_and_marks_the_threshold(values, threshold, glyphs):
    runs = heat(values, threshold, glyphs)
    cells = [(part, sign) for part, text in runs for sign in text]
    assert len(cells) == len(values)
    for (part, sign), value in zip(cells, values.tolist(), strict=True):
        assert part.startswith("warm") == (value >= threshold)
        assert (sign == glyphs.shades[-1]) == (value >= threshold)


@given(st.integers(0, 7000), st.integers(1, 150), st.integers(1, BANDS))
def test_the_newest_log_mel_frame_is_at_the_right_and_gaps_are_blank(frames, width, bands):
    mel = np.zeros((frames, BANDS), np.float32)
    cells = mel_cells(mel, width, bands)
    assert cells.shape == (bands, width)
    heard = (cells >= 0).all(axis=0)
    assert np.array_equal(heard, np.sort(heard))
    if frames:
        assert heard[-1]
        assert abs(heard.sum() - min(1, frames / 6000) * width) <= 1


def test_a_loud_low_band_is_bright_below():
    mel = np.full((6000, BANDS), LOW, np.float32)
    mel[:, :4] = HIGH
    cells = mel_cells(mel, 50, 8)
    assert (cells[-1] == 11).all()
    assert (cells[:-1] == 0).all()
