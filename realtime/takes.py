"""Recordings of one stream, each with the seconds that came before it."""

import re
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.errors import UsageError
from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.realtime.recorder import Recorder

FloatArray = NDArray[np.float32]
Guard = Callable[[str, Callable[[], None]], bool]


class PreRoll:
    """The last `seconds` of sound, float32 mono at 32 kHz."""

    def __init__(self, seconds: float) -> None:
        self._most = round(seconds * SAMPLE_RATE)
        self._pieces: deque[FloatArray] = deque()
        self._length = 0

    def hear(self, samples: FloatArray) -> None:
        if self._most:
            self._pieces.append(samples[-self._most :].copy())
            self._length += len(self._pieces[-1])
        while self._pieces and self._length - len(self._pieces[0]) >= self._most:
            self._length -= len(self._pieces.popleft())

    def sound(self) -> FloatArray:
        """Float32 [at most seconds * 32000]."""
        pieces = np.concatenate([np.zeros(0, np.float32), *self._pieces])
        return pieces[max(0, len(pieces) - self._most) :]


class Takes:
    """Records what it hears while it is told to. From any thread.

    Args:
        path: file of the first recording; None, and all after the first, get a name from the clock.
        force: whether the first may replace a file.
        pre_roll: seconds of sound before it that a recording begins with.
        guard: does something with the output of a name, and tells whether that can go on.
        channel: the name of the source among others; it stands in names from the clock.
    """

    def __init__(
        self, path: Path | None, force: bool, pre_roll: float, guard: Guard, channel: str | None = None
    ) -> None:
        self._wanted, self._force, self._guard = path, force, guard
        self._stem = "instrec" if channel is None else f"instrec-{_tamed(channel)}"
        self._before = PreRoll(pre_roll)
        self._recorder: Recorder | None = None
        self._lock = threading.Lock()

    @property
    def path(self) -> Path | None:
        """The file that is being recorded into."""
        recorder = self._recorder
        return recorder.path if recorder else None

    def hear(self, samples: FloatArray) -> None:
        """Take float32 [m] mono at 32 kHz."""
        with self._lock:
            recorder = self._recorder
            if recorder is not None and not self._guard(str(recorder.path), lambda: recorder.write(samples)):
                self._recorder = None
            self._before.hear(samples)

    def begin(self) -> Path:
        """Record from now on, the seconds before included; returns the file, also if that goes on already.

        Raises:
            UsageError: the file cannot be made.
        """
        with self._lock:
            if self._recorder is not None:
                return self._recorder.path
            recorder = Recorder(self._wanted, self._force) if self._wanted else _named_by_clock(self._stem)
            self._wanted = None
            try:
                recorder.write(self._before.sound())
            except OSError as error:
                raise UsageError(f"{recorder.path} cannot be written: {error.strerror or error}") from error
            self._recorder = recorder
            return recorder.path

    def end(self) -> Path:
        """Record no more; returns the file.

        Raises:
            UsageError: nothing was being recorded.
        """
        path = self.close()
        if path is None:
            raise UsageError("nothing is being recorded")
        return path

    def close(self) -> Path | None:
        """The same, whether or not there is a recording."""
        with self._lock:
            recorder, self._recorder = self._recorder, None
            if recorder is None:
                return None
            self._guard(str(recorder.path), recorder.close)
            return recorder.path


def _tamed(name: str) -> str:
    """A name that no file system minds: "news/1" -> "news_1"."""
    return re.sub(r"[^\w.-]+", "_", name)[:60]


def _named_by_clock(stem: str) -> Recorder:
    """instrec-20250131-201530.wav in the present folder, or the first free name after it."""
    stem = f"{stem}-{datetime.now():%Y%m%d-%H%M%S}"
    for name in (f"{stem}.wav", *(f"{stem}-{number}.wav" for number in range(2, 100))):
        if not Path(name).exists():
            return Recorder(Path(name))
    raise UsageError(f"{stem}.wav exists already, and many beside it")
