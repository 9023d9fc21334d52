"""A real recording through PulseAudio and PortAudio; and a fake PortAudio for what hardware does on a bad day."""

import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import soundfile
import soxr
from virtual_microphone import NAME, VirtualMicrophone, why_not
from waiting import FOREVER, wait_for

from instrec_live.realtime.audio import MicrophoneSource, devices, microphone
from instrec_live.realtime.errors import AudioDeviceError, UsageError

RECORD = """
import sys, time, numpy as np
from instrec_live.realtime.errors import InstrecError, report
from instrec_live.realtime.audio import MicrophoneSource
source = MicrophoneSource(sys.argv[1])
blocks = [source.read()]
print(source.label, source.rate, source.channels, flush=True)
began = last = time.monotonic()
try:
    while time.monotonic() - began < float(sys.argv[3]):
        blocks.append(source.read())
        last = time.monotonic()
except InstrecError as error:
    print(time.monotonic() - last)
    source.close()
    sys.exit(report(error))
source.close()
assert source.read() is None
np.save(sys.argv[2], np.concatenate(blocks))
print(source.xruns, source.bad_samples)
"""


@pytest.fixture
def virtual_microphone() -> Iterator[VirtualMicrophone]:
    if reason := why_not():
        pytest.skip(reason)
    virtual = VirtualMicrophone()
    yield virtual
    virtual.stop()


def record(virtual: VirtualMicrophone, device: str, path: str, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RECORD, device, path, str(seconds)],
        env=virtual.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def music(rate: int, seconds: float) -> np.ndarray:
    """Noise between 100 Hz and 10 kHz, float32 [n]: nothing else has its cross-correlation's one sharp peak."""
    spectrum = np.fft.rfft(np.random.default_rng(1).standard_normal(round(rate * seconds)))
    hz = np.fft.rfftfreq(round(rate * seconds), 1 / rate)
    sound = np.fft.irfft(np.where((hz > 100) & (hz < 10_000), spectrum, 0))
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


def snr_db(heard: np.ndarray, played: np.ndarray) -> float:
    """Signal to noise of what was heard, after the best shift (to fractions of a sample); gain must be 1."""
    size = len(heard) + len(played)
    cross = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(played, size)), size)
    lag = int(np.argmax(cross[: len(heard)]))
    part = heard[lag : lag + len(played)].astype(np.float64)
    assert len(part) == len(played), "the recording ends before the music"
    wave = np.fft.rfft(played)
    cycles = np.fft.rfftfreq(len(played))  # per sample

    def noise(shift: float) -> np.ndarray:
        shifted = np.fft.irfft(wave * np.exp(-2j * np.pi * cycles * shift), len(played))
        return (part - shifted)[2_000:-2_000]

    best = min(np.linspace(-1, 1, 401), key=lambda shift: float(np.sum(noise(shift) ** 2)))
    return float(10 * np.log10(np.mean(played[2_000:-2_000] ** 2) / np.mean(noise(best) ** 2)))


@pytest.mark.timing
def test_what_is_played_is_what_is_recorded(virtual_microphone, tmp_path):
    soundfile.write(tmp_path / "music.wav", music(48_000, 3), 48_000, subtype="FLOAT")
    child = record(virtual_microphone, "STUDIO", str(tmp_path / "heard.npy"), 4.5)
    assert child.stdout is not None
    _index, name, rate, channels = child.stdout.readline().split()
    assert (name, channels) == (NAME, "2")
    player = virtual_microphone.play(tmp_path / "music.wav")
    out, err = child.communicate(timeout=120)
    assert player.wait(120) == 0
    assert (child.returncode, err) == (0, "")
    assert out.split() == ["0", "0"]  # xruns, bad samples
    heard = np.load(tmp_path / "heard.npy")
    assert heard.shape[1] == 2
    played = soxr.resample(music(48_000, 3), 48_000, int(rate), quality="VHQ")
    snr = snr_db(heard.mean(axis=1), played)
    print(f"SNR {snr:.1f} dB at {rate} Hz")
    assert snr > 30


@pytest.mark.timing
@pytest.mark.parametrize("accident", ["unplug", "freeze"])
def test_a_lost_microphone_is_detected_within_a_second(accident, virtual_microphone, tmp_path):
    child = record(virtual_microphone, NAME, str(tmp_path / "heard.npy"), 20)
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(0.5)
    began = time.monotonic()
    getattr(virtual_microphone, accident)()
    out, err = child.communicate(timeout=120)
    print(f"{accident}: last sound {float(out):.2f} s before, ended {time.monotonic() - began:.2f} s after")
    assert float(out) < 1.5  # the last 0.1 s of sound may come late
    assert child.returncode == 3
    assert err.splitlines()[-1].startswith("instrec-live: error: device lost: [")
    assert NAME in err
    assert "Traceback" not in err


