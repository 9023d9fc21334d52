"""Which microphones there are, and which one a user means."""

import atexit
import json
import logging
import re
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from instrec_live.models.safe_path import python_command
from instrec_live.realtime.audio.system_audio import how_to_get_one, is_loopback, means_system
from instrec_live.realtime.errors import AudioDeviceError, printable

_INSTALL_PORTAUDIO = {
    "linux": "install it: sudo apt install libportaudio2 (Debian, Ubuntu), "
    "sudo dnf install portaudio (Fedora), sudo pacman -S portaudio (Arch)",
    "darwin": "install it: pip install --force-reinstall sounddevice, or brew install portaudio",
    "win32": "install it: pip install --force-reinstall sounddevice",
}

_LOOK_WITHIN = 10.0  # s

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InputDevice:
    """A device that can record.

    Attributes:
        index: PortAudio's number of it; changes when devices come and go, so remember the name instead.
        name: as the system calls it.
        channels: most that it can record.
        rate: its own default sample rate, Hz.
        is_default: the system uses it by default.
        host_api: the system's sound interface it is reached through ("ALSA", "Core Audio", "Windows WASAPI").
    """

    index: int
    name: str
    channels: int
    rate: int
    is_default: bool
    host_api: str

    @property
    def label(self) -> str:
        """What to call it on the screen: "[2] Scarlett 2i2"."""
        return f"[{self.index}] {self.name}"

    @property
    def is_loopback(self) -> bool:
        """Whether it records what the computer plays, going by its name."""
        return is_loopback(self.name)


def sounddevice() -> Any:
    """The sounddevice module, loaded when first needed: importing it starts PortAudio.

    Raises:
        AudioDeviceError: it or PortAudio is missing, or PortAudio cannot start.
    """
    try:
        import sounddevice as module
    except ImportError as error:
        raise AudioDeviceError("the Python package sounddevice is missing", "pip install sounddevice") from error
    except OSError as error:
        hint = _INSTALL_PORTAUDIO.get(sys.platform, "install PortAudio with your system's package manager")
        raise AudioDeviceError(
            "PortAudio, the library that records sound, is not installed", f"{hint}; or use --file"
        ) from error
    except Exception as error:  # PortAudioError is a class of the module that failed to load
        raise AudioDeviceError(f"PortAudio cannot start: {error}") from error
    return module


def list_input_devices() -> list[InputDevice]:
    """All devices that can record, in PortAudio's order; empty if there are none.

    Raises:
        AudioDeviceError: PortAudio is missing or fails.
    """
    sd = sounddevice()
    try:
        apis, default = sd.query_hostapis(), sd.default.device[0]
        if default in (None, -1):
            default = apis[sd.default.hostapi or 0]["default_input_device"] if apis else -1
        return [
            InputDevice(
                index=index,
                name=printable(device["name"]),
                channels=int(device["max_input_channels"]),
                rate=round(device["default_samplerate"]),
                is_default=index == default,
                host_api=printable(apis[device["hostapi"]]["name"]),
            )
            for index, device in enumerate(sd.query_devices())
            if device["max_input_channels"] > 0
        ]
    except sd.PortAudioError as error:
        raise AudioDeviceError(f"PortAudio cannot list the devices: {error}") from error


def list_input_devices_fresh() -> list[InputDevice]:
    """The devices that can record, as they are connected now, listed by another process, because PortAudio looks
    only when it starts, and must not start again under a recording.

    The indices are that program's: remember the names.

    Raises:
        AudioDeviceError: PortAudio is missing, fails or hangs.
    """
    command = python_command("-m", "instrec_live.realtime", "--no-config", "--list-devices", "--json")
    try:
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LOOK_WITHIN, check=False)
    except subprocess.TimeoutExpired as error:
        raise AudioDeviceError("the audio driver does not list its devices") from error
    except OSError as error:
        raise AudioDeviceError(f"the devices cannot be listed: {error}") from error
    if run.returncode:
        lines = run.stderr.decode(errors="replace").strip().splitlines()
        line = lines[-1].removeprefix("instrec-live: error: ") if lines else f"exit code {run.returncode}"
        raise AudioDeviceError(f"the devices cannot be listed: {printable(line)}")
    return [InputDevice(**device) for device in json.loads(run.stdout)]


def resolve(device: int | str | None) -> InputDevice:
    """The device a user means, of those that PortAudio knew when it started; see `choose`."""
    return choose(device, list_input_devices())


