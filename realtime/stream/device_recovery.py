"""Lost and replaced devices while a stream runs.

A microphone that stops giving sound is closed and reopened under its own name (`Reconnector`, `reopen_lost_device`),
another one can be chosen at any time (`switch_device`), recordings get silence for the time without it (`GapFiller`),
and a microphone that gives only zeros is reported (`DigitalSilence`).
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.errors import AudioDeviceError, InstrecError
from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.realtime.audio import MicrophoneSource, MonitorSource, RadioSource, Source
from instrec_live.realtime.audio.devices import (
    choose,
    found_again,
    list_input_devices,
    list_input_devices_fresh,
    rescan,
    resolve,
)
from instrec_live.realtime.audio.microphone import START_WITHIN
from instrec_live.realtime.audio.native_noise import suppress_stderr
from instrec_live.realtime.audio.system_audio import monitor_meant
from instrec_live.realtime.stream.health import FLOOR_DB

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # s
ZEROS_AFTER = 5.0  # s; the noise of a live input is never zero for so long
_FILL_LAG = 10.0  # s; when the device is back, the start of its sound is known only some seconds later
_FILL_BLOCK = 10 * SAMPLE_RATE  # samples
_POLL = 0.1  # s between checks whether the device is still wanted

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeviceLost:
    """The device delivers no sound; a `Reconnector` tries to reopen it.

    Attributes:
        age_s: wall-clock seconds since the newest sound was captured.
    """

    age_s: float


class Capturing(Protocol):
    """What is needed here of `LiveCapture`."""

    @property
    def source(self) -> Source: ...
    @property
    def lost(self) -> bool: ...
    def change_to(self, source: Source, begun: float | None = None) -> None: ...
    def released(self) -> AbstractContextManager[None]: ...


def pauses() -> Iterator[float]:
    """Seconds to wait before each attempt: 0.5, 1, 2, 4, 8, then 10 for ever."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)


class Reconnector:
    """A thread that tries to reopen a lost device, since each attempt may block, until it is stopped.

    Args:
        attempt: one attempt; it raises an InstrecError when it fails.
        wanted: whether the device is still wanted.
        wake: called when a defect has ended the attempts.

    Attributes:
        defect: the exception that did so.
    """

    def __init__(self, attempt: Callable[[], None], wanted: Callable[[], bool], wake: Callable[[], None]) -> None:
        self._attempt, self._wanted, self._wake = attempt, wanted, wake
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconnect", daemon=True)
        self.defect: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Make no further attempt; does not wait for the current one. From any thread."""
        self._stopped.set()

    def join(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the current attempt to end; returns whether it has."""
        if self._thread.is_alive():  # else it may not have started, and will find that it is not wanted
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        logged = ""
        for pause in pauses():
            if self._stopped.wait(pause) or not self._wanted():
                return
            try:
                self._attempt()
            except InstrecError as error:
                if str(error) != logged:  # once per reason, so that a night does not fill the log
                    logged = str(error)
                    log.debug("cannot reconnect yet: %s", logged)
            except BaseException as error:  # re-raised where the sound is awaited
                self.defect = error
                self._wake()
                return


def switch_device(live: Capturing, device: int | str | None, channels: int | None) -> Source:
    """Continue `live` with another device; returns its source.

    A device that PortAudio does not know yet, because it was connected since, costs a moment of the old one's sound:
    the old one is closed so that PortAudio can scan again, and reopened if the new one fails.

    Raises:
        AudioDeviceError: it cannot be opened.
        UsageError: it has fewer channels.
    """
    old = live.source
    if monitor := monitor_meant(device):
        if isinstance(old, MonitorSource) and old.label == monitor.label and not live.lost:
            return old
        return _changed(live, MonitorSource(monitor, channels))
    if live.lost:  # nothing is open, so PortAudio can scan again
        old.close()
        rescan()
        return _changed(live, MicrophoneSource(device, channels))
    try:
        found = resolve(device)
    except AudioDeviceError:
        choose(device, list_input_devices_fresh())  # raises before anything is disturbed
        if isinstance(old, MicrophoneSource):
            return _switched_after_rescan(live, old, device, channels)
        rescan()
    else:
        if isinstance(old, MicrophoneSource) and found == old.device:
            return old
    return _changed(live, MicrophoneSource(device, channels))


