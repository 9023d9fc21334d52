"""A microphone that is lost during a run, and found again: with a fake PortAudio, and with PulseAudio's."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fake_portaudio import FakePortAudio, StreamThread, use
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from played import an_update, play, session_of
from tiny_bundle import write_tiny
from virtual_microphone import NAME, VirtualMicrophone, why_not
from waiting import FOREVER, wait_for

from instrec_live.realtime.audio import devices, microphone
from instrec_live.realtime.audio.devices import InputDevice, found_again, namesakes
from instrec_live.realtime.audio.native_noise import suppress_stderr
from instrec_live.realtime.errors import AudioDeviceError, InstrecError, UsageError
from instrec_live.realtime.outputs import JsonLines
from instrec_live.realtime.stream import device_recovery, live_capture
from instrec_live.realtime.stream.capture import Drift
from instrec_live.realtime.stream.device_recovery import GapFiller, Reconnector, pauses
from instrec_live.realtime.stream.stream import Stream
from instrec_live.realtime.stream.update import State, Update


@pytest.fixture
def portaudio(monkeypatch: pytest.MonkeyPatch) -> FakePortAudio:
    """Where a loss is noticed after 0.3 s, told of every 0.1 s, and the search soon begins."""
    fake = FakePortAudio()
    use(fake, monkeypatch)
    monkeypatch.setattr(microphone, "LOST_AFTER", 0.3)
    monkeypatch.setattr(live_capture, "_REPORT_EVERY", 0.1)
    monkeypatch.setattr(device_recovery, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(device_recovery, "LONGEST_PAUSE", 0.2)
    return fake


@pytest.fixture
def stream_thread(portaudio: FakePortAudio) -> Iterator[StreamThread]:
    it = StreamThread()
    yield it
    finish(it, portaudio)


def finish(it: StreamThread, portaudio: FakePortAudio) -> None:
    it.stream.close()
    it.thread.join()
    wait_for(lambda: "search" not in own_threads())  # it would open what the next test has
    assert not portaudio.open


def lost(it: StreamThread) -> list[Update]:
    return [update for update in it.got if update.state is State.DEVICE_LOST]


def unplug(it: StreamThread, portaudio: FakePortAudio, name: str = "one") -> None:
    """Take it away, and wait until that is told of."""
    wait_for(lambda: len(it.got) >= 3)
    del portaudio.connected[name]
    wait_for(lambda: it.got[-1].state is State.DEVICE_LOST)


def own_threads() -> set[str]:
    """Threads of the program's own, by name."""
    return {thread.name for thread in threading.enumerate() if thread.name in ("search", "capture", "close-device")}


def test_it_reports_it_until_it_is_back_and_starts_again(stream_thread, portaudio, caplog):
    caplog.set_level(logging.INFO)
    before = own_threads()
    unplug(stream_thread, portaudio)
    heard = stream_thread.got[-2]
    wait_for(lambda: len(lost(stream_thread)) >= 4)
    for update in lost(stream_thread):
        assert (update.time, update.active, update.mel) == (heard.time, (), None)
        assert not update.probabilities.any()
        assert set(update.by_model) == set(heard.by_model)
        assert (update.level_db, update.filled_s, update.jumped) == (-120.0, 0.0, False)
    ages = [update.age_s for update in lost(stream_thread)]
    assert ages[0] > 0.25
    assert np.all(np.diff(ages) > 0)
    portaudio.connected = {"new": (16_000, 1.0), **portaudio.connected, "one": (48_000, 0.01)}
    after = stream_thread.until(1, 5)
    assert "new" not in portaudio.tried
    assert list(portaudio.open) == ["one"]
    assert stream_thread.stream.info.source == "[2] one"
    assert {update.state for update in after} <= {State.WARMING, State.CATCHING_UP}  # of a busy machine
    assert after[0].filled_s < 0.5
    assert after[0].level_db == pytest.approx(-44, abs=2)
    assert after[0].time - heard.time > lost(stream_thread)[-1].age_s - 0.3  # the clock went on meanwhile
    wait_for(lambda: own_threads() == before)
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO]
    assert [line.split(": ")[0] for line in said] == ["device lost", "[2] one"]


