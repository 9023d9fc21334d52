"""A microphone that gives zeros only: a hint, once in the log, and nothing else."""

import logging

import numpy as np
import pytest
from fake_portaudio import FakePortAudio, StreamThread, use
from fake_stream import info, update
from fakes import ArraySource, FakeTagger
from waiting import FOREVER

from instrec_live.realtime.audio import MicrophoneSource
from instrec_live.realtime.audio import microphone as microphone_module
from instrec_live.realtime.stream import device_recovery
from instrec_live.realtime.stream.device_recovery import DigitalSilence
from instrec_live.realtime.stream.health import FLOOR_DB, reason
from instrec_live.realtime.stream.stream import Stream
from instrec_live.realtime.stream.update import State
from instrec_live.realtime.tui.drawing import UNICODE
from instrec_live.realtime.tui.header import Heading
from instrec_live.realtime.tui.state import ScreenState


@pytest.fixture
def microphone(monkeypatch: pytest.MonkeyPatch) -> MicrophoneSource:
    use(FakePortAudio(), monkeypatch)
    return MicrophoneSource("one")


def test_after_five_seconds_and_until_there_is_any_sound(microphone: MicrophoneSource) -> None:
    it = DigitalSilence()
    said = [it.check(microphone, second / 2, FLOOR_DB) for second in range(1, 15)]
    assert said == [False] * 10 + [True] * 4  # the first hop of zeros ends at 0.5 s
    assert not it.check(microphone, 7.5, -110.0)  # ordinary quiet
    assert not it.check(microphone, 8.0, FLOOR_DB)
    it.restart()
    assert not it.check(microphone, 100.0, FLOOR_DB)


def test_the_log_has_it_once(microphone: MicrophoneSource, caplog: pytest.LogCaptureFixture) -> None:
    it = DigitalSilence()
    for second in range(1, 1_000):  # muted for a minute, heard for a second, and so on
        it.check(microphone, float(second), FLOOR_DB if second % 61 else -30.0)
    assert len(caplog.records) == 1
    assert "delivers only zeros" in caplog.text
    assert microphone.label in caplog.text


def test_the_screen_shows_it_in_words() -> None:
    muted = update(40, state=State.QUIET, level_db=FLOOR_DB, peak_db=FLOOR_DB, no_signal=True)
    assert "muted" in reason(muted)
    assert "muted" not in reason(update(40, state=State.QUIET, level_db=-70.0))
    heading = Heading(ScreenState(info()).after(muted), UNICODE)
    assert "muted" in "".join(text for _, text in heading.runs(80))


def test_a_live_microphone_of_zeros_is_listened_to_and_not_searched_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(device_recovery, "ZEROS_AFTER", 0.5)
    monkeypatch.setattr(microphone_module, "LOST_AFTER", FOREVER)  # a busy machine is no lost microphone
    fake = FakePortAudio()
    fake.connected = {"one": (48_000, 0.0), "two": (44_100, 0.1)}
    use(fake, monkeypatch)
    it = StreamThread("one")
    try:
        got = it.until(0, 20)
        assert got[-1].no_signal
        assert not any(update.no_signal for update in got if update.time < 0.5)
        assert got[-1].state is State.QUIET
        assert got[-1].xruns == 0
        assert fake.tried == ["one"]
        it.stream.listen_to("two")
        assert not it.until(1, 10)[-1].no_signal
    finally:
        it.stream.close()
        it.thread.join(120)
    assert sum("one delivers only zeros" in line for line in caplog.messages) == 1  # "two" may stall on a busy machine
    assert "looked for" not in caplog.text


def test_a_file_and_what_a_computer_plays_may_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_recovery, "ZEROS_AFTER", 0.0)
    for pace in ("max", "realtime"):
        silence = ArraySource(np.zeros(2 * 32_000, np.float32), live=True)
        got = list(Stream(source=silence, pace=pace, tagger=FakeTagger()))  # type: ignore[arg-type]
        assert got
        assert not any(u.no_signal for u in got)