class FakePortAudio:
    """As much of sounddevice as a microphone needs; `deliver` plays the part of its callback thread."""

    class PortAudioError(Exception):
        pass

    default = SimpleNamespace(device=[0, -1], hostapi=0)

    def __init__(self, refused: tuple[int, ...] = (), fails_to_start: bool = False) -> None:
        self.refused, self.fails_to_start, self.closed = refused, fails_to_start, 0
        self.tried: list[int] = []

    def query_hostapis(self) -> list[dict[str, object]]:
        return [{"name": "Fake", "default_input_device": 0}]

    def query_devices(self) -> list[dict[str, object]]:
        return [{"name": "mic", "max_input_channels": 4, "default_samplerate": 16_000.0, "hostapi": 0}]

    def InputStream(self, **how: object) -> "FakePortAudio":  # noqa: N802 - sounddevice's name
        rate = how["samplerate"]
        assert isinstance(rate, int)
        self.tried.append(rate)
        if rate in self.refused:
            raise self.PortAudioError("Invalid sample rate [PaErrorCode -9997]")
        self.how = how
        return self

    def start(self) -> None:
        if self.fails_to_start:
            raise self.PortAudioError("Device unavailable [PaErrorCode -9985]")

    def abort(self, ignore_errors: bool) -> None: ...

    def close(self, ignore_errors: bool) -> None:
        self.closed += 1

    def deliver(self, sound: np.ndarray, overflow: bool = False) -> None:
        self.how["callback"](sound, len(sound), None, SimpleNamespace(input_overflow=overflow))


@pytest.fixture
def portaudio(monkeypatch: pytest.MonkeyPatch) -> FakePortAudio:
    fake = FakePortAudio()
    use(fake, monkeypatch)
    return fake


def use(fake: FakePortAudio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "sounddevice", lambda: fake)
    monkeypatch.setattr(microphone, "sounddevice", lambda: fake)


def ramp(start: int, frames: int, channels: int = 2) -> np.ndarray:
    return np.arange(start, start + frames * channels, dtype=np.float32).reshape(frames, channels)


def test_sound_is_not_changed(portaudio):
    source = MicrophoneSource()
    assert (source.label, source.rate, source.channels, source.live) == ("[0] mic", 16_000, 2, True)
    assert portaudio.how["blocksize"] == 1_600
    portaudio.deliver(ramp(0, 1_600))
    portaudio.deliver(ramp(3_200, 1_600))
    heard = source.read()
    assert np.array_equal(heard, ramp(0, 3_200))
    portaudio.deliver(np.array([[np.nan, 1], [2, np.inf]], np.float32))
    assert np.array_equal(source.read(), [[0, 1], [2, 0]])
    assert (source.bad_samples, source.xruns) == (2, 0)


def test_overflows_of_the_driver_are_counted(portaudio):
    source = MicrophoneSource()
    for block, overflow in enumerate((True, False, True, True)):
        portaudio.deliver(ramp(block * 3_200, 1_600), overflow)
    assert np.array_equal(source.read(), ramp(0, 3_200))  # no block has a gap in it
    assert source.xruns == 1
    assert np.array_equal(source.read(), ramp(6_400, 1_600))
    assert source.xruns == 2
    assert np.array_equal(source.read(), ramp(9_600, 1_600))
    assert source.xruns == 3


def test_a_reader_that_is_too_late_loses_the_oldest_and_it_is_counted(portaudio):
    source = MicrophoneSource()
    for block in range(100):  # 10 s; 4 are held
        portaudio.deliver(ramp(block * 3_200, 1_600))
    assert np.array_equal(source.read(), ramp(99 * 3_200, 1_600))
    assert source.xruns == 1
    portaudio.deliver(ramp(0, 1_600))
    assert np.array_equal(source.read(), ramp(0, 1_600))
    assert source.xruns == 1


def test_a_late_reader_skips_in_half_seconds(portaudio):
    source = MicrophoneSource()
    for block in range(20):
        portaudio.deliver(ramp(block * 3_200, 1_600))
    blocks = [source.read() for _ in range(4)]
    assert [len(block) for block in blocks] == [8_000] * 4
    assert np.array_equal(np.concatenate(blocks), ramp(0, 32_000))


def test_a_device_that_stops_calling_is_lost(portaudio, monkeypatch):
    monkeypatch.setattr(microphone, "LOST_AFTER", 0.1)
    source = MicrophoneSource()
    portaudio.deliver(ramp(0, 1_600))
    source.read()
    with pytest.raises(AudioDeviceError, match=r"device lost: \[0\] mic"):
        source.read()


def test_a_device_that_never_called_is_not_called_lost(portaudio, monkeypatch):
    monkeypatch.setattr(microphone, "START_WITHIN", 0.1)
    with pytest.raises(AudioDeviceError, match=r"\[0\] mic delivers no sound") as error:
        MicrophoneSource().read()
    assert "lost" not in str(error.value)