def test_another_default_device_is_not_the_same(portaudio):
    it = StreamThread(device=None)
    unplug(it, portaudio)
    wait_for(lambda: portaudio.starts >= 3)
    assert portaudio.known.keys() == {"two"}  # the default now
    assert "two" not in portaudio.tried
    assert it.got[-1].state is State.DEVICE_LOST
    finish(it, portaudio)


def test_a_part_of_the_name_is_not_the_name(portaudio):
    it = StreamThread()
    unplug(it, portaudio)
    portaudio.connected["one more"] = (48_000, 0.01)
    wait_for(lambda: portaudio.starts >= 4)
    assert "one more" not in portaudio.tried
    finish(it, portaudio)


def test_a_device_that_returns_without_sound_is_still_lost(portaudio, monkeypatch):
    monkeypatch.setattr("instrec_live.realtime.stream.device_recovery.START_WITHIN", 0.3)
    it = StreamThread()
    unplug(it, portaudio)
    portaudio.mute.add("one")
    portaudio.connected["one"] = (48_000, 0.01)
    wait_for(lambda: portaudio.tried.count("one") >= 3)
    assert not any(update.jumped for update in it.got)
    portaudio.mute.clear()
    assert it.until(1, 2)[0].jumped
    finish(it, portaudio)


def test_it_may_be_lost_again(stream_thread, portaudio):
    for count in (1, 2, 3):
        unplug(stream_thread, portaudio)
        portaudio.connected["one"] = (48_000, 0.01)
        stream_thread.until(count, 3)
    times = [update.time for update in stream_thread.got]
    assert np.all(np.diff(times) >= 0)


def test_on_loss_exit_ends_it(portaudio):
    it = StreamThread(on_loss="exit")
    wait_for(lambda: len(it.got) >= 3)
    del portaudio.connected["one"]
    it.thread.join()
    assert isinstance(it.error, AudioDeviceError)
    assert "device lost" in str(it.error)
    assert not lost(it)
    assert not portaudio.open


def test_one_that_never_gave_any_sound_is_an_error(portaudio, monkeypatch):
    monkeypatch.setattr(microphone, "START_WITHIN", 0.2)
    portaudio.mute.add("one")
    it = StreamThread()
    it.thread.join()
    assert isinstance(it.error, AudioDeviceError)
    assert portaudio.tried == ["one"]


def test_on_loss_is_checked():
    with pytest.raises(UsageError, match="wait or exit, not cry"):
        Stream(on_loss="cry")


@pytest.mark.parametrize("moment", ["search", "first sound"])
def test_closing_ends_the_wait(moment, portaudio, monkeypatch):
    if moment == "search":
        monkeypatch.setattr(device_recovery, "LONGEST_PAUSE", FOREVER)
        monkeypatch.setattr(device_recovery, "FIRST_PAUSE", FOREVER)
    else:
        monkeypatch.setattr("instrec_live.realtime.stream.device_recovery.START_WITHIN", FOREVER)
    it = StreamThread()
    unplug(it, portaudio)
    if moment == "first sound":
        portaudio.mute.add("one")
        portaudio.connected["one"] = (48_000, 0.01)
        wait_for(lambda: portaudio.tried.count("one") >= 2)
    finish(it, portaudio)
    assert it.error is None
    assert "search" not in own_threads()
    assert not devices._hanging


def test_a_driver_that_hangs_while_reconnecting_blocks_nothing(portaudio, monkeypatch):
    monkeypatch.setattr(devices, "_hanging", set())
    release, hanging = threading.Event(), threading.Event()

    def hang() -> None:
        hanging.set()
        release.wait()

    it = StreamThread()
    wait_for(lambda: len(it.got) >= 3)
    portaudio._initialize = hang  # type: ignore[method-assign]
    del portaudio.connected["one"]
    assert hanging.wait(120)
    told = len(it.got)
    wait_for(lambda: len(it.got) >= told + 4)
    it.stream.close()
    it.thread.join()
    assert devices._hanging  # nothing is asked of it at exit
    release.set()
    finish(it, portaudio)