def choose(device: int | str | None, devices: list[InputDevice]) -> InputDevice:
    """The one of the devices that a user means.

    Args:
        device: an index, a part of "name, host API" in any case, "system" for what records what the computer
            plays, or None for the system's default. Where a microphone is reached through several host APIs (Windows),
            the default device's is preferred.
        devices: to choose from.

    Raises:
        AudioDeviceError: there is none such, or several; the message lists what there is.
    """
    if isinstance(device, str) and means_system(device):
        return _loopback(devices)
    if not devices:
        raise AudioDeviceError("no microphone is connected", "connect one, or use --file or --stdin")
    if isinstance(device, str) and device.strip().isdecimal():
        device = int(device)
    if device is None:
        found = [each for each in devices if each.is_default]
        problem = "the system has no default microphone"
    elif isinstance(device, int):
        found = [each for each in devices if each.index == device]
        problem = f"device {device} is not a microphone"
    else:
        found = _matching(device, devices)
        problem = f"{'several microphones match' if found else 'no microphone matches'} {printable(device)!r}"
    if len(found) != 1:
        listed = ", ".join(f"{each.label} ({each.host_api})" for each in found or devices)
        raise AudioDeviceError(problem, f"choose one with --device: {listed}")
    return found[0]


def namesakes(device: InputDevice, devices: list[InputDevice]) -> list[InputDevice]:
    """Those with the device's name and host API; ALSA's number of the card may differ."""

    def lasting(each: InputDevice) -> tuple[str, str]:
        return re.sub(r"\(hw:\d+,", "(hw:,", each.name), each.host_api

    return [each for each in devices if lasting(each) == lasting(device)]


def found_again(device: InputDevice, before: list[InputDevice], devices: list[InputDevice]) -> InputDevice:
    """The device among those of now, whose indices are others.

    Args:
        device: as it was.
        before: its `namesakes` then.
        devices: those of now.

    Raises:
        AudioDeviceError: it is not connected, or it cannot be distinguished from others.
    """
    found = namesakes(device, devices)
    if len(found) != len(before):  # of two of one name the one that is left may be the other
        raise AudioDeviceError(f"{device.name} ({device.host_api}) is not connected")
    return found[before.index(device)]


def _matching(words: str, devices: list[InputDevice]) -> list[InputDevice]:
    """Devices whose "name, host API" holds the words; a whole name beats a part, the default's API others."""
    words = " ".join(words.split()).casefold()
    found = [each for each in devices if words in f"{each.name}, {each.host_api}".casefold()]
    whole = [each for each in found if each.name.casefold() == words]
    found = whole or found
    return _preferred(found, devices)


def _preferred(found: list[InputDevice], devices: list[InputDevice]) -> list[InputDevice]:
    """The one of them that is reached as the default device is, if it is one."""
    apis = {each.host_api for each in devices if each.is_default}
    preferred = [each for each in found if each.host_api in apis]
    return preferred if len(preferred) == 1 else found


def _loopback(devices: list[InputDevice]) -> InputDevice:
    found = _preferred([each for each in devices if each.is_loopback], devices)
    if not found:
        raise AudioDeviceError("no device here records what the computer plays", how_to_get_one())
    if len(found) > 1:
        listed = ", ".join(f"{each.label} ({each.host_api})" for each in found)
        raise AudioDeviceError("several devices record what the computer plays", f"choose one with --device: {listed}")
    return found[0]


# PortAudio is not made for several threads at a time, and forgets its open streams when it starts again.
portaudio = threading.RLock()
recording: "WeakSet[Any]" = WeakSet()  # what is open


def rescan() -> None:
    """Let PortAudio list the devices again, which it does only when it starts. While one records, nothing changes; then
    only devices that it knows can be opened.

    Raises:
        AudioDeviceError: PortAudio cannot start again, or its driver hangs.
    """
    if _hanging:
        raise AudioDeviceError("the audio driver no longer responds", "restart the program")
    sd = sounddevice()
    with portaudio:
        if recording:
            log.debug("PortAudio cannot update its list of devices while another one records")
            return
        _start_again(sd)


def _start_again(sd: Any) -> None:
    try:
        with suppress(sd.PortAudioError):  # it does not run, if it could not start the last time
            sd._terminate()
        sd._initialize()
    except sd.PortAudioError as error:
        raise AudioDeviceError(f"PortAudio cannot start again: {error}") from error


_hanging: set[object] = set()  # calls into the driver that have not returned
_shutting = threading.Lock()


def give_up_on_driver(call: object) -> None:
    """Never call PortAudio again, not even at exit, because a call into the driver has not returned."""
    _hanging.add(call)
    atexit.unregister(sounddevice()._exit_handler)


def shut(stream: Any, seconds: float) -> None:
    """Close a PortAudio stream. A driver whose device is gone may never return: it must not hold up the program.

    Once all that hung have returned after all, PortAudio can be used again.
    """
    closed = False

    def close() -> None:
        nonlocal closed
        stream.abort(ignore_errors=True)
        stream.close(ignore_errors=True)
        with _shutting:
            closed = True
            if stream in _hanging:
                _hanging.remove(stream)
                if not _hanging:
                    atexit.register(sounddevice()._exit_handler)

    closer = threading.Thread(target=close, daemon=True, name="close-device")
    closer.start()
    closer.join(seconds)
    with _shutting:
        if not closed:
            give_up_on_driver(stream)
