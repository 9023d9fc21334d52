"""A file on the loudspeakers: what is played, and its position; with a fake driver and a real one."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from fakes import FakeTagger, music
from tiny_bundle import write_tiny
from virtual_microphone import VirtualMicrophone, why_not
from waiting import wait_for

from instrec_live.realtime.audio import FileSource, playback_clock, player
from instrec_live.realtime.audio.player import Fill, Loudspeaker, Player, Tape
from instrec_live.realtime.audio.reader import with_channels
from instrec_live.realtime.errors import AudioDeviceError
from instrec_live.realtime.stream.stream import Stream

RATE, LATENCY = 32_000, 0.2


class Driver:
    """Loudspeakers that play when the test says so, `LATENCY` after they took the sound; time is the test's, too."""

    label, rate, channels = "speakers", RATE, 2

    def __init__(self, fill: Fill) -> None:
        self.fill, self.now, self.taken, self.closed = fill, 100.0, [np.zeros((0, 2), np.float32)], False
        self.settle: Callable[[], None] = lambda: None

    def start(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    def play(self, seconds: float) -> None:
        """Take so much sound, 10 ms at a time, as time goes by."""
        for _ in range(round(seconds * 100)):
            self.settle()
            out = np.full((RATE // 100, 2), np.nan, np.float32)
            self.fill(out, self.now + LATENCY)
            self.taken.append(out)
            self.now += 0.01

    def heard(self) -> np.ndarray:
        return np.concatenate(self.taken)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", music(6, RATE), RATE, subtype="FLOAT")
    return tmp_path / "a.wav"


@pytest.fixture
def playing(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Player, Driver]]:
    drivers: list[Driver] = []

    def output(fill: Fill) -> Driver:
        drivers.append(Driver(fill))
        return drivers[0]

    made_up = SimpleNamespace(monotonic=lambda: drivers[0].now if drivers else 100.0)
    monkeypatch.setattr(player, "time", made_up)
    monkeypatch.setattr(playback_clock, "time", made_up)
    it = Player(FileSource(path), output=output)
    drivers[0].settle = partial(settle, it)
    settle(it)
    yield it, drivers[0]
    it.close()
    assert drivers[0].closed


def settle(it: Player) -> None:
    """Wait until the reader, which has a thread of its own, has read ahead."""

    def has_read() -> bool:
        with it._news:
            return it._wanted is None and it._enough()

    wait_for(has_read, "the reader")


def test_what_is_played_is_the_file_at_the_second_of_the_clock(playing, path):
    it, driver = playing
    driver.play(0.3)
    assert (it.position, it.until(0.5)) == (0.0, float("inf"))  # it stands until told to run
    it.run()
    driver.play(0.1)
    assert it.position == 0.0  # in the device, not yet in the air
    driver.play(1.1)
    assert it.position == pytest.approx(1.0)
    assert it.until(1.5) == pytest.approx(0.5)
    assert it.until(0.9) == 0.0
    sound, _ = soundfile.read(path, dtype="float32")
    heard = driver.heard()
    np.testing.assert_array_equal(heard[: round(0.3 * RATE)], 0)
    np.testing.assert_allclose(heard[round(0.3 * RATE) :][:RATE], np.stack([sound[:RATE]] * 2, 1), atol=1e-6)


def test_paused_the_clock_stops_once_the_device_is_empty(playing):
    it, driver = playing
    it.run()
    driver.play(0.5)
    it.pause(True)
    driver.play(1.0)
    assert it.position == pytest.approx(0.5)
    assert (it.until(0.6), it.paused) == (float("inf"), True)
    np.testing.assert_array_equal(driver.heard()[-RATE // 2 :], 0)
    it.pause(False)
    driver.play(0.5)
    assert it.position == pytest.approx(0.8)
    assert it.audible


def test_a_seek_takes_effect_at_once(playing, path):
    it, driver = playing
    it.run()
    driver.play(0.5)
    it.set(4.0)
    settle(it)
    driver.play(0.3)
    assert it.position == 4.0
    it.run()
    driver.play(0.5)
    assert it.position == pytest.approx(4.3)
    sound, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(driver.heard()[-RATE // 2 :, 0], sound[4 * RATE :][: RATE // 2], atol=1e-6)


@pytest.mark.parametrize("speed", [0.5, 2.0])
def test_the_clock_follows_the_speed(speed, playing):
    it, driver = playing
    it.run()
    driver.play(1.0)
    it.go(speed)
    driver.play(0.4 + LATENCY + 0.2)  # what had been read ahead is played as it was
    before = it.position
    driver.play(0.5)
    assert it.position - before == pytest.approx(0.5 * speed, abs=0.02)


def test_after_the_end_the_wall_clock_continues(playing):
    it, driver = playing
    it.set(5.5)
    settle(it)
    it.run()
    driver.play(0.5 + LATENCY - 0.05)
    assert it.position == pytest.approx(5.95)
    driver.play(0.1)
    assert it.position == pytest.approx(6.0)
    driver.play(0.4)
    assert it.position == pytest.approx(6.4)
    assert it.until(6.0) == 0.0  # whoever waits for the end need not wait for ever
    assert it.audible
    it.set(1.0)
    settle(it)
    it.run()
    driver.play(0.5)
    assert it.position == pytest.approx(1.3)


def test_a_driver_that_stalls_is_detected_and_the_wall_clock_continues(playing, caplog):
    it, driver = playing
    it.run()
    driver.play(1.0)
    for _ in range(60):
        driver.now += 0.1
        it.until(9.0)
    assert [record.message for record in caplog.records] == ["speakers stopped playing; continuing without playback"]
    assert not it.audible
    before = it.position
    driver.now += 0.25
    assert it.position == pytest.approx(before + 0.25)
    it.pause(True)
    driver.now += 1.0
    assert it.position == pytest.approx(before + 0.25)
    it.set(2.0)
    it.pause(False)
    it.go(2.0)
    it.run()
    driver.now += 1.0
    assert it.position == pytest.approx(4.0)


def test_a_program_that_stood_still_has_not_lost_its_loudspeakers(playing, caplog):
    it, driver = playing
    it.run()
    driver.play(1.0)
    driver.now += 60.0  # Ctrl-Z, or a laptop's lid
    it.until(9.0)
    driver.play(0.5)
    assert it.audible
    assert not caplog.records


def test_a_tape_gives_all_samples_at_any_speed() -> None:
    sound = music(2, 44_100)[:, None]
    for speed, rate in ((1.0, 48_000), (2.0, 44_100), (0.25, 44_100)):
        tape = Tape(44_100, rate, 1, 3.0, speed)
        pieces = [tape.push(sound[at : at + 4_410]) for at in range(0, len(sound), 4_410)] + [tape.rest()]
        assert sum(len(piece.sound) for piece in pieces) == pytest.approx(2 / speed * rate, abs=2)
        assert tape.position == pytest.approx(5.0, abs=1e-3)
        assert pieces[1].position == pytest.approx(3.0 + len(pieces[0].sound) / rate * speed)


def test_channels_that_do_not_fit_are_mixed() -> None:
    block = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    np.testing.assert_array_equal(with_channels(block, 2), [[2, 2], [5, 5]])
    np.testing.assert_array_equal(with_channels(block[:, :1], 2), [[1, 1], [4, 4]])
    assert with_channels(block[:, :2], 2) is not block
    np.testing.assert_array_equal(with_channels(block[:, :2], 2), block[:, :2])


class LiveDriver(Driver):
    """The same in real time."""

    def start(self) -> None:
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        at = time.monotonic()
        while not self.closed:
            out = np.empty((RATE // 50, 2), np.float32)
            self.fill(out, at + LATENCY)
            at += 0.02
            time.sleep(max(0.0, at - time.monotonic()))


@pytest.mark.timing
def test_updates_keep_step_with_what_is_played(path, monkeypatch):
    monkeypatch.setattr("instrec_live.realtime.stream.stream.Player", partial(Player, output=LiveDriver))
    monkeypatch.setattr("instrec_live.realtime.stream.stream.check_output", lambda: None)
    stream = Stream(file=path, play=True, tagger=FakeTagger(), hop=0.25)  # type: ignore[arg-type]
    transport = stream.transport
    assert transport is not None
    assert transport.audible
    gaps, got = [], []
    for update in stream:
        gaps.append(abs(update.time - transport.position) - update.inference_s)
        got.append(update)
        if len(got) == 4:
            transport.seek(4.0)
        if len(got) == 8:
            transport.pause(True)
            threading.Timer(0.5, transport.pause, (False,)).start()
    assert [u.time for u in got[4:]] == pytest.approx(np.arange(4.25, 6.01, 0.25))
    assert [number for number, update in enumerate(got) if update.jumped] == [4]
    print(f"out of step by at most {1e3 * max(gaps):.0f} ms")
    assert np.median(gaps) < 0.1
    assert max(gaps) < 0.15


@pytest.mark.parametrize("when", ["query_devices", "OutputStream", "start"])
def test_loudspeakers_that_fail_are_one_clear_line(when, monkeypatch):
    class PortAudioError(Exception):
        pass

    def fail(*_: object, **__: object) -> None:
        raise PortAudioError("Device unavailable [PaErrorCode -9985]")

    device = {"name": "speakers", "default_samplerate": 48_000.0, "max_output_channels": 2}
    stream = SimpleNamespace(start=fail if when == "start" else None)
    fake = SimpleNamespace(
        PortAudioError=PortAudioError,
        query_devices=fail if when == "query_devices" else lambda kind: device,
        OutputStream=fail if when == "OutputStream" else lambda **_: stream,
    )
    monkeypatch.setattr(player, "sounddevice", lambda: fake)
    with pytest.raises(AudioDeviceError, match=r"cannot play: Device unavailable.*--play") as error:
        Loudspeaker(lambda out, at: None).start()
    assert error.value.exit_code == 3


PLAY = """
import sys, time
from fakes import FakeTagger
from instrec_live.realtime.stream.stream import Stream
stream = Stream(file=sys.argv[1], play=True, tagger=FakeTagger(), hop=0.5)
for update in stream:
    print(update.time, time.time(), update.inference_s, flush=True)
assert stream.transport.audible
"""


@pytest.mark.timing
def test_updates_keep_step_with_what_a_real_driver_plays(tmp_path):
    """Played into a null sink whose monitor is recorded: the recording tells what was in the air at each update."""
    if reason := why_not():
        pytest.skip(reason)
    rate = 48_000
    noise = (0.3 * np.random.default_rng(0).standard_normal(6 * rate)).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", noise, rate, subtype="FLOAT")
    virtual = VirtualMicrophone()
    try:
        virtual.env["PYTHONPATH"] = str(Path(__file__).parents[2] / "support")
        record = ["parec", "--device=vspk.monitor", f"--rate={rate}", "--channels=1", "--format=float32le"]
        recorder = subprocess.Popen([*record, "--latency-msec=10"], env=virtual.env, stdout=subprocess.PIPE)
        data, arrivals = bytearray(), []

        def read() -> None:
            while some := recorder.stdout.read1(4096):  # type: ignore[union-attr]
                data.extend(some)
                arrivals.append(time.time() - len(data) / 4 / rate)

        reader = threading.Thread(target=read)
        reader.start()
        command = [sys.executable, "-c", PLAY, str(tmp_path / "noise.wav")]
        done = subprocess.run(command, env=virtual.env, capture_output=True, text=True, timeout=60, check=False)
        recorder.terminate()
        reader.join()
    finally:
        virtual.stop()
    assert (done.returncode, done.stderr) == (0, "")
    heard = np.frombuffer(bytes(data[: len(data) // 4 * 4]), np.float32)
    began = min(arrivals)  # when the recording's first sample was in the air, as near as arrivals tell
    gaps = []
    for line in done.stdout.splitlines():
        second, when, inference = map(float, line.split())
        newest = heard[: round((when - began) * rate)][-rate // 5 :]
        cross = np.fft.irfft(np.fft.rfft(noise, 1 << 19) * np.conj(np.fft.rfft(newest, 1 << 19)))
        in_the_air = (int(np.argmax(cross[: len(noise)])) + len(newest)) / rate
        gaps.append(1e3 * (abs(second - in_the_air) - inference))
    print(f"out of step with the air: median {np.median(gaps):.0f} ms, at most {max(gaps):.0f} ms")
    assert len(gaps) == 12
    assert np.median(gaps) < 100


RUN = [sys.executable, "-m", "instrec_live.realtime", "-q", "--no-config"]
NO_LOUDSPEAKERS = """
class PortAudioError(Exception): ...
def query_devices(kind=None): raise PortAudioError("Error querying device -1")
"""


def program(folder: Path, *argv: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    write_tiny(folder / "tiny", "tiny")
    return subprocess.run(
        [*RUN, "--models", "./tiny", "--no-ui", *argv],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["--play"], 2, "--play needs a file"),
        (["--play", "--file", "a.wav", "--pace", "max"], 2, "--pace max"),
        (["--speed", "2", "--stdin"], 2, "--speed needs a file"),
        (["--speed", "2", "--file", "a.wav", "--pace", "max"], 2, "--pace max"),
        (["--speed", "5", "--file", "a.wav"], 2, "from 0.25 to 4"),
        (["--play", "--file", "a.wav"], 3, "the default output device cannot play"),
        (["--play", "--file", "b.wav"], 4, "b.wav does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_a_code(argv, code, words, path, tmp_path):
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "sounddevice.py").write_text(NO_LOUDSPEAKERS)
    done = program(tmp_path, *argv, environment={"PYTHONPATH": str(tmp_path / "fake")})
    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr


def test_the_program_hurries_through_a_file(path, tmp_path):
    done = program(tmp_path, "--file", "a.wav", "--speed", "4", "--json")
    assert done.returncode == 0, done.stderr
    times = [json.loads(line).get("time") for line in done.stdout.splitlines()[1:-1]]
    assert times[-1] == pytest.approx(6.0)


@pytest.mark.timing
def test_the_program_plays_the_file(path, tmp_path):
    if reason := why_not():
        pytest.skip(reason)
    virtual = VirtualMicrophone()
    try:
        record = ["parec", "--device=vspk.monitor", "--rate=48000", "--channels=1", "--format=float32le"]
        with open(tmp_path / "heard", "wb") as file:  # a pipe that nobody reads meanwhile holds a third of a second
            recorder = subprocess.Popen([*record, "--latency-msec=10"], env=virtual.env, stdout=file)
        done = program(tmp_path, "--file", "a.wav", "--play", "--start", "3", "--json", environment=virtual.env)
        time.sleep(0.5)
        recorder.terminate()
        recorder.wait(120)
        data = (tmp_path / "heard").read_bytes()
    finally:
        virtual.stop()
    assert done.returncode == 0, done.stderr
    heard = np.frombuffer(data[: len(data) // 4 * 4], np.float32)
    loud = np.flatnonzero(np.abs(heard) > 0.01)
    assert (loud[-1] - loud[0]) / 48_000 == pytest.approx(3.0, abs=0.1)
    assert np.sqrt(np.mean(heard[loud[0] : loud[-1]] ** 2)) == pytest.approx(
        np.sqrt(np.mean(soundfile.read(path, start=3 * RATE)[0] ** 2)), rel=0.05
    )
