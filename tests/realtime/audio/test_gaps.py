"""Sound that was lost before the analysis: which updates have a gap in their windows, and where that is written."""

import io
import json
import threading
import time

import numpy as np
import pytest
from fake_stream import info, update
from fakes import ArraySource, FakeTagger, FloatArray, music
from hypothesis import given
from hypothesis import strategies as st
from played import an_update
from test_microphone_source import FakePortAudio, use

from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.realtime.audio import MicrophoneSource
from instrec_live.realtime.audio.ring_buffer import RingBuffer
from instrec_live.realtime.outputs import JsonLines, TidyCsv
from instrec_live.realtime.outputs.jsonl_reader import update_of
from instrec_live.realtime.stream import capture as pieces
from instrec_live.realtime.stream.capture import Capture, Gaps, HopReader, MonoReader
from instrec_live.realtime.stream.health import reason
from instrec_live.realtime.stream.stream import Stream
from instrec_live.realtime.stream.update import State
from instrec_live.realtime.tui.drawing import UNICODE
from instrec_live.realtime.tui.header import status_runs
from instrec_live.realtime.tui.state import ScreenState


@given(st.lists(st.integers(0, 99), max_size=8), st.lists(st.integers(0, 99), max_size=8))
def test_gaps_are_where_they_were_noted(places: list[int], moments: list[int]) -> None:
    gaps = Gaps()
    for place in places:
        gaps.note(place)
    assert gaps.count == len(places)
    for stop in sorted(moments):
        assert gaps.within(stop - 20, stop) == any(stop - 20 < place < stop for place in places)


class Torn(ArraySource):
    """Loses sound before some of its samples."""

    def __init__(self, samples: FloatArray, torn: tuple[int, ...], **how: int) -> None:
        super().__init__(samples, **how)
        self.torn = torn

    def read(self) -> FloatArray | None:
        before = self._at
        block = super().read()
        self.xruns += sum(before <= at < self._at for at in self.torn)
        return block


def test_a_gap_is_at_the_sample_before_which_sound_is_missing() -> None:
    intake = MonoReader(Torn(music(2, 44_100), (0, 44_100), rate=44_100, blocks=4_410))
    list(intake)
    assert intake.gaps.count == 1  # what is missing before the beginning is no gap
    assert intake.gaps.within(31_999, 32_001)
    assert not intake.gaps.within(32_000, 64_000)


def test_those_updates_are_marked_whose_ten_seconds_have_it() -> None:
    source = Torn(music(14), (64_000,))
    got = list(Stream(source=source, pace="max", tagger=FakeTagger()))  # type: ignore[arg-type]
    assert [u.time for u in got if u.gap] == list(np.arange(2.5, 12.0, 0.5))
    assert got[-1].xruns == 1


def test_what_the_driver_reports_marks_the_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakePortAudio()
    use(fake, monkeypatch)
    monkeypatch.setattr(pieces, "_WINDOW", 32_000)  # a second instead of ten
    source = MicrophoneSource()
    sound = np.repeat(music(2.4, 16_000)[:, None], 2, axis=1)

    def play() -> None:
        for number, block in enumerate(np.split(sound, 24)):
            fake.deliver(block, overflow=number == 9)  # before 0.9 s
            time.sleep(0.03)

    listening = Stream(source=source, hop=0.5, tagger=FakeTagger())  # type: ignore[arg-type]
    threading.Thread(target=play).start()
    got = []
    for each in listening:
        got.append(each)
        if each.time >= 2.0:
            break
    listening.close()
    assert all(u.gap == (0.9 < u.time < 1.9) for u in got)
    assert got[-1].xruns == 1


def test_it_is_written() -> None:
    lines, rows = io.StringIO(), io.StringIO()
    json_lines, table = JsonLines(lines, {}), TidyCsv(rows, {})
    for sink in (json_lines, table):
        sink.write(an_update(0.5, "piano"))
        sink.write(an_update(1.0, "piano", gap=True))
    plain, marked = (json.loads(line) for line in lines.getvalue().splitlines()[1:])
    assert "gap" not in plain
    assert marked["gap"] is True
    assert [update_of(record).gap for record in (plain, marked)] == [False, True]
    assert {line.rpartition(",")[2] for line in rows.getvalue().splitlines()[1:21]} == {"0"}
    assert {line.rpartition(",")[2] for line in rows.getvalue().splitlines()[21:]} == {"1"}


@pytest.mark.parametrize("width", [80, 120])
def test_the_screen_shows_the_gap_in_words(width: int) -> None:
    def line(**changes: object) -> str:
        picture = ScreenState(info()).after(update(40, state=State.OK, **changes))
        return "".join(text for _, text in status_runs(picture, width, UNICODE))

    assert "GAP 2  skip 3" in line(xruns=2, gap=True, skipped=3)
    assert "xrun 2  skip 3" in line(xruns=2, skipped=3)
    assert "GAP" not in line(xruns=2)
    assert "lost" in reason(update(40, state=State.OK, xruns=2, gap=True))
    assert reason(update(40, state=State.OK, xruns=2)) == ""


def test_a_driver_that_reports_it_all_the_time_costs_no_memory() -> None:
    gaps = Gaps()
    for second in range(10_000):
        gaps.note(second * 32_000)
        gaps.within((second - 10) * 32_000, second * 32_000)
    assert len(gaps._at) <= 11


class CatchingUp(RingBuffer):
    """Its writer gains two seconds on each of the first reads, as a pipe's does when a stopped process continues."""

    reads = 3

    def read(self, start: int, stop: int) -> FloatArray:
        if self.reads:
            self.reads -= 1
            self.write(np.ones(2 * SAMPLE_RATE, np.float32))
        return super().read(start, stop)


def test_a_writer_that_catches_up_while_lost_sound_is_skipped_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    hop = SAMPLE_RATE // 2
    ring = CatchingUp(hop + 6 * SAMPLE_RATE)
    capture = Capture(MonoReader(ArraySource(music(1.0))), ring, None)
    reader = HopReader(capture, ring, hop)
    ring.write(np.ones(8 * SAMPLE_RATE, np.float32))
    ring.close()
    heard = np.concatenate([samples for samples, _ in reader])
    assert len(heard) == ring.written == 14 * SAMPLE_RATE
    assert not heard[: 8 * SAMPLE_RATE].any()  # lost: the writer came that far meanwhile
    assert (heard[8 * SAMPLE_RATE :] == 1).all()
    assert (reader.overruns, capture.gaps.count) == (1, 1)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["8.0 s of sound were lost"]
