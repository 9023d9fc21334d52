"""The state of a source, its row, and the order of rows: without a terminal."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fake_hub import summary
from fake_stream import FakeStream, FakeTransport, info, update
from hypothesis import given
from hypothesis import strategies as st

from instrec_live.models.errors import InputFileError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.stream.update import State
from instrec_live.realtime.tui.drawing import ASCII, UNICODE, length
from instrec_live.realtime.tui.watch.listing import Row, cells_of, in_short, row_of, row_runs, sound_runs, title_runs
from instrec_live.realtime.tui.watch.source import Health, ListView, Order, WatchedSource

OPEN = FakeStream([], info(hop=1.0))


def heard(name="news", number=60, now=100.0, stream=OPEN, **changes):
    return WatchedSource(name).after(update(number, **changes), stream, now)


def text(runs):
    return "".join(text for _, text in runs)


def test_a_source_is_opening_before_its_first_update():
    row = row_of(WatchedSource("news"), 0.0, selected=True)
    assert (row.word[1], row.why, row.age, row.level) == ("OPENING", "no sound yet", "", 0.0)


@pytest.mark.parametrize(
    ("changes", "word", "health", "why"),
    [
        ({}, "OK", Health.WELL, ""),
        ({"state": State.QUIET, "active": ()}, "QUIET", Health.WELL, ""),
        ({"state": State.WARMING, "filled_s": 4.9}, "WARMING 4s", Health.WELL, ""),
        ({"gap": True}, "OK GAP", Health.WELL, ""),
        ({"no_signal": True}, "OK", Health.WELL, "receiving only zeros"),
        ({"state": State.CATCHING_UP, "skipped": 7}, "CATCHING UP", Health.LATE, ""),
        ({"state": State.DEVICE_LOST, "active": ()}, "DEVICE LOST", Health.LOST, "no sound from the device"),
    ],
)
def test_the_word_its_reason_and_what_it_counts_as(changes, word, health, why):
    source = heard(**changes)
    row = row_of(source, 100.5, selected=False)
    assert row.word[1] == word
    assert len(word) <= 11
    assert source.health() is health
    assert row.why.startswith(why)
    assert bool(row.why) == bool(why)
    assert row.skipped == changes.get("skipped", 0)


def test_an_update_that_does_not_come_is_missed_after_two_seconds_beyond_the_hop():
    source = heard(age_s=0.5)
    assert row_of(source, 102.9, selected=False).word[1] == "OK"
    late = row_of(source, 104.0, selected=False)
    assert late.word == ("state-bad", "NO UPDATE")
    assert late.why.startswith("no update for 3 s")
    assert late.age == "3.5s"
    assert source.health(source.late(104.0)) is Health.LATE


def test_a_file_that_stands_still_is_not_late():
    stream = FakeStream([], info(hop=1.0))
    stream.transport = FakeTransport()
    stream.transport.paused = True
    row = row_of(heard(stream=stream), 900.0, selected=False)
    assert (row.word[1], row.age) == ("PAUSED", "")
    sought = heard(stream=stream)
    sought = sought.closed(sought.state.forgotten(30.0))
    row = row_of(sought, 900.0, selected=False)
    assert (row.word[1], row.why, sought.health()) == ("PAUSED", "", Health.WELL)


def test_the_last_word():
    ended = heard().over(summary(75.0, piano=30.0, voice=60.5))
    row = row_of(ended, 900.0, selected=False)
    assert row.word[1] == "ENDED"
    assert row.why == "until 00:01:15: voice 60.5 s, piano 30.0 s"
    assert (row.sounding, row.age, row.level, ended.health()) == ((), "", 0.0, Health.ENDED)
    failed = WatchedSource("gone").over(InputFileError("gone.wav does not exist", "check the path"))
    assert (failed.word()[1], failed.why(), failed.health()) == ("FAILED", "gone.wav does not exist", Health.FAILED)
    assert WatchedSource("odd").over(ValueError()).why() == "ValueError"


def test_instruments_stand_surest_first():
    row = row_of(heard(), 100.0, selected=False)
    sure = [p for _, p, _ in row.sounding]
    assert sure == sorted(sure, reverse=True)
    assert {name for name, *_ in row.sounding} == set(update(60).active)


def test_as_many_instruments_as_fit_and_how_many_more():
    row = row_of(heard(), 0.0, False)._replace(
        sounding=(("piano", ".93", False), ("voice", ".81", False), ("bass", ".72", True))
    )
    expected = {
        40: "piano .93  voice .81  bass .72",
        29: "piano .93  voice .81 +1",
        20: "piano .93 +2",
        12: "piano .93 +2",
        11: "piano",
        4: "pia…",
        3: "+3",
    }
    for width, shown in expected.items():
        runs = sound_runs(row, width, UNICODE)
        assert text(runs).strip() == shown
        assert length(runs) == width


@given(
    name=st.text(max_size=40),
    width=st.integers(32, 220),
    skipped=st.integers(0, 10**7),
    why=st.text(max_size=90),
    sounds=st.lists(st.sampled_from(INSTRUMENTS), unique=True, max_size=20),
    age=st.sampled_from(["", "0.3s", "99m"]),
    glyphs=st.sampled_from([UNICODE, ASCII]),
)
def test_every_row_is_as_wide_as_the_list(name, width, skipped, why, sounds, age, glyphs):
    cells = cells_of(width, [name, "another"])
    row = Row(
        name,
        ("state-warn", "CATCHING UP"),
        0.4,
        tuple((each, ".50", False) for each in sounds),
        why,
        skipped,
        age,
        True,
    )
    assert length(row_runs(row, cells, glyphs)) == width
    if width >= 40:
        assert length(title_runs(cells)) <= width


@pytest.mark.parametrize(
    ("seconds", "short"),
    [
        (0.0, "0.0s"),
        (0.26, "0.3s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (99.4, "99s"),
        (600, "10m"),
        (7200, "2h"),
        (2e6, "23d"),
    ],
)
def test_ages_in_short(seconds, short):
    assert in_short(seconds) == short


def sources(**each):
    return {name: replace(source, name=name) for name, source in each.items()}


def test_sorting_by_problems():
    every = sources(
        a=heard(), b=heard().over(summary()), c=heard(state=State.CATCHING_UP), d=WatchedSource("d"),
        e=heard(state=State.DEVICE_LOST), f=heard().over(InputFileError("no")),
    )  # fmt: skip
    assert ListView().arranged(every, "fedcba", 100.0) == list("abcdef")
    assert ListView(order=Order.TROUBLE).arranged(every, "abcdef", 100.0) == list("fecdab")


def test_the_loudest_first_and_no_dancing():
    every = sources(a=heard(level_db=-40.0), b=heard(level_db=-12.0), c=heard(level_db=-13.0), d=WatchedSource("d"))
    assert ListView(order=Order.LOUDNESS).arranged(every, "abcd", 0.0) == list("bcad")
    assert ListView(order=Order.LOUDNESS).arranged(every, "dcba", 0.0) == list("cbad")


def test_words_that_fit_no_name_show_all():
    view = ListView(words="NEW, ja")
    assert view.admitted(["news", "jazz", "talk"]) == ["news", "jazz"]
    assert replace(view, words="zzz").admitted(["news", "jazz"]) == ["news", "jazz"]


def test_a_log_mel_is_kept_of_none_but_the_one_that_is_looked_at():
    source = heard()
    assert update(60).mel is not None
    assert source.state.mel.shape == (0, 32)
    looked_at = source.state.after(update(61))
    assert len(looked_at.mel) == 50
    assert source.closed(looked_at).state.mel.shape == (0, 32)
    assert math.isfinite(source.closed(looked_at).came)


def test_changed_stream_info_is_used():
    stream = SimpleNamespace(info=info(source="other"), transport=None)
    assert heard().after(update(61), stream, 101.0).state.info.source == "other"