def test_a_device_reported_as_gone_is_lost_after_its_last_sound(portaudio, monkeypatch):
    monkeypatch.setattr(microphone, "LOST_AFTER", FOREVER)
    source = MicrophoneSource()
    portaudio.deliver(ramp(0, 1_600))
    portaudio.how["finished_callback"]()
    assert len(source.read()) == 1_600
    with pytest.raises(AudioDeviceError, match="device lost"):
        source.read()


def test_closing_ends_a_waiting_read_and_releases_the_device_once(portaudio, monkeypatch):
    monkeypatch.setattr(microphone, "START_WITHIN", FOREVER)
    source = MicrophoneSource()
    threading.Timer(0.1, source.close).start()
    assert source.read() is None
    source.close()
    wait_for(lambda: portaudio.closed)
    assert portaudio.closed == 1


def test_a_driver_that_hangs_holds_up_neither_closing_nor_the_exit(portaudio, monkeypatch):
    monkeypatch.setattr(microphone, "CLOSE_WITHIN", 0.1)
    monkeypatch.setattr(devices, "_hanging", set())
    release, unregistered, registered = threading.Event(), [], threading.Event()
    portaudio.abort = lambda ignore_errors: release.wait()
    portaudio._exit_handler = lambda: None
    monkeypatch.setattr(devices.atexit, "unregister", unregistered.append)
    monkeypatch.setattr(devices.atexit, "register", lambda handler: registered.set())
    MicrophoneSource().close()
    assert unregistered == [portaudio._exit_handler]
    with pytest.raises(AudioDeviceError, match="no longer responds"):
        devices.rescan()
    release.set()  # it answers after all
    assert registered.wait(60)
    wait_for(lambda: not devices._hanging)


def test_the_driver_can_be_asked_again_once_all_that_hung_have_come_back(portaudio, monkeypatch):
    monkeypatch.setattr(devices, "_hanging", set())
    monkeypatch.setattr(devices.atexit, "unregister", lambda handler: None)
    monkeypatch.setattr(devices.atexit, "register", lambda handler: None)
    portaudio._exit_handler = lambda: None
    releases = [threading.Event(), threading.Event()]
    for release in releases:
        stream = mock.Mock()
        stream.abort = lambda ignore_errors, release=release: release.wait()
        devices.shut(stream, 0.05)
    for release in releases:
        with pytest.raises(AudioDeviceError, match="no longer responds"):
            devices.rescan()
        left = len(devices._hanging)
        release.set()
        wait_for(lambda left=left: len(devices._hanging) < left)
    assert not devices._hanging


def test_a_stream_that_finishes_before_any_sound_is_an_error(portaudio):
    source = MicrophoneSource()
    portaudio.how["finished_callback"]()
    with pytest.raises(AudioDeviceError, match="delivers no sound"):
        source.begins(0.1)


def test_a_device_that_refuses_its_own_rate_is_opened_at_a_common_one(monkeypatch):
    fake = FakePortAudio(refused=(16_000,))
    use(fake, monkeypatch)
    assert MicrophoneSource().rate == 48_000
    assert fake.tried == [16_000, 48_000]


@pytest.mark.parametrize("fake", [FakePortAudio(refused=(16_000, 48_000, 44_100)), FakePortAudio(fails_to_start=True)])
def test_a_device_that_cannot_be_opened_is_one_clear_line(fake, monkeypatch):
    use(fake, monkeypatch)
    with pytest.raises(AudioDeviceError, match=r"\[0\] mic cannot be opened: .*PaErrorCode") as error:
        MicrophoneSource()
    assert str(error.value).isprintable()
    assert fake.closed == (3 if fake.fails_to_start else 0)


@pytest.mark.parametrize("channels", [0, 5, -1])
def test_channels_that_the_device_has_not_are_a_usage_error(channels, portaudio):
    with pytest.raises(UsageError, match="4 channels"):
        MicrophoneSource(channels=channels)


@pytest.mark.timing
def test_the_callback_is_quick(portaudio):
    source = MicrophoneSource(channels=2)
    block, took = ramp(0, 1_600), []
    for _ in range(2_000):
        began = time.perf_counter()
        portaudio.deliver(block)
        took.append(time.perf_counter() - began)
    assert np.median(took) < 0.001
    assert source.xruns == 0


def test_the_callback_keeps_nothing(portaudio):
    source, block = MicrophoneSource(channels=2), ramp(0, 1_600)
    for _ in range(100):  # the ring is full, and what is cached is cached
        portaudio.deliver(block)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(2_000):
            portaudio.deliver(block)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 1_000  # bytes; one block has 12,800
    assert source.xruns == 0
