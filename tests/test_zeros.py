"""A microphone that gives zeros only: a hint, once in the log, and nothing else."""

import logging

import numpy as np
import pytest
from fake_portaudio import FakePortAudio, Listener, use
from fake_stream import info, update
from fakes import ArraySource, FakeTagger

from instrec_live.realtime import zeros
from instrec_live.realtime.health import FLOOR_DB, reason
from instrec_live.realtime.sources import MicrophoneSource
from instrec_live.realtime.stream import Stream
from instrec_live.realtime.tui.glyphs import UNICODE
from instrec_live.realtime.tui.heading import Heading
from instrec_live.realtime.tui.picture import Picture
from instrec_live.realtime.update import State
from instrec_live.realtime.zeros import Zeros


@pytest.fixture
def microphone(monkeypatch: pytest.MonkeyPatch) -> MicrophoneSource:
    use(FakePortAudio(), monkeypatch)
    return MicrophoneSource("one")


def test_after_five_seconds_and_until_there_is_any_sound(microphone: MicrophoneSource) -> None:
    it = Zeros()
    said = [it.after(microphone, second / 2, FLOOR_DB) for second in range(1, 15)]
    assert said == [False] * 10 + [True] * 4  # the first hop of zeros ends at 0.5 s
    assert not it.after(microphone, 7.5, -110.0)  # ordinary quiet
    assert not it.after(microphone, 8.0, FLOOR_DB)
    it.begin()
    assert not it.after(microphone, 100.0, FLOOR_DB)


def test_the_log_has_it_once(microphone: MicrophoneSource, caplog: pytest.LogCaptureFixture) -> None:
    it = Zeros()
    for second in range(1, 1_000):  # muted for a minute, heard for a second, and so on
        it.after(microphone, float(second), FLOOR_DB if second % 61 else -30.0)
    assert len(caplog.records) == 1
    assert "digital silence" in caplog.text
    assert microphone.label in caplog.text


def test_on_the_screen_it_is_words() -> None:
    muted = update(40, state=State.QUIET, level_db=FLOOR_DB, peak_db=FLOOR_DB, no_signal=True)
    assert "muted" in reason(muted)
    assert "muted" not in reason(update(40, state=State.QUIET, level_db=-70.0))
    heading = Heading(Picture(info()).after(muted), UNICODE)
    assert "muted" in "".join(text for _, text in heading.runs(80))


def test_a_live_microphone_of_zeros_is_listened_to_and_not_searched_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(zeros, "AFTER", 0.5)
    fake = FakePortAudio()
    fake.connected = {"one": (48_000, 0.0), "two": (44_100, 0.1)}
    use(fake, monkeypatch)
    it = Listener("one")
    try:
        got = it.until(0, 20)
        assert got[-1].no_signal
        assert not got[2].no_signal
        assert got[-1].state is State.QUIET
        assert (got[-1].skipped, got[-1].xruns) == (0, 0)
        assert fake.tried == ["one"]
        it.stream.listen_to("two")
        assert not it.until(1, 10)[-1].no_signal
    finally:
        it.stream.close()
        it.thread.join(5)
    assert sum("digital silence" in line for line in caplog.messages) == 1
    assert "looked for" not in caplog.text


def test_a_file_and_what_a_computer_plays_may_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zeros, "AFTER", 0.0)
    for pace in ("max", "realtime"):
        silence = ArraySource(np.zeros(2 * 32_000, np.float32), live=True)
        got = list(Stream(source=silence, pace=pace, tagger=FakeTagger()))  # type: ignore[arg-type]
        assert got
        assert not any(u.no_signal for u in got)
