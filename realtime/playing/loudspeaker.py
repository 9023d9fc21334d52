"""The system's default loudspeakers, through PortAudio."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instrec_live.realtime.devices import shut, sounddevice
from instrec_live.realtime.errors import AudioDeviceError, printable

CLOSE_WITHIN = 2.0  # s
_LATENCY = 0.1  # s; Python may be late by some hundredths
_HINT = "choose loudspeakers in the system's settings, or leave out --play"

# Fills float32 [frames, channels] with sound whose first frame is heard at a time of time.monotonic().
Fill = Callable[[NDArray[np.float32], float], None]


def check_output() -> None:
    """Make sure that there are loudspeakers.

    Raises:
        AudioDeviceError: there are none.
    """
    sd = sounddevice()
    try:
        sd.query_devices(kind="output")
    except (sd.PortAudioError, ValueError) as error:  # ValueError: there is no such device
        raise _failed("the default output device", error) from error


def _failed(label: str, error: Exception) -> AudioDeviceError:
    return AudioDeviceError(f"{label} cannot play: {printable(str(error))}", _HINT)


class Loudspeaker:
    """The default output device at its own rate; silent until `start`.

    Args:
        fill: called for every few hundredths of a second of sound, in PortAudio's own thread.

    Attributes:
        label: what to call it.
        rate: Hz.
        channels: 1 or 2.

    Raises:
        AudioDeviceError: there is none, or it cannot be opened.
    """

    def __init__(self, fill: Fill) -> None:
        self._fill = fill
        self.label = "the default output device"
        sd = sounddevice()
        try:
            device = sd.query_devices(kind="output")
            self.label = printable(device["name"])
            self.rate = round(device["default_samplerate"])
            self.channels = min(2, int(device["max_output_channels"]))
            self._stream: Any = sd.OutputStream(
                samplerate=self.rate,
                channels=self.channels,
                dtype="float32",
                latency=_LATENCY,
                callback=self._call,
            )
        except (sd.PortAudioError, ValueError) as error:
            raise _failed(self.label, error) from error

    def start(self) -> None:
        """Begin to play.

        Raises:
            AudioDeviceError: the device refuses.
        """
        sd = sounddevice()
        try:
            self._stream.start()
        except sd.PortAudioError as error:
            raise _failed(self.label, error) from error

    def close(self) -> None:
        """Stop at once and let go of the device."""
        shut(self._stream, CLOSE_WITHIN)

    def _call(self, out: NDArray[np.float32], frames: int, clock: Any, status: Any) -> None:
        ahead = clock.outputBufferDacTime - clock.currentTime
        if not 0.0 < ahead < 10.0:  # some drivers do not tell
            ahead = float(self._stream.latency)
        self._fill(out, time.monotonic() + ahead)
