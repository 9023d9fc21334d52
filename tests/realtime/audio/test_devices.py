"""Which device a user means, and the error if there is none."""

import builtins
import subprocess
import sys
from types import SimpleNamespace

import pytest

from instrec_live.realtime.audio import devices
from instrec_live.realtime.audio.devices import InputDevice, list_input_devices, resolve
from instrec_live.realtime.errors import AudioDeviceError

APIS = [
    {"name": "MME", "default_input_device": 1},
    {"name": "Windows WASAPI", "default_input_device": 4},
]


def device(name: str, channels: int, api: int = 0) -> dict[str, object]:
    return {"name": name, "max_input_channels": channels, "default_samplerate": 48_000.0, "hostapi": api}


DEVICES = [
    device("Speakers", 0),
    device("Built-in Microphone", 1),
    device("Scarlett 2i2 USB", 2),
    device("Scarlett Solo", 2),
    device("Built-in Microphone", 1, api=1),
    device("Webcam", 1, api=1),
    device("Webcam\nPro", 1, api=1),
]


class PortAudioError(Exception):
    pass


@pytest.fixture
def portaudio(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    fake = SimpleNamespace(
        PortAudioError=PortAudioError,
        default=SimpleNamespace(device=[-1, -1], hostapi=None),
        query_hostapis=lambda: APIS,
        query_devices=lambda: DEVICES,
    )
    monkeypatch.setattr(devices, "sounddevice", lambda: fake)
    return fake


def test_only_what_can_record_is_listed(portaudio):
    listed = list_input_devices()
    assert [each.index for each in listed] == [1, 2, 3, 4, 5, 6]
    assert listed[0] == InputDevice(1, "Built-in Microphone", 1, 48_000, True, "MME")
    assert [each.index for each in listed if each.is_default] == [1]
    assert listed[-1].label == "[6] Webcam Pro"


def test_a_chosen_default_is_the_default(portaudio):
    portaudio.default.device = [3, 0]
    assert resolve(None).index == 3


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (None, 1),
        (3, 3),
        ("3", 3),
        ("2i2", 2),
        ("  SCARLETT   solo ", 3),
        ("built-in", 1),  # the same microphone twice: the default's host API
        ("Built-in Microphone, Windows WASAPI", 4),
        ("webcam", 5),  # a whole name beats a part of another
        ("webcam pro", 6),
    ],
)
def test_a_device_is_found_by_index_or_name(wanted, index, portaudio):
    assert resolve(wanted).index == index


@pytest.mark.parametrize(
    ("wanted", "parts"),
    [
        ("scarlett", ["several microphones match", "[2] Scarlett 2i2 USB (MME)", "[3] Scarlett Solo (MME)"]),
        ("theremin", ["no microphone matches 'theremin'", "[1] Built-in", "[6] Webcam Pro"]),
        (0, ["device 0 is not a microphone", "--device"]),
        (99, ["device 99"]),
        (-1, ["device -1"]),
        ("", ["several"]),
        ("\x1b[31m", ["no microphone matches"]),
    ],
)
def test_what_is_not_one_device_is_one_line_that_lists_what_there_is(wanted, parts, portaudio):
    with pytest.raises(AudioDeviceError) as error:
        resolve(wanted)
    line = str(error.value)
    assert line.isprintable()
    for part in parts:
        assert part in line


def test_without_a_default_no_other_microphone_is_opened(portaudio):
    portaudio.default.hostapi = 0
    portaudio.query_hostapis = lambda: [{**api, "default_input_device": -1} for api in APIS]
    with pytest.raises(AudioDeviceError, match="no default microphone"):
        resolve(None)


@pytest.mark.parametrize("apis", [APIS, []])
def test_no_microphone_at_all_is_one_clear_line(apis, portaudio):
    portaudio.query_devices = lambda: DEVICES[:1] if apis else []
    portaudio.query_hostapis = lambda: apis
    assert list_input_devices() == []
    for wanted in (None, 0, "mic"):
        with pytest.raises(AudioDeviceError, match=r"no microphone is connected — .*--file"):
            resolve(wanted)


def test_portaudio_that_fails_is_one_clear_line(portaudio):
    def fail() -> None:
        raise PortAudioError("Internal PortAudio error [PaErrorCode -9986]")

    portaudio.query_devices = fail
    with pytest.raises(AudioDeviceError, match="cannot list the devices"):
        resolve(None)


def test_rescanning_restarts_portaudio(portaudio):
    calls: list[str] = []
    portaudio._terminate = lambda: calls.append("terminate")
    portaudio._initialize = lambda: calls.append("initialize")
    devices.rescan()
    assert calls == ["terminate", "initialize"]


@pytest.mark.parametrize(
    ("platform", "hint"),
    [
        ("linux", "apt install libportaudio2"),
        ("darwin", "brew"),
        ("win32", "pip install"),
        ("haiku", "package manager"),
    ],
)
def test_without_portaudio_the_error_says_how_to_install_it(platform, hint, monkeypatch):
    missing(OSError("PortAudio library not found"), monkeypatch)
    monkeypatch.setattr(devices.sys, "platform", platform)
    with pytest.raises(AudioDeviceError, match=r"PortAudio.*is not installed") as error:
        list_input_devices()
    assert hint in str(error.value)


@pytest.mark.parametrize(
    ("failure", "line"),
    [
        (ImportError("no"), "sounddevice is missing — pip install sounddevice"),
        (RuntimeError("Error initializing PortAudio"), "PortAudio cannot start"),
    ],
)
def test_other_ways_not_to_load_are_one_line_too(failure, line, monkeypatch):
    missing(failure, monkeypatch)
    with pytest.raises(AudioDeviceError, match=line):
        resolve(None)


def missing(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def importing(name: str, *rest: object) -> object:
        if name == "sounddevice":
            raise failure
        return load(name, *rest)

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(builtins, "__import__", importing)


def test_sounddevice_is_not_loaded_before_it_is_needed():
    program = "import sys, instrec_live.realtime.audio\nprint('sounddevice' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
