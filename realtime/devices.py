"""Which microphones there are, and which one a user means."""

import atexit
import sys
import threading
from dataclasses import dataclass
from typing import Any

from instrec_live.realtime.errors import AudioDeviceError, printable

_INSTALL_PORTAUDIO = {
    "linux": "install it: sudo apt install libportaudio2 (Debian, Ubuntu), "
    "sudo dnf install portaudio (Fedora), sudo pacman -S portaudio (Arch)",
    "darwin": "install it: pip install --force-reinstall sounddevice, or brew install portaudio",
    "win32": "install it: pip install --force-reinstall sounddevice",
}


@dataclass(frozen=True, slots=True)
class InputDevice:
    """A device that can record.

    Attributes:
        index: PortAudio's number of it; changes when devices come and go, so remember the name instead.
        name: as the system calls it.
        channels: most that it can record.
        rate: its own default sample rate, Hz.
        is_default: it is what the system uses when nobody chooses.
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


def resolve(device: int | str | None) -> InputDevice:
    """The device a user means.

    Args:
        device: an index, a part of "name, host API" in any case, or None for the system's default. Where a
            microphone is reached through several host APIs (Windows), the default device's is preferred.

    Raises:
        AudioDeviceError: there is none such, or several; the message lists what there is.
    """
    devices = list_input_devices()
    if not devices:
        raise AudioDeviceError("no microphone is connected", "connect one, or use --file or --stdin")
    if isinstance(device, str) and device.strip().isdecimal():
        device = int(device)
    if device is None:
        found = [each for each in devices if each.is_default]
        problem = "the system has no default microphone"
    elif isinstance(device, int):
        found = [each for each in devices if each.index == device]
        problem = f"device {device} is no microphone"
    else:
        found = _matching(device, devices)
        problem = f"{'several microphones match' if found else 'no microphone matches'} {printable(device)!r}"
    if len(found) != 1:
        listed = ", ".join(f"{each.label} ({each.host_api})" for each in found or devices)
        raise AudioDeviceError(problem, f"choose one with --device: {listed}")
    return found[0]


def _matching(words: str, devices: list[InputDevice]) -> list[InputDevice]:
    """Devices whose "name, host API" holds the words; a whole name beats a part, the default's API others."""
    words = " ".join(words.split()).casefold()
    found = [each for each in devices if words in f"{each.name}, {each.host_api}".casefold()]
    whole = [each for each in found if each.name.casefold() == words]
    found = whole or found
    apis = {each.host_api for each in devices if each.is_default}
    preferred = [each for each in found if each.host_api in apis]
    return preferred if len(preferred) == 1 else found


def rescan() -> None:
    """Let PortAudio look again: it lists the devices only when it starts. No stream may be open meanwhile.

    Raises:
        AudioDeviceError: PortAudio cannot start again, or its driver hangs.
    """
    if _driver_hangs.is_set():
        raise AudioDeviceError("the audio driver does not answer any more", "restart the program")
    sd = sounddevice()
    try:
        sd._terminate()
        sd._initialize()
    except sd.PortAudioError as error:
        raise AudioDeviceError(f"PortAudio cannot start again: {error}") from error


_driver_hangs = threading.Event()


def give_up_on_driver() -> None:
    """Never ask PortAudio for anything again, for a call into the driver has not come back; not even at exit."""
    _driver_hangs.set()
    atexit.unregister(sounddevice()._exit_handler)
