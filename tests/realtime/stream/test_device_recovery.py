"""One microphone replaced by another during a run: with a fake PortAudio, and with PulseAudio's real one."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_portaudio import FakePortAudio, StreamThread, use
from fakes import ArraySource, FakeTagger, music
from virtual_microphone import VirtualMicrophone, why_not
from waiting import FOREVER

from instrec_live.realtime.audio import MicrophoneSource, devices, microphone
from instrec_live.realtime.audio.devices import list_input_devices_fresh
from instrec_live.realtime.errors import AudioDeviceError, UsageError
from instrec_live.realtime.stream import device_recovery
from instrec_live.realtime.stream.stream import Stream


@pytest.fixture
def portaudio(monkeypatch: pytest.MonkeyPatch) -> FakePortAudio:
    fake = FakePortAudio()
    use(fake, monkeypatch)
    monkeypatch.setattr(microphone, "LOST_AFTER", FOREVER)  # none is lost here, however long its thread has to wait
    return fake


@pytest.fixture
def stream_thread(portaudio: FakePortAudio) -> Iterator[StreamThread]:
    it = StreamThread()
    yield it
    it.stream.close()
    it.thread.join()
    assert not portaudio.open


def test_the_other_one_is_used_and_the_clock_continues(stream_thread, portaudio):
    before = stream_thread.until(0, 5)[-1]
    stream_thread.stream.listen_to("two")
    info = stream_thread.stream.info
    assert (info.source, info.source_rate, info.source_channels) == ("[1] two", 44_100, 2)
    assert list(portaudio.open) == ["two"]
    after = stream_thread.until(1, 5)
    assert after[0].jumped
    assert not any(update.jumped for update in after[1:])
    assert before.level_db == pytest.approx(-44, abs=2)
    assert all(update.level_db == pytest.approx(-24, abs=2) for update in after[1:5])
    assert after[0].filled_s < 0.5
    times = [update.time for update in stream_thread.got]
    steps = np.diff(times)
    assert np.all(steps > 0)
    assert portaudio.starts == 0


def test_the_same_one_is_left_alone(stream_thread, portaudio):
    stream = portaudio.open["one"]
    stream_thread.stream.listen_to("one")
    assert portaudio.open == {"one": stream}
    assert not any(update.jumped for update in stream_thread.until(0, 8))


@pytest.mark.parametrize("device", ["theremin", "two"])
def test_if_it_cannot_be_opened_the_old_one_stays(device, stream_thread, portaudio):
    portaudio.refused.add("two")
    info, stream = stream_thread.stream.info, portaudio.open["one"]
    with pytest.raises(AudioDeviceError, match=r"theremin|cannot be opened"):
        stream_thread.stream.listen_to(device)
    assert (stream_thread.stream.info, portaudio.open) == (info, {"one": stream})
    assert not any(update.jumped for update in stream_thread.until(0, 10))
    assert stream_thread.error is None


def test_one_connected_since_is_found_by_its_name(stream_thread, portaudio):
    stream_thread.until(0, 3)
    portaudio.connected["three"] = (16_000, 1.0)
    stream_thread.stream.listen_to("three")
    assert (portaudio.starts, list(portaudio.open)) == (1, ["three"])
    assert stream_thread.stream.info.source == "[2] three"
    assert stream_thread.until(1, 5)[3].level_db == pytest.approx(-4, abs=4)
    assert stream_thread.error is None


def test_if_the_new_one_fails_after_all_the_old_one_is_opened_again(stream_thread, portaudio):
    stream_thread.until(0, 3)
    portaudio.connected["three"] = (16_000, 1.0)
    portaudio.refused.add("three")
    with pytest.raises(AudioDeviceError, match="three cannot be opened"):
        stream_thread.stream.listen_to("three")
    assert list(portaudio.open) == ["one"]
    assert stream_thread.until(1, 5)[3].level_db == pytest.approx(-44, abs=2)
    assert stream_thread.stream.info.source == "[0] one"


def test_the_old_one_is_opened_again_though_another_is_called_much_like_it(portaudio):
    portaudio.connected = {"one": (48_000, 0.01), "number one": (44_100, 0.1)}
    portaudio.known = dict(portaudio.connected)
    it = StreamThread("one")
    it.until(0, 3)
    portaudio.connected["three"] = (16_000, 1.0)
    portaudio.refused.add("three")
    with pytest.raises(AudioDeviceError, match="three cannot be opened"):
        it.stream.listen_to("three")
    assert list(portaudio.open) == ["one"]
    assert it.until(1, 5)[3].level_db == pytest.approx(-44, abs=2)
    it.stream.close()
    it.thread.join()
    assert it.error is None


def test_an_error_of_a_change_is_forgotten_however_soon_the_sound_continues(stream_thread, portaudio):
    """Else it would end the sound when the next one is lost."""
    live = stream_thread.stream._live
    stream_thread.until(0, 3)

    def refused_after_the_change() -> None:
        with live.released():
            live.change_to(MicrophoneSource("two"))
            stream_thread.until(1, 2)  # the other thread is quicker than this one
            raise AudioDeviceError("refused")

    with pytest.raises(AudioDeviceError, match="refused"):
        refused_after_the_change()
    assert live._error is None


@pytest.mark.parametrize("on_loss", ["exit", "wait"])
def test_if_neither_can_be_opened_the_old_one_is_lost(on_loss, portaudio, monkeypatch):
    monkeypatch.setattr(device_recovery, "FIRST_PAUSE", 0.05)
    it = StreamThread(on_loss=on_loss)
    it.until(0, 3)
    portaudio.connected["three"] = (16_000, 1.0)
    portaudio.refused.update(("one", "three"))
    with pytest.raises(AudioDeviceError):
        it.stream.listen_to("three")
    if on_loss == "wait":
        portaudio.refused.remove("one")
        assert it.until(1, 3)[0].level_db == pytest.approx(-44, abs=2)
        it.stream.close()
    it.thread.join()
    assert isinstance(it.error, AudioDeviceError) == (on_loss == "exit")


def test_overflows_of_both_are_counted(stream_thread, portaudio):
    stream_thread.until(0, 2)
    for _ in range(3):
        portaudio.open["one"].callback(np.zeros((480, 2), np.float32), 480, None, SimpleNamespace(input_overflow=True))
    stream_thread.stream.listen_to("two")  # before anybody has read so far
    stream_thread.until(1, 2)
    assert stream_thread.stream._live.xruns == 3
    assert stream_thread.until(1, 4)[-1].xruns == 3


def test_a_duration_counts_both(portaudio):
    it = StreamThread(duration=1.5)
    it.until(0, 5)
    it.stream.listen_to("two")
    it.thread.join()
    assert it.got[-1].time == pytest.approx(1.5, abs=0.06)  # the resampler's last hundredths are lost in the change
    assert not portaudio.open


def test_only_a_microphone_can_be_changed():
    stream = Stream(source=ArraySource(music(1)), tagger=FakeTagger())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="only a microphone"):
        stream.listen_to(0)
    stream.close()


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; sys.exit(print('instrec-live: error: no PortAudio', file=sys.stderr) or 3)", "no PortAudio"),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("import time; time.sleep(20)", "does not list"),
    ],
)
def test_a_list_that_does_not_come_is_one_line(program, words, monkeypatch):
    run = subprocess.run
    monkeypatch.setattr(devices, "_LOOK_WITHIN", 1.0)
    monkeypatch.setattr(devices.subprocess, "run", lambda _, **how: run([sys.executable, "-c", program], **how))
    with pytest.raises(AudioDeviceError, match=words) as error:
        list_input_devices_fresh()
    assert str(error.value).isprintable()


def test_a_settings_file_has_no_say_in_which_devices_there_are(monkeypatch):
    """It may be broken by now, or be none of the running program's."""
    asked: list[list[str]] = []

    def run(command: list[str], **how: Any) -> SimpleNamespace:
        asked.append(command)
        return SimpleNamespace(returncode=0, stdout=b"[]", stderr=b"")

    monkeypatch.setattr(devices.subprocess, "run", run)
    assert list_input_devices_fresh() == []
    assert "--no-config" in asked[0]


