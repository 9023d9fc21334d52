"""How updates become pictures: peaks, the last minute, entries and exits, orders, the state word."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from fake_stream import info, update
from hypothesis import given
from hypothesis import strategies as st

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.tui.glyphs import ASCII, UNICODE
from instrec_live.realtime.tui.header import header_runs
from instrec_live.realtime.tui.line import length
from instrec_live.realtime.tui.picture import PEAK_FALL, Picture, Sorting
from instrec_live.realtime.tui.status import state_run, status_runs
from instrec_live.realtime.update import State


def picture_of(updates, **facts):
    picture = Picture(info(**facts))
    for each in updates:
        picture = picture.after(each)
    return picture


def only(name, value, time, **changes):
    """An update in which one instrument has a probability and the others none."""
    probabilities = np.zeros(20, np.float32)
    probabilities[INSTRUMENTS.index(name)] = value
    active = (name,) if value >= 0.5 else ()
    return replace(update(0), time=time, probabilities=probabilities, active=active, **changes)


def test_a_picture_is_not_changed_by_the_next():
    first = picture_of([only("piano", 0.9, 0.5)])
    first.after(only("piano", 0.1, 1.0))
    assert first.probabilities.max() == np.float32(0.9)
    assert len(first.times) == 1


def test_peaks_hold_and_fall_by_the_sample_clock():
    picture = picture_of([only("piano", 0.9, 1.0), only("piano", 0.0, 3.0)])
    assert picture.peaks[INSTRUMENTS.index("piano")] == pytest.approx(0.9 - 2 * PEAK_FALL)


def test_cleared_peaks_are_the_present_values():
    picture = picture_of([only("piano", 0.9, 1.0), only("piano", 0.2, 1.5)]).without_peaks()
    assert np.array_equal(picture.peaks, picture.probabilities)


def test_only_the_last_minute_is_kept():
    picture = picture_of(update(number) for number in range(400))
    assert picture.times[-1] - picture.times[0] <= 60
    assert len(picture.times) == 120


def test_the_newest_column_is_now_and_the_unheard_is_blank():
    spark = picture_of([only("piano", 0.9, 0.5)]).columns(20)[INSTRUMENTS.index("piano")]
    assert spark[-1] == np.float32(0.9)
    assert np.isnan(spark[:-1]).all()


def test_a_column_between_slow_updates_repeats_the_one_before():
    picture = picture_of([only("piano", 0.9, 2.0), only("piano", 0.3, 6.0)])
    spark = picture.columns(60)[INSTRUMENTS.index("piano")]
    assert spark[-5:].tolist() == pytest.approx([0.9, 0.9, 0.9, 0.9, 0.3])


@given(st.integers(1, 130), st.integers(1, 150), st.sampled_from([0.1, 0.25, 0.5, 1.0, 3.0]))
def test_every_column_after_the_first_sound_is_a_number(width, count, hop):
    columns = picture_of(replace(update(n), time=(n + 1) * hop) for n in range(count)).columns(width)
    assert columns.shape == (20, width)
    heard = ~np.isnan(columns[0])
    assert heard[-1]
    assert np.array_equal(heard, np.sort(heard))


def test_old_columns_wander_left_without_changing():
    pictures = [picture_of(update(n) for n in range(count)) for count in range(30, 60)]
    for before, after in pairwise(pictures):
        one, other = before.columns(20), after.columns(20)
        moved = other if after.times[-1] // 3 == before.times[-1] // 3 else np.roll(other, 1, axis=1)
        settled = slice(1, 18)
        assert np.array_equal(one[:, settled], moved[:, settled], equal_nan=True)


def test_entries_and_exits_newest_first():
    picture = picture_of([only("piano", 0.9, 1.0), only("piano", 0.9, 2.0), only("piano", 0.1, 3.0)])
    assert [(e.time, e.name, e.entered) for e in picture.events] == [(3.0, "piano", False), (1.0, "piano", True)]


def test_orders():
    heard = [only("voice", 0.9, 1.0), only("piano", 0.9, 2.0), only("cello", 0.8, 3.0)]
    picture = picture_of(heard)
    assert picture.order(Sorting.FIXED) == INSTRUMENTS
    assert picture.order(Sorting.SCORE)[0] == "cello"
    assert picture.order(Sorting.RECENT)[:3] == ("cello", "piano", "voice")
    assert all(sorted(picture.order(sorting)) == sorted(INSTRUMENTS) for sorting in Sorting)


def test_close_scores_do_not_dance():
    one = replace(only("piano", 0.81, 1.0))
    one.probabilities[INSTRUMENTS.index("voice")] = 0.80
    other = replace(only("piano", 0.80, 1.5))
    other.probabilities[INSTRUMENTS.index("voice")] = 0.81
    first = picture_of([one])
    order = first.order(Sorting.SCORE)
    assert first.after(other).order(Sorting.SCORE, order) == order


def test_the_skipped_share_is_of_the_last_minute():
    heard = [replace(update(n), time=0.5 + n, skipped=n) for n in range(100)]  # every second window is skipped
    assert picture_of(heard).skipped_share() == pytest.approx(0.5)
    assert picture_of([update(0)]).skipped_share() == 0


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (State.OK, "OK"),
        (State.WARMING, "WARMING 6/10 s"),
        (State.QUIET, "QUIET"),
        (State.CATCHING_UP, "CATCHING UP 0%"),
        (State.DEVICE_LOST, "DEVICE LOST"),
        (State.ENDED, "ENDED"),
    ],
)
def test_the_state_word(state, word):
    picture = picture_of([update(0, state=state, filled_s=6.0)])
    assert state_run(picture)[1] == word
    assert state_run(picture, frozen=True)[1] == "FROZEN"
    assert state_run(replace(picture, ended=True))[1] == "ENDED"
    assert state_run(picture, late=7.2)[1] == "NO UPDATE 7 s"


@given(st.integers(40, 300), st.sampled_from(list(State)), st.integers(0, 10**6), st.sampled_from([UNICODE, ASCII]))
def test_the_two_lines_fit_whatever_the_numbers(width, state, number, glyphs):
    facts = {"source": "a\x1b[31m名前 " * 9, "duration": 71.5, "live": False, "pace": "max"}
    busy = update(9, state=state, xruns=number, skipped=number, bad_samples=number, inference_s=12.3, age_s=99.0)
    picture = picture_of([busy], **facts)
    assert length(status_runs(picture, width, glyphs)) == width
    assert length(header_runs(picture, width, glyphs)) == width
    assert state_run(picture)[1] in "".join(text for _, text in status_runs(picture, width, glyphs))
    assert all(text.isprintable() for _, text in header_runs(picture, width, glyphs))
