"""Recordings of the captured sound as WAV files: 32 kHz, mono, 16 bits."""

import os
import re
import threading
import wave
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.arrays import FloatArray
from instrec_live.models.errors import UsageError, cannot_write, write_failed
from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.realtime.outputs.files import close_file, named_by_clock

_MOST = (2**32 - 4096) // 2  # samples; a WAV file counts its bytes in 32 bits (18 hours)

_HEADER = 44  # bytes


class Recorder:
    """Writes sound to a WAV file as it arrives. The file is always valid: its header is kept up to date.

    Attributes:
        path: the file.
        seconds: its length, s.

    Raises:
        UsageError: the file cannot be created, or exists and `force` is not given.
        OutputError: there is no room for it.
    """

    def __init__(self, path: Path, force: bool = False) -> None:
        self.path = path
        self._written = 0
        try:
            self._file = open(path, "wb" if force else "xb")  # noqa: SIM115 - closed by `close`
        except FileExistsError as error:
            raise UsageError(f"{path} exists already", "choose another name, or replace it with --force") from error
        except OSError as error:
            raise cannot_write(path, error) from error
        self._wave = wave.open(self._file, "wb")  # noqa: SIM115
        self._wave.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        try:
            self._append(b"")  # writes the header, so that the file is valid from the start
        except OSError as error:
            raise write_failed(path, error) from error

    @property
    def seconds(self) -> float:
        return self._written / SAMPLE_RATE

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append float32 [m], clipped to ±1.

        Raises:
            OSError: the disk or the format is full. The file is closed then and ends with the previous write.
        """
        if self._written + len(samples) > _MOST:
            self.close()
            raise OSError("a WAV file can hold no more than 18 hours")
        pcm = np.clip(np.rint(samples * np.float32(32768)), -32768, 32767).astype("<i2")
        self._append(pcm.tobytes())
        self._written += len(samples)

    def close(self) -> None:
        """Finish the file. Any number of times.

        Raises:
            OSError: it was deleted during the run.
        """
        self._wave.close()
        close_file(self._file)

    def _append(self, pcm: bytes) -> None:
        try:
            self._wave.writeframes(pcm)  # corrects the header too
            self._file.flush()
        except OSError:
            self._cut()
            raise

    def _cut(self) -> None:
        """Cut the file back to before the write that failed."""
        with suppress(OSError):  # a device has no end
            os.ftruncate(self._file.fileno(), _HEADER + 2 * self._written)
        # Close the descriptor, so that buffered data is not written.
        self._file.raw.close()
        for closing in (self._wave.close, self._file.close):
            with suppress(OSError, ValueError):
                closing()


Guard = Callable[[str, Callable[[], None]], bool]


class PreRoll:
    """The last `seconds` of sound, float32 mono at 32 kHz."""

    def __init__(self, seconds: float) -> None:
        self._most = round(seconds * SAMPLE_RATE)
        self._pieces: deque[FloatArray] = deque()
        self._length = 0

    def write(self, samples: FloatArray) -> None:
        if self._most:
            self._pieces.append(samples[-self._most :].copy())
            self._length += len(self._pieces[-1])
        while self._pieces and self._length - len(self._pieces[0]) >= self._most:
            self._length -= len(self._pieces.popleft())

    def sound(self) -> FloatArray:
        """Float32 [at most seconds * 32000]."""
        pieces = np.concatenate([np.zeros(0, np.float32), *self._pieces])
        return pieces[max(0, len(pieces) - self._most) :]


class Recordings:
    """The recordings of one stream, each with the seconds before its start. From any thread.

    Args:
        path: file of the first recording; None, and all after the first, get a name from the clock.
        force: whether the first may replace a file.
        pre_roll: seconds of sound before it that a recording begins with.
        guard: runs an action of an output by name, and returns whether it can continue.
        channel: the name of the source among others; part of file names made from the clock.
    """

    def __init__(
        self, path: Path | None, force: bool, pre_roll: float, guard: Guard, channel: str | None = None
    ) -> None:
        self._wanted, self._force, self._guard = path, force, guard
        self._stem = recording_stem(channel)
        self._before = PreRoll(pre_roll)
        self._recorder: Recorder | None = None
        self._lock = threading.Lock()

    @property
    def path(self) -> Path | None:
        """The file of the current recording, or None."""
        recorder = self._recorder
        return recorder.path if recorder else None

    def write(self, samples: FloatArray) -> None:
        """Take float32 [m] mono at 32 kHz."""
        with self._lock:
            recorder = self._recorder
            if recorder is not None and not self._guard(str(recorder.path), lambda: recorder.write(samples)):
                self._recorder = None
            self._before.write(samples)

    def begin(self) -> Path:
        """Start a recording, which includes the seconds before; returns its file, or that of the current recording.

        Raises:
            UsageError: the file cannot be created.
            OutputError: there is no room for it.
        """
        with self._lock:
            if self._recorder is not None:
                return self._recorder.path
            recorder = (
                Recorder(self._wanted, self._force) if self._wanted else Recorder(named_by_clock(self._stem, ".wav"))
            )
            self._wanted = None
            try:
                recorder.write(self._before.sound())
            except OSError as error:
                raise write_failed(recorder.path, error) from error
            self._recorder = recorder
            return recorder.path

    def end(self) -> Path:
        """Stop the recording; returns its file.

        Raises:
            UsageError: nothing was being recorded.
        """
        path = self.close()
        if path is None:
            raise UsageError("nothing is being recorded")
        return path

    def close(self) -> Path | None:
        """Stop the recording, if there is one."""
        with self._lock:
            recorder, self._recorder = self._recorder, None
            if recorder is None:
                return None
            self._guard(str(recorder.path), recorder.close)
            return recorder.path


def recording_stem(channel: str | None) -> str:
    """What the names of files begin with that the screen writes: "instrec", or "instrec-NAME" of one source."""
    return "instrec" if channel is None else f"instrec-{_tamed(channel)}"


def _tamed(name: str) -> str:
    """A name that every file system takes: "news/1" -> "news_1"."""
    return re.sub(r"[^\w.-]+", "_", name)[:60]