LISTEN = """
import json, sys, threading, time
from fakes import FakeTagger
from instrec_live.realtime.audio.devices import list_input_devices, list_input_devices_fresh
from instrec_live.realtime.stream.stream import Stream
stream = Stream(device="studio_mic", tagger=FakeTagger(), hop=0.5)
got = []
thread = threading.Thread(target=lambda: got.extend(stream))
thread.start()
def wait(more):
    wanted, deadline = len(got) + more, time.monotonic() + 120
    while len(got) < wanted and time.monotonic() < deadline:
        time.sleep(0.02)
wait(4)
with open(sys.argv[1], "a") as config:
    config.write("pcm.second_mic { type pulse device vmic2 }\\n")
fresh = [device.name for device in list_input_devices_fresh()]
running = [device.name for device in list_input_devices()]
before = len(got)
stream.listen_to("second_mic")
wait(8)
middle = len(got)
stream.listen_to("studio_mic")
wait(4)
stream.close()
thread.join(120)
levels = [[u.level_db for u in part] for part in (got[:before], got[before:middle], got[middle:])]
print(json.dumps({"fresh": fresh, "running": running, "levels": levels, "source": stream.info.source,
                  "jumped": sum(u.jumped for u in got), "xruns": got[-1].xruns,
                  "steps": [b.time - a.time for a, b in zip(got, got[1:])]}))
"""


