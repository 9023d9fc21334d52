"""What the computer plays, from the monitor of an output of its sound server."""

import os
import select
import subprocess
import threading
import time

import numpy as np
from numpy.typing import NDArray

from instrec_live.realtime.audio.source import block_frames, zero_bad_samples
from instrec_live.realtime.audio.system_audio import Monitor
from instrec_live.realtime.errors import AudioDeviceError, UsageError, printable

RATE = 48_000  # Hz; the server converts
LATENCY_MS = 50  # its own default is to hand on two seconds at once
START_WITHIN, LOST_AFTER = 5.0, 3.0  # s without sound; silence is sound too


class MonitorSource:
    """The sound of an output, from the moment this is made. See `Source`.

    parec records it, which comes with pactl: PortAudio reaches monitors only where ALSA is set up to lead there, and
    otherwise it would silently record the microphone.

    Args:
        monitor: of which output.
        channels: None for two.

    Raises:
        AudioDeviceError: parec is missing.
        UsageError: channels the server cannot have.

    Attributes:
        monitor: that output.
    """

    live = True
    duration = None
    xruns = 0  # parec does not report it
    rate = RATE

    def __init__(self, monitor: Monitor, channels: int | None = None) -> None:
        if channels is not None and not 1 <= channels <= 32:
            raise UsageError(f"a sound server delivers 1 to 32 channels, not {channels}")
        self.monitor = monitor
        self.label, self.channels, self.bad_samples = monitor.label, channels or 2, 0
        words = ["--raw", "--format=float32le", f"--rate={RATE}", f"--channels={self.channels}"]
        try:
            self._process = subprocess.Popen(
                ["parec", f"--device={monitor.sink}.monitor", *words, f"--latency-msec={LATENCY_MS}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is for us
            )
        except OSError as error:
            raise AudioDeviceError(
                f"parec cannot be started: {error.strerror}", "it is installed with pactl"
            ) from error
        self._frame_bytes = 4 * self.channels
        self._pending = b""
        self._healthy = False
        self._closed = threading.Event()

    def begins(self, timeout: float) -> float | None:
        """When the sound that is there to `read` began, s of the monotonic clock.

        Waits for at most `timeout` seconds until there is some; None if there is none.

        Raises:
            AudioDeviceError: the sound server gives none.
        """
        assert self._process.stdout is not None
        if not self._pending and select.select([self._process.stdout], [], [], timeout)[0]:
            self._pending = self._some(self._frame_bytes)
        return time.monotonic() - LATENCY_MS / 1000 if self._pending else None

    def read(self) -> NDArray[np.float32] | None:
        """What was played since the last call, up to 0.1 s, float32 [m, channels]; waits for it. None once closed.

        Raises:
            AudioDeviceError: the sound server delivers no sound (any more).
        """
        while not self._closed.is_set():
            self._pending += self._some(block_frames(RATE) * self._frame_bytes - len(self._pending))
            whole = len(self._pending) - len(self._pending) % self._frame_bytes
            if whole:
                block = np.frombuffer(self._pending[:whole], "<f4").astype(np.float32).reshape(-1, self.channels)
                self._pending, self._healthy = self._pending[whole:], True
                self.bad_samples += zero_bad_samples(block)
                return block
        return None

    def _some(self, most: int) -> bytes:
        """From 1 to `most` bytes, or none once closed."""
        assert self._process.stdout is not None
        waited = 0.0
        while not self._closed.is_set():
            if select.select([self._process.stdout], [], [], 0.1)[0]:
                if data := self._process.stdout.read(most):
                    return bytes(data)
                if not self._closed.is_set():  # else it is `close` that has ended it
                    raise self._lost()
            waited += 0.1
            if waited > (LOST_AFTER if self._healthy else START_WITHIN):
                raise self._lost()
        return b""

    def _lost(self) -> AudioDeviceError:
        self._end()
        assert self._process.stderr is not None
        message = printable(os.fsdecode(self._process.stderr.read()).strip())
        fault = "no longer delivers sound" if self._healthy else "delivers no sound"
        reason = f": {message}" if message else ""
        return AudioDeviceError(f"{self.label} {fault}{reason}", "does the sound server run?")

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Stop recording; a waiting `read` returns None within 0.1 s."""
        if not self._closed.is_set():
            self._closed.set()
            self._end()