def reopen_lost_device(live: Capturing, channels: int | None) -> Source | None:
    """One attempt to continue `live` with the device it has lost; returns its source, or None if it is not wanted.

    The device is identified by its name and host API, not by its index; no other one is opened. It counts as found
    once it gives sound.

    Raises:
        AudioDeviceError: it is not there, cannot be opened or delivers no sound.
        UsageError: it has fewer channels now.
    """
    if not live.lost:
        return None
    old = live.source
    old.close()
    with suppress_stderr():
        source = _reopened(old, channels)
    opened, begun = time.monotonic(), None
    try:
        while live.lost and (begun := source.begins(_POLL)) is None:
            if time.monotonic() - opened > START_WITHIN:
                raise AudioDeviceError(f"{source.label} delivers no sound")
    except BaseException:
        source.close()
        raise
    if not live.lost:
        source.close()
        return None
    live.change_to(source, begun)
    return source


def _reopened(old: Source, channels: int | None) -> MicrophoneSource | MonitorSource | RadioSource:
    """The device of a closed source, opened again."""
    if isinstance(old, RadioSource):
        return old.reopened()
    if isinstance(old, MonitorSource):
        return MonitorSource(old.monitor, channels)
    assert isinstance(old, MicrophoneSource)
    rescan()
    return _same_microphone(old, channels)


def _same_microphone(old: MicrophoneSource, channels: int | None) -> MicrophoneSource:
    """The same microphone, whose index may have changed since PortAudio scanned again."""
    return MicrophoneSource(found_again(old.device, old.namesakes, list_input_devices()).index, channels)


def _changed(live: Capturing, source: Source) -> Source:
    live.change_to(source)
    return source


def _switched_after_rescan(
    live: Capturing, old: MicrophoneSource, device: int | str | None, channels: int | None
) -> Source:
    with live.released():
        rescan()
        try:
            return _changed(live, MicrophoneSource(device, channels))
        except InstrecError:
            live.change_to(_same_microphone(old, old.channels))
            raise


class GapFiller:
    """Gives silence for the time that a device is lost, so that a recording keeps the stream's time.

    Args:
        write: takes float32 [m], mono at 32 kHz.
    """

    def __init__(self, write: Callable[[NDArray[np.float32]], None]) -> None:
        self._write = write
        self._written: int | None = None  # samples; None while the device is there

    def fill_to(self, seconds: float) -> None:
        """There has been no sound for `seconds`."""
        self._reach(round((seconds - _FILL_LAG) * SAMPLE_RATE))

    def finish(self, seconds: float) -> None:
        """Sound is back after `seconds` without, if there was such a time."""
        if self._written is not None:
            self._reach(round(seconds * SAMPLE_RATE))
            self._written = None

    def _reach(self, samples: int) -> None:
        written = self._written or 0
        while written < samples:
            block = min(_FILL_BLOCK, samples - written)
            self._write(np.zeros(block, np.float32))
            written += block
        self._written = written


class DigitalSilence:
    """Detects a microphone that gives only zeros, because it is muted or blocked, and logs it once per microphone.

    Other sources are ignored: what a computer plays is digital silence whenever it plays nothing.
    """

    def __init__(self) -> None:
        self._since: float | None = None  # s, end of the first hop of zeros
        self._logged: set[str] = set()

    def restart(self) -> None:
        """The sound starts again."""
        self._since = None

    def check(self, source: Source, time: float, peak_db: float) -> bool:
        """Whether `source` has given only zeros for five seconds.

        Args:
            time: end of the newest hop, s, ascending.
            peak_db: its highest absolute sample, dBFS.
        """
        if peak_db > FLOOR_DB or not isinstance(source, MicrophoneSource):
            self._since = None
            return False
        if self._since is None:
            self._since = time
        if time - self._since < ZEROS_AFTER:
            return False
        if source.label not in self._logged:
            self._logged.add(source.label)
            log.warning("%s delivers only zeros: is it muted or blocked?", source.label)
        return True
