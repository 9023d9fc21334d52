"""A microphone, or anything else that PortAudio can record from."""

import threading
import time
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instrec_live.realtime.audio.devices import (
    InputDevice,
    choose,
    list_input_devices,
    namesakes,
    portaudio,
    recording,
    shut,
    sounddevice,
)
from instrec_live.realtime.audio.ring_buffer import Overrun, RingBuffer
from instrec_live.realtime.audio.source import block_frames, zero_bad_samples
from instrec_live.realtime.errors import AudioDeviceError, UsageError

LOST_AFTER = 1.0  # s without a callback; PortAudio often does not say that a device is gone
CLOSE_WITHIN = 2.0  # s
START_WITHIN = 5.0  # s; some sound servers first give the two seconds they have buffered
HELD_SECONDS = 4  # sound kept for a reader that is late
_BURST = 0.05  # s; what a server has buffered comes at once
COMMON_RATES = (48_000, 44_100)  # tried when a device refuses the rate it calls its own
_HELD = "another program may be using it, or the system does not allow this one to record"


class MicrophoneSource:
    """The sound of an input device at its own rate, from the moment this is made. See `Source`.

    Args:
        device: index, part of the name, or None for the system's default; see `devices.resolve`.
        channels: how many to record, None for the first two (of fewer, all).

    Raises:
        AudioDeviceError: no such device, or it cannot be opened.
        UsageError: it has not that many channels.

    Attributes:
        xruns: times that sound was lost, by the device's driver or because `read` came too late, up to what has been
            read. No block has a gap in it: one before it has grown this number.
        device: that one.
        namesakes: all devices of its name when this was made, itself among them.
    """

    live = True
    duration = None

    def __init__(self, device: int | str | None = None, channels: int | None = None) -> None:
        devices = list_input_devices()
        self.device = choose(device, devices)
        self.namesakes = namesakes(self.device, devices)
        self.label = self.device.label
        if channels is not None and not 1 <= channels <= self.device.channels:
            raise UsageError(f"{self.label} has {self.device.channels} channels, not {channels}")
        self.channels = channels or min(2, self.device.channels)
        self.bad_samples = self.xruns = 0
        self._torn: deque[int] = deque()  # samples of the ring, not read yet, before which some are missing
        self._position = 0  # interleaved samples handed out or given up
        self._healthy = self._closed = False
        self._closing = threading.Lock()
        # The stream is opened last: its callback uses all of the above.
        with portaudio:
            self.rate, self._stream = self._open(self.device)
            recording.add(self)

    def _open(self, device: InputDevice) -> tuple[int, Any]:
        sd, refusal = sounddevice(), None
        for rate in dict.fromkeys((device.rate, *COMMON_RATES)):
            held = HELD_SECONDS * rate * self.channels
            self._ring = RingBuffer(held, slack=held // 4)
            try:
                stream = sd.InputStream(
                    samplerate=rate,
                    blocksize=block_frames(rate),
                    device=device.index,
                    channels=self.channels,
                    dtype="float32",
                    latency="high",
                    callback=self._callback,
                    finished_callback=self._ring.close,  # some drivers do say when a device is gone
                )
            except sd.PortAudioError as error:
                refusal = refusal or error
                continue
            try:
                stream.start()
                return rate, stream
            except sd.PortAudioError as error:
                refusal = refusal or error
                stream.close(ignore_errors=True)
        raise AudioDeviceError(f"{self.label} cannot be opened: {refusal}", _HELD) from refusal

    def _callback(self, sound: NDArray[np.float32], frames: int, clock: Any, status: Any) -> None:
        """PortAudio's callback, in its own thread: count, copy, nothing else."""
        if status.input_overflow:
            self._torn.append(self._ring.written)
        self._ring.write(sound.reshape(-1))

    def begins(self, timeout: float) -> float | None:
        """When the sound that is there to `read` began, s of the monotonic clock.

        Waits for at most `timeout` seconds until there is some; None if there is none.

        Raises:
            AudioDeviceError: the driver reports that none will come.
        """
        if not self._ring.wait(self._position + 1, timeout):
            if self._ring.closed:
                raise self._lost()
            return None
        time.sleep(_BURST)
        return time.monotonic() - (self._ring.written - self._position) / self.channels / self.rate

    def read(self) -> NDArray[np.float32] | None:
        """The sound since the last call, float32 [m, channels]; waits for the next 0.1 s if there was none.

        Raises:
            AudioDeviceError: the device no longer delivers sound (or never gave any).
        """
        if self._closed:
            return None
        arrived = self._ring.wait(self._position + 1, LOST_AFTER if self._healthy else START_WITHIN)
        if self._closed:
            return None
        if not arrived:
            raise self._lost()
        self._healthy = True
        end = self._ring.written
        if end - self._position > self._ring.capacity:
            self._give_up_to(end)
        while self._torn and self._torn[0] <= self._position:
            self._torn.popleft()
            self.xruns += 1
        # No more than half a second at once, so that catching up does not stall what comes after.
        stop = min(end, self._position + self.rate // 2 * self.channels, self._torn[0] if self._torn else end)
        try:
            block = self._ring.read(self._position, stop).reshape(-1, self.channels)
        except Overrun:  # overtaken in this very moment
            self._give_up_to(end)
            return self.read()
        self._position = stop
        self.bad_samples += zero_bad_samples(block)
        return block

    def _give_up_to(self, index: int) -> None:
        self.xruns += 1
        self._position = index - block_frames(self.rate) * self.channels

    def _lost(self) -> AudioDeviceError:
        if self._healthy:
            return AudioDeviceError(f"device lost: {self.label} no longer delivers sound", "is it unplugged?")
        return AudioDeviceError(f"{self.label} delivers no sound", _HELD)

    def close(self) -> None:
        """Stop recording; a waiting `read` returns None at once."""
        with self._closing:
            already, self._closed = self._closed, True
        self._ring.close()
        if already:
            return
        shut(self._stream, CLOSE_WITHIN)
        recording.discard(self)
        while self._torn:  # losses before sound that is no longer read
            self._torn.popleft()
            self.xruns += 1