@pytest.mark.timing
def test_a_real_driver(tmp_path):
    """Two microphones: one hears silence, the other, connected while the program runs, noise."""
    if reason := why_not():
        pytest.skip(reason)
    virtual = VirtualMicrophone()
    try:
        virtual.env["PYTHONPATH"] = str(Path(__file__).parents[2] / "support")
        virtual._control("load-module", "module-null-sink", "sink_name=vspk2", "rate=44100", "channels=1")
        virtual._control("load-module", "module-remap-source", "master=vspk2.monitor", "source_name=vmic2")
        noise = np.random.default_rng(0).integers(-9_000, 9_000, 44_100 * 30, np.int16)
        (tmp_path / "noise.raw").write_bytes(noise.tobytes())
        player = subprocess.Popen(
            ["paplay", "--raw", "--device=vspk2", "--rate=44100", "--channels=1", str(tmp_path / "noise.raw")],
            env=virtual.env,
        )
        command = [sys.executable, "-c", LISTEN, str(virtual.folder / ".asoundrc")]
        done = subprocess.run(command, env=virtual.env, capture_output=True, text=True, timeout=60, check=False)
        player.terminate()
        player.wait(120)
    finally:
        virtual.stop()
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert "second_mic" in said["fresh"]
    assert "second_mic" not in said["running"]
    silent, loud, again = said["levels"]
    assert min(map(len, said["levels"])) >= 4
    assert max(silent) < -90
    assert min(loud[-4:]) > -30  # the server first gives what it has buffered
    assert max(again[1:]) < -90
    assert said["jumped"] == 2
    assert said["source"].endswith("studio_mic")
    assert said["xruns"] == 0
    assert max(said["steps"]) < 2.0


def test_from_a_microphone_to_what_the_computer_plays_and_back(stream_thread, portaudio, monkeypatch):
    """`system` means the monitor of an output, which is no device of PortAudio's."""

    class Plays(ArraySource):
        def __init__(self, monitor: Any, channels: int | None) -> None:
            super().__init__(0 * music(60), live=True)
            self.label = monitor.label

        def read(self) -> np.ndarray | None:
            time.sleep(0.1)
            return super().read()

    monitor = SimpleNamespace(label="the speakers")
    monkeypatch.setattr(device_recovery, "monitor_meant", lambda device: monitor if device == "system" else None)
    monkeypatch.setattr(device_recovery, "MonitorSource", Plays)
    for _ in range(2):  # the second time it is left alone
        stream_thread.stream.listen_to("system")
    assert stream_thread.until(1, 4)[1].level_db == -120.0
    assert sum(update.jumped for update in stream_thread.got) == 1
    assert stream_thread.stream.info.source == "the speakers"
    assert not portaudio.open
    portaudio.connected["three"] = (16_000, 1.0)
    stream_thread.stream.listen_to("three")
    assert stream_thread.until(2, 5)[3].level_db == pytest.approx(-4, abs=4)