def test_another_one_can_be_listened_to_meanwhile(stream_thread, portaudio):
    unplug(stream_thread, portaudio)
    stream_thread.stream.listen_to("two")
    after = stream_thread.until(1, 4)
    assert stream_thread.stream.info.source == "[0] two"
    assert after[0].jumped
    assert after[0].level_db == pytest.approx(-24, abs=2)
    portaudio.connected["one"] = (48_000, 0.01)
    told = len(lost(stream_thread))
    time.sleep(0.5)  # the search is over
    assert list(portaudio.open) == ["two"]
    assert len(lost(stream_thread)) == told


@pytest.mark.parametrize("other", [False, True])
def test_the_drift_is_of_the_device_in_use(other, stream_thread, portaudio):
    wait_for(lambda: len(stream_thread.got) >= 3)
    known = stream_thread.stream._live._drift = Drift(0.01, 20.0)
    unplug(stream_thread, portaudio)
    assert stream_thread.stream.drift == known
    if other:
        stream_thread.stream.listen_to("two")
    else:
        portaudio.connected["one"] = (48_000, 0.01)
    stream_thread.until(1, 2)
    assert stream_thread.stream.drift == (None if other else known)


def test_one_that_cannot_be_opened_meanwhile_ends_no_search(stream_thread, portaudio):
    unplug(stream_thread, portaudio)
    with pytest.raises(AudioDeviceError):
        stream_thread.stream.listen_to("theremin")
    assert stream_thread.error is None
    portaudio.connected["one"] = (48_000, 0.01)
    assert stream_thread.until(1, 3)[0].jumped


def test_a_duration_counts_the_time_without_sound(portaudio):
    began = time.monotonic()
    it = StreamThread(duration=1.5)
    unplug(it, portaudio)
    it.thread.join()
    assert time.monotonic() - began > 1.4
    assert it.error is None
    assert it.got[-1].state is State.DEVICE_LOST
    assert not portaudio.open


def test_a_recording_keeps_the_streams_time(portaudio):
    heard: list[int] = []
    it = StreamThread()
    it.stream.tap(lambda samples: heard.append(len(samples)))
    unplug(it, portaudio)
    portaudio.connected["one"] = (48_000, 0.01)
    it.until(1, 4)
    finish(it, portaudio)
    assert sum(heard) / 32_000 == pytest.approx(it.got[-1].time, abs=0.15)


def test_silence_lags_behind_until_its_end_is_known():
    handed: list[int] = []
    silence = GapFiller(lambda samples: handed.append(len(samples)))
    silence.finish(5.0)  # nothing was lost
    assert not handed
    for second in range(1, 13):
        silence.fill_to(float(second))
    assert sum(handed) == 2 * 32_000
    silence.finish(9.5)  # the sound had begun before that was noticed
    assert sum(handed) == 9.5 * 32_000
    silence.finish(5.0)
    silence.fill_to(10_010.0)
    assert sum(handed) == 10_009.5 * 32_000
    assert max(handed) == 320_000


def test_a_defect_while_reconnecting_is_raised(stream_thread, portaudio):
    unplug(stream_thread, portaudio)
    portaudio._initialize = lambda: 1 / 0  # type: ignore[assignment, method-assign, return-value]
    stream_thread.thread.join()
    assert isinstance(stream_thread.error, ZeroDivisionError)


