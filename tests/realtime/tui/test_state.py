"""How updates become pictures: peaks, the last minute, entries and exits, orders, the state word."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from fake_stream import info, update
from hypothesis import given
from hypothesis import strategies as st

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.outputs.sink import SegmentTracker
from instrec_live.realtime.stream.update import State
from instrec_live.realtime.tui.drawing import ASCII, UNICODE, clock, length
from instrec_live.realtime.tui.header import header_runs, state_run, status_runs
from instrec_live.realtime.tui.mel_strip import COLUMN, event_runs
from instrec_live.realtime.tui.rows import Rows
from instrec_live.realtime.tui.state import PEAK_FALL, SETTLED, PlaybackState, ScreenState, Sorting, SoundEvent, View
from instrec_live.realtime.tui.stream_view import SIDE


def screen_state_of(updates, **facts):
    screen_state = ScreenState(info(**facts))
    for each in updates:
        screen_state = screen_state.after(each)
    return screen_state


def only(name, value, time, **changes):
    """An update in which one instrument has a probability and the others none."""
    probabilities = np.zeros(20, np.float32)
    probabilities[INSTRUMENTS.index(name)] = value
    active = (name,) if value >= 0.5 else ()
    return replace(update(0), time=time, probabilities=probabilities, active=active, **changes)


def test_a_picture_is_not_changed_by_the_next():
    first = screen_state_of([only("piano", 0.9, 0.5)])
    first.after(only("piano", 0.1, 1.0))
    assert first.probabilities.max() == np.float32(0.9)
    assert len(first.times) == 1


def test_peaks_hold_and_fall_by_the_sample_clock():
    screen_state = screen_state_of([only("piano", 0.9, 1.0), only("piano", 0.0, 3.0)])
    assert screen_state.peaks[0][INSTRUMENTS.index("piano")] == pytest.approx(0.9 - 2 * PEAK_FALL)


def test_cleared_peaks_are_the_present_values():
    screen_state = screen_state_of([only("piano", 0.9, 1.0), only("piano", 0.2, 1.5)]).without_peaks()
    assert np.array_equal(screen_state.peaks[0], screen_state.probabilities)


def test_only_the_last_minute_is_kept():
    screen_state = screen_state_of(update(number) for number in range(400))
    assert screen_state.times[-1] - screen_state.times[0] <= 60
    assert len(screen_state.times) == 120


def test_the_newest_column_is_now_and_gaps_are_blank():
    spark = screen_state_of([only("piano", 0.9, 0.5)]).columns(20)[INSTRUMENTS.index("piano")]
    assert spark[-1] == np.float32(0.9)
    assert np.isnan(spark[:-1]).all()


def test_a_column_between_slow_updates_repeats_the_one_before():
    screen_state = screen_state_of([only("piano", 0.9, 2.0), only("piano", 0.3, 6.0)])
    spark = screen_state.columns(60)[INSTRUMENTS.index("piano")]
    assert spark[-5:].tolist() == pytest.approx([0.9, 0.9, 0.9, 0.9, 0.3])


@given(st.integers(1, 130), st.integers(1, 150), st.sampled_from([0.1, 0.25, 0.5, 1.0, 3.0]))
def test_every_column_after_the_first_sound_is_a_number(width, count, hop):
    columns = screen_state_of(replace(update(n), time=(n + 1) * hop) for n in range(count)).columns(width)
    assert columns.shape == (20, width)
    heard = ~np.isnan(columns[0])
    assert heard[-1]
    assert np.array_equal(heard, np.sort(heard))


def test_old_columns_wander_left_without_changing():
    pictures = [screen_state_of(update(n) for n in range(count)) for count in range(30, 60)]
    for before, after in pairwise(pictures):
        one, other = before.columns(20), after.columns(20)
        moved = other if after.times[-1] // 3 == before.times[-1] // 3 else np.roll(other, 1, axis=1)
        settled = slice(1, 18)
        assert np.array_equal(one[:, settled], moved[:, settled], equal_nan=True)


def test_entries_and_exits_newest_first():
    screen_state = screen_state_of([only("piano", 0.9, 1.0), only("piano", 0.9, 2.0), only("piano", 0.1, 3.0)])
    assert screen_state.events == (SoundEvent("piano", 1.0, 3.0),)


@pytest.mark.parametrize("decisions", ["causal", "lookahead"])
def test_entries_and_exits_are_when_the_outputs_have_them(decisions):
    updates = [only("piano", p, time) for p, time in ((0.9, 0.5), (0.9, 1.0), (0.1, 1.5), (0.9, 2.0), (0.1, 2.5))]
    updates += [only("piano", p, time, jumped=time == 9.0) for p, time in ((0.9, 9.0), (0.9, 9.5), (0.1, 10.0))]
    screen_state = screen_state_of(updates, decisions=decisions, pace="max")
    tracker = SegmentTracker({"hop": screen_state.info.hop, "decisions": decisions})
    written = [segment for each in updates for segment in tracker.after(each)]
    assert [(event.start, event.stop) for event in reversed(screen_state.events)] == [
        (segment.onset, segment.offset) for segment in written
    ]
    assert screen_state.entered[INSTRUMENTS.index("piano")] == written[-1].onset == (9.0, 8.5)[decisions != "causal"]


def test_orders():
    heard = [only("voice", 0.9, 1.0), only("piano", 0.9, 2.0), only("cello", 0.8, 3.0)]
    screen_state = screen_state_of(heard)
    assert screen_state.order(Sorting.FIXED) == INSTRUMENTS
    assert screen_state.order(Sorting.SCORE)[0] == "cello"
    assert screen_state.order(Sorting.RECENT)[:3] == ("cello", "piano", "voice")
    assert all(sorted(screen_state.order(sorting)) == sorted(INSTRUMENTS) for sorting in Sorting)


def test_close_scores_do_not_dance():
    one = replace(only("piano", 0.81, 1.0))
    one.probabilities[INSTRUMENTS.index("voice")] = 0.80
    other = replace(only("piano", 0.80, 1.5))
    other.probabilities[INSTRUMENTS.index("voice")] = 0.81
    first = screen_state_of([one])
    order = first.order(Sorting.SCORE)
    assert first.after(other).order(Sorting.SCORE, order) == order


def test_the_skipped_share_is_of_the_last_minute():
    heard = [replace(update(n), time=0.5 + n, skipped=n) for n in range(100)]  # every second window is skipped
    assert screen_state_of(heard).skipped_share() == pytest.approx(0.5)
    assert screen_state_of([update(0)]).skipped_share() == 0


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
    screen_state = screen_state_of([update(0, state=state, filled_s=6.9)])
    assert state_run(screen_state)[1] == word
    assert state_run(screen_state, frozen=True)[1] == "FROZEN"
    assert state_run(replace(screen_state, ended=True))[1] == "ENDED"
    assert state_run(screen_state, late=7.2)[1] == "NO UPDATE 7 s"


@pytest.mark.parametrize(("state", "word"), [(State.OK, "LIVE"), (State.QUIET, "LIVE"), (State.DEVICE_LOST, "LOST")])
def test_a_lost_microphone_is_not_called_live(state, word):
    runs = header_runs(screen_state_of([update(0, state=state)], live=True), 80, UNICODE)
    assert f"{UNICODE.dot} {word}" in [text for _, text in runs]


def test_the_clock_continues_while_a_microphone_is_lost():
    lost = update(0, time=8.0, state=State.DEVICE_LOST, age_s=125.0)
    assert ("clock", "00:02:13") in header_runs(screen_state_of([lost], live=True), 80, UNICODE)


@given(st.integers(40, 90), st.booleans(), st.booleans(), st.booleans(), st.sampled_from([72.0, 7200.0]))
def test_a_narrow_line_leaves_out_whole_words(width, recording, paused, solo, duration):
    playback = PlaybackState(
        playable=True, position=61.0, duration=duration, paused=paused, recording=recording, speed=1.5
    )
    runs = header_runs(
        screen_state_of([update(0)], live=False), width, UNICODE, playback, solo="passt" if solo else None
    )
    shown = dict(runs)
    assert length(runs) == width
    assert shown["clock"] in {"01:01", "00:01:01", "01:01/01:12", "00:01:01/02:00:00"}
    assert ("solo" in shown) == solo
    assert (UNICODE.dot in shown.get("live", "")) == recording
    assert shown["file"].split()[1] == ("PAUSED" if paused else "FILE")
    if width == 90:
        assert "/" in shown["clock"]
        assert shown["title"] == " instrec-live"


@given(st.integers(40, 300), st.sampled_from(list(State)), st.integers(0, 10**6), st.sampled_from([UNICODE, ASCII]))
def test_the_two_lines_fit_any_numbers(width, state, number, glyphs):
    facts = {"source": "a\x1b[31m名前 " * 9, "duration": 71.5, "live": False, "pace": "max"}
    busy = update(9, state=state, xruns=number, skipped=number, bad_samples=number, inference_s=12.3, age_s=99.0)
    screen_state = screen_state_of([busy], **facts)
    assert length(status_runs(screen_state, width, glyphs)) == width
    assert length(header_runs(screen_state, width, glyphs)) == width
    assert state_run(screen_state)[1] in "".join(text for _, text in status_runs(screen_state, width, glyphs))
    assert all(text.isprintable() for _, text in header_runs(screen_state, width, glyphs))


def test_bars_move_to_the_new_value_and_arrive():
    screen_state = screen_state_of([only("piano", 0.6, 0.5)]).after(only("piano", 0.9, 1.0))
    way = [screen_state.bars(since)[0, INSTRUMENTS.index("piano")] for since in (0.0, 0.1, 0.2, 0.4, SETTLED)]
    assert way[0] == pytest.approx(0.6)
    assert way == sorted(way)
    assert way[-1] == np.float32(0.9)
    onward = screen_state.after(only("piano", 0.5, 1.5), since=0.1)  # an update that comes while they still move
    assert onward.bars(0.0)[0, INSTRUMENTS.index("piano")] == way[1]


def test_a_bar_crosses_a_threshold_at_once():
    on_at = info().thresholds["piano"]
    rising = screen_state_of([only("piano", 0.2, 0.5)]).after(only("piano", 0.9, 1.0))
    falling = rising.after(only("piano", 0.2, 1.5))
    assert rising.bars(0.0)[0, INSTRUMENTS.index("piano")] == np.float32(on_at)
    assert 0.2 < falling.bars(0.0)[0, INSTRUMENTS.index("piano")] < on_at


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=6), st.floats(0, 2))
def test_bars_never_leave_the_values_they_move_between(values, since):
    screen_state = screen_state_of([])
    for number, value in enumerate(values):
        bar, goal = screen_state.bars(0.0)[0], np.float32(value)
        screen_state = screen_state.after(only("piano", value, 0.5 * (number + 1)), since)
        place = screen_state.bars(since)[0, INSTRUMENTS.index("piano")]
        start = screen_state.origin[0, INSTRUMENTS.index("piano")]
        assert min(start, goal) - 1e-6 <= place <= max(start, goal) + 1e-6
        assert bar.shape == (20,)


def test_the_level_meter_moves_too():
    screen_state = screen_state_of([update(0, level_db=-60.0)]).after(update(1, level_db=-10.0))
    assert screen_state.level_db(0.0) == -60.0
    assert -60.0 < screen_state.level_db(0.1) < -10.0
    assert screen_state.level_db(9.0) == -10.0


def test_a_jump_forgets_the_last_minute_and_closes_what_sounded():
    before = screen_state_of([only("piano", 0.9, 40.0), only("piano", 0.9, 40.5)])
    back = before.after(only("voice", 0.9, 10.5, jumped=True))
    assert back.times.tolist() == [10.5]
    assert back.peaks[0][INSTRUMENTS.index("piano")] == 0
    assert back.events == (SoundEvent("voice", 10.5),)  # the piano comes later in the file
    onward = before.after(only("voice", 0.9, 50.5, jumped=True))
    assert onward.events == (SoundEvent("voice", 50.5), SoundEvent("piano", 40.0, 40.5))


def test_a_network_alone_has_its_own_numbers_thresholds_and_last_minute():
    screen_state = screen_state_of(update(number) for number in range(40))
    predictor = screen_state.predictor_of("ms_crnn")
    assert np.array_equal(screen_state.of(predictor), update(39).by_model["ms_crnn"])
    assert screen_state.threshold("piano", predictor) == 0.5
    assert screen_state.columns(20, predictor)[0, -1] == max(update(n).by_model["ms_crnn"][0] for n in (36, 37, 38, 39))


def test_the_log_mel_of_the_last_minute_is_kept_in_a_quarter_of_the_bands():
    screen_state = screen_state_of(update(number) for number in range(130))
    assert screen_state.mel.shape == (6000, 32)
    assert screen_state.mel[-1, 0] == pytest.approx(update(129).mel[:4, -1].mean(), abs=1e-6)
    assert screen_state_of([update(0, mel=None)]).mel.shape == (0, 32)


def test_a_device_that_is_lost_for_long_costs_no_memory():
    lost = [replace(update(9), state=State.DEVICE_LOST, active=(), mel=None, age_s=float(age)) for age in range(500)]
    screen_state = screen_state_of([*(update(number) for number in range(10)), *lost])
    assert screen_state.update is lost[-1]
    assert screen_state.times.tolist() == [update(number).time for number in range(10)]
    assert len(screen_state.trail) == len(screen_state.skips) == 10


def test_rows_that_were_hidden_come_back_in_the_order_of_the_instruments():
    rows = Rows(screen_state_of([only("piano", 0.0, 1.0)]), UNICODE)
    rows.order = ("piano", "bass")
    rows.redraw = lambda: None
    rows.show(rows.state, View(sorting=Sorting.SCORE))
    assert rows.order == ("piano", "bass", *(name for name in INSTRUMENTS if name not in ("piano", "bass")))


@pytest.mark.parametrize("start", [41.0, 3641.0, 86_441.0])
@pytest.mark.parametrize(
    "event", [SoundEvent("mallet_percussion", 0, 31), SoundEvent("a label " * 9, 0, 0, label=True)]
)
def test_entries_exits_and_labels_are_whole_all_evening(start, event):
    moved = replace(event, start=start, stop=start + event.stop)
    runs = event_runs(moved, UNICODE)
    assert length(runs) == COLUMN <= SIDE
    text = "".join(part for _, part in runs)
    assert clock(start, hours=False) + " " in text
    assert event.label or text.rstrip().endswith(f"out {clock(start + 31, hours=False)}")