def test_the_pauses_grow_to_ten_seconds():
    pause = pauses()
    assert [next(pause) for _ in range(8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


class FakeClock(threading.Event):
    """An event that is set after so many waits, none of which takes any time."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self.waits, self.waited = waits, list[float | None]()

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout)
        return len(self.waited) > self.waits


def searched(
    attempt: Callable[[], None], wanted: Callable[[], bool], waits: int = 99
) -> tuple[Reconnector, FakeClock, int]:
    rings: list[None] = []
    it, clock = Reconnector(attempt, wanted, lambda: rings.append(None)), FakeClock(waits)
    it._stopped = clock
    it.start()
    assert it.join(120)
    return it, clock, len(rings)


def test_there_is_one_attempt_after_every_pause():
    log: list[str] = []

    def attempt() -> None:
        log.append("attempt")
        raise AudioDeviceError("not there")

    it, clock, _ = searched(attempt, lambda: True, waits=7)
    assert len(log) == 7
    assert clock.waited == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
    assert it.defect is None


def test_there_are_no_attempts_once_it_is_found():
    log: list[str] = []
    it, clock, _ = searched(lambda: log.append("attempt"), lambda: len(log) < 3)
    assert (len(log), len(clock.waited), it.defect) == (3, 4, None)


def test_a_defect_ends_the_search_and_rings():
    def attempt() -> None:
        raise ZeroDivisionError

    it, clock, rings = searched(attempt, lambda: True)
    assert isinstance(it.defect, ZeroDivisionError)
    assert (rings, clock.waited) == (1, [0.5])


def test_a_failure_is_in_the_log_once(caplog):
    caplog.set_level(logging.DEBUG)
    errors = [AudioDeviceError("not there")] * 5 + [InstrecError("no sound")] * 5

    def attempt() -> None:
        raise errors.pop(0)

    searched(attempt, lambda: bool(errors))
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == ["not there", "no sound"]


def test_native_noise_is_left_out_and_our_own_lines_are_not(capfd):
    with suppress_stderr():
        os.write(2, b"ALSA lib pcm.c: Unknown PCM\n")
        print("instrec-live: the disk is full", file=sys.stderr, flush=True)
    os.write(2, b"after\n")
    assert capfd.readouterr().err.splitlines() == ["instrec-live: the disk is full", "after"]


def mics(*names: str, api: str = "Core Audio") -> list[InputDevice]:
    return [InputDevice(index, name, 2, 48_000, False, api) for index, name in enumerate(names)]


def test_two_microphones_with_one_name_are_distinguished_by_their_place():
    before = mics("USB Mic", "Built-in", "USB Mic")
    twins = namesakes(before[2], before)
    assert [each.index for each in twins] == [0, 2]
    assert found_again(before[2], twins, mics("Built-in", "USB Mic", "USB Mic")).index == 2
    assert found_again(before[0], twins, mics("Built-in", "USB Mic", "USB Mic")).index == 1
    for now in (mics("Built-in", "USB Mic"), mics("Built-in"), mics(*["USB Mic"] * 3), mics(*["USB Mic"] * 2, api="x")):
        with pytest.raises(AudioDeviceError, match="USB Mic \\(Core Audio\\) is not connected"):
            found_again(before[2], twins, now)


def test_the_number_of_an_alsa_card_is_not_its_name():
    before = mics("Scarlett 2i2 USB: Audio (hw:1,0)", api="ALSA")
    twins = namesakes(before[0], before)
    now = mics("Webcam: USB Audio (hw:1,0)", "Scarlett 2i2 USB: Audio (hw:2,0)", api="ALSA")
    assert found_again(before[0], twins, now).index == 1
    with pytest.raises(AudioDeviceError, match="is not connected"):  # another input of the same card
        found_again(before[0], twins, mics("Scarlett 2i2 USB: Audio (hw:1,1)", api="ALSA"))


def test_the_outputs_have_when_it_was_lost_and_found(tmp_path):
    away = [an_update(2.0, state=State.DEVICE_LOST)] * 3
    session = session_of(an_update(1.0), an_update(2.0, "piano"), *away, an_update(9.5, "piano", jumped=True))
    with open(tmp_path / "x.jsonl", "w") as file:
        session.add("x", JsonLines(file, {"type": "header"}))
        play(session)
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    kinds = ["header", "update", "update", "lost", "update", "update", "update", "found", "update", "summary"]
    assert [line["type"] for line in lines] == kinds
    assert lines[3] == {"type": "lost", "time": 2.0}
    assert (lines[7]["time"], lines[7]["after_s"]) == (9.5, 7.5)
    assert {"source", "rate", "channels"} < lines[7].keys()
    assert lines[-1]["active_seconds"]["piano"] == pytest.approx(1.5)  # not while it was lost


STEPS = st.lists(st.sampled_from(["unplug", "plug", "mute", "two", "one", "pause", "pause"]), max_size=7)


@settings(
    max_examples=settings().max_examples // 10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(STEPS)
def test_it_can_be_closed_in_every_state(steps):
    with pytest.MonkeyPatch.context() as monkeypatch:
        fake = FakePortAudio()
        use(fake, monkeypatch)
        monkeypatch.setattr(microphone, "LOST_AFTER", 0.15)
        monkeypatch.setattr(microphone, "START_WITHIN", 0.3)
        monkeypatch.setattr("instrec_live.realtime.stream.device_recovery.START_WITHIN", 0.2)
        monkeypatch.setattr(live_capture, "_REPORT_EVERY", 0.05)
        monkeypatch.setattr(device_recovery, "FIRST_PAUSE", 0.01)
        monkeypatch.setattr(device_recovery, "LONGEST_PAUSE", 0.05)
        it = StreamThread()
        for step in steps:
            happen(step, it, fake)
        finish(it, fake)
        assert it.error is None or isinstance(it.error, AudioDeviceError)
        assert np.all(np.diff([update.time for update in it.got]) >= 0)


def happen(step: str, it: StreamThread, fake: FakePortAudio) -> None:
    match step:
        case "unplug":
            fake.connected.pop("one", None)
        case "plug":
            fake.connected["one"] = (48_000, 0.01)
            fake.mute.clear()
        case "mute":
            fake.mute.add("one")
        case "pause":
            time.sleep(0.2)
        case name:
            try:
                it.stream.listen_to(name)
            except AudioDeviceError:
                return


RUN = [sys.executable, "-m", "instrec_live.realtime", "--models", "./one"]


class Program:
    """The program as a user runs it, with what it says on stdout and when."""

    def __init__(self, virtual: VirtualMicrophone, place: Path, *argv: str) -> None:
        write_tiny(place / "one", "one")
        self.process = subprocess.Popen(
            [*RUN, "--json", *argv],
            cwd=place,
            env=virtual.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[tuple[float, dict[str, Any]]] = []
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append((time.monotonic(), json.loads(line)))

    def of(self, kind: str, *states: str) -> list[tuple[float, dict[str, Any]]]:
        """When each record of a kind came, and the record; of updates perhaps only those in some states."""
        return [said for said in self.said if said[1]["type"] == kind and (not states or said[1]["state"] in states)]

    def until(self, kind: str, *states: str, count: int = 1) -> list[tuple[float, dict[str, Any]]]:
        wait_for(lambda: len(self.of(kind, *states)) >= count or self.process.poll() is not None)
        assert self.of(kind, *states)[count - 1 :], "it has ended"
        return self.of(kind, *states)

    @property
    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def end(self) -> str:
        """Ctrl-C, if it still runs; returns what was said on stderr."""
        assert self.process.stderr is not None
        self.process.send_signal(signal.SIGINT)
        said = self.process.stderr.read()
        self.process.wait(120)
        self.reader.join(120)
        return said


@pytest.fixture
def virtual_microphone() -> Iterator[VirtualMicrophone]:
    if reason := why_not():
        pytest.skip(reason)
    virtual = VirtualMicrophone()
    yield virtual
    virtual.stop()


@pytest.mark.timing
@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in Linux's /proc")
@pytest.mark.parametrize(
    ("device", "lose", "restore", "seconds"),
    # Two seconds after it is frozen the driver is given up, until it answers again.
    [(NAME, "unplug", "plug", 1), (NAME, "freeze", "thaw", 3), ("system", "unplug", "plug", 1)],
)
def test_a_real_one_is_lost_and_found(device, lose, restore, seconds, virtual_microphone, tmp_path):
    program = Program(virtual_microphone, tmp_path, "--device", device, "--record", "all.wav")
    try:
        program.until("update", count=4)
        threads, began = program.threads, time.monotonic()
        getattr(virtual_microphone, lose)()
        noticed = program.until("update", "DEVICE LOST")[0][0] - began
        program.until("update", "DEVICE LOST", count=1 + seconds)
        began = time.monotonic()
        getattr(virtual_microphone, restore)()
        found = program.until("found")[0][0] - began
        program.until("update", count=len(program.of("update")) + 6)
        wait_for(lambda: program.threads == threads)
    finally:
        said = program.end()
    # The moment at which the stream's clock would have been 0, as each update has it.
    zero = [when - line["time"] - line["age_s"] for when, line in program.of("update")]
    print(f"{device}, {lose}: noticed after {noticed:.2f} s, found {found:.2f} s after it was back, ", end="")
    print(f"clock off by {zero[-1] - zero[0]:+.3f} s\n{said}")
    assert program.process.returncode == 130
    assert noticed < 1.5
    assert found < 8.0
    assert [line["type"] for _, line in program.said if line["type"] in ("lost", "found")] == ["lost", "found"]
    assert sum(line.get("jumped", False) for _, line in program.of("update")) == 1
    assert abs(zero[-1] - zero[0]) < 0.3
    summary = program.said[-1][1]
    assert summary["type"] == "summary"
    assert soundfile.info(tmp_path / "all.wav").duration == pytest.approx(summary["time"], abs=0.3)
    assert "Traceback" not in said
    ours = [line for line in said.splitlines() if "trying to reconnect" in line or "reconnected after" in line]
    assert len(ours) == 2
    assert len(said.splitlines()) < 12  # what ALSA says of every attempt is left out


@pytest.mark.timing
def test_a_program_that_stood_still_continues_with_the_true_time(virtual_microphone, tmp_path):
    """As when the machine slept, and its clock went on."""
    program = Program(virtual_microphone, tmp_path, "--device", NAME, "--engine", "onnx")
    try:
        before = len(program.until("update", count=4))
        program.process.send_signal(signal.SIGSTOP)
        time.sleep(2.5)
        program.process.send_signal(signal.SIGCONT)
        program.until("update", "WARMING", "QUIET", "OK", count=before + 6)
    finally:
        said = program.end()
    updates = program.of("update")
    zero = [when - line["time"] - line["age_s"] for when, line in updates]
    print(f"clock off by {zero[-1] - zero[0]:+.3f} s\n{said}")
    assert abs(zero[-1] - zero[0]) < 0.3
    assert all(line["age_s"] >= 0 for _, line in updates)
    assert updates[-1][1]["age_s"] < 1.0
    assert updates[-1][1]["skipped"] <= 1  # no storm
    assert sum(line["type"] == "lost" for _, line in program.said) <= 1
    assert "Traceback" not in said


@pytest.mark.timing
def test_two_listen_to_one_microphone(virtual_microphone, tmp_path):
    soundfile.write(tmp_path / "tone.wav", np.sin(np.arange(48_000 * 20) / 10).astype(np.float32) / 4, 48_000)
    player = virtual_microphone.play(tmp_path / "tone.wav")
    programs = [Program(virtual_microphone, tmp_path, "--device", NAME, "--engine", "onnx") for _ in range(2)]
    try:
        for each in programs:
            each.until("update", count=4)
        for each in programs:  # both go on while the other is there
            each.until("update", count=len(each.of("update")) + 4)
        levels = [each.of("update")[-1][1]["level_db"] for each in programs]
    finally:
        said = [each.end() for each in programs]
        player.terminate()
        player.wait(120)
    assert [each.process.returncode for each in programs] == [130, 130], said
    assert all(each.said[-1][1]["type"] == "summary" for each in programs)
    assert levels == pytest.approx([-15.0, -15.0], abs=1.0)
    assert not any("error" in line for line in "".join(said).splitlines() if line.startswith("instrec-live"))


@pytest.mark.timing
@pytest.mark.parametrize(("on_loss", "code"), [("exit", 3), ("wait", 130)])
def test_the_program_ends_or_waits(on_loss, code, virtual_microphone, tmp_path):
    program = Program(virtual_microphone, tmp_path, "--device", NAME, "--on-loss", on_loss)
    try:
        program.until("update", count=2)
        virtual_microphone.unplug()
        if on_loss == "exit":
            program.process.wait(120)
        else:
            program.until("update", "DEVICE LOST")
        began = time.monotonic()
    finally:
        said = program.end()
    assert time.monotonic() - began < 3.0
    assert program.process.returncode == code
    assert bool(program.of("update", "DEVICE LOST")) == (on_loss == "wait")
    assert program.said[-1][1]["type"] == "summary"
    assert ("error: device lost" in said.splitlines()[-1]) == (on_loss == "exit")
