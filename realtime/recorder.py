"""The sound that was heard, as a WAV file: 32 kHz, mono, 16 bits."""

import os
import wave
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.errors import UsageError
from instrec_live.models.logmel import SAMPLE_RATE

_MOST = (2**32 - 4096) // 2  # samples; a WAV file counts its bytes in 32 bits (18 hours)
_HEADER = 44  # bytes


class Recorder:
    """Writes sound to a WAV file as it comes. At any moment the file is whole: its header counts what is there.

    Attributes:
        path: the file.
        seconds: how much it holds, s.

    Raises:
        UsageError: the file cannot be made, or exists and `force` is not given.
    """

    def __init__(self, path: Path, force: bool = False) -> None:
        self.path = path
        self._written = 0
        try:
            self._file = open(path, "wb" if force else "xb")  # noqa: SIM115 - closed by `close`
        except FileExistsError as error:
            raise UsageError(f"{path} exists already", "choose another name, or replace it with --force") from error
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from error
        self._wave = wave.open(self._file, "wb")  # noqa: SIM115
        self._wave.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        try:
            self._append(b"")  # a header, so that the file is never anything but a WAV file
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from error

    @property
    def seconds(self) -> float:
        return self._written / SAMPLE_RATE

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append float32 [m]; beyond ±1 it clips.

        Raises:
            OSError: the disk or the format is full. The file is closed then, and ends with the write before.
        """
        if self._written + len(samples) > _MOST:
            self.close()
            raise OSError("a WAV file can hold no more than 18 hours")
        pcm = np.clip(np.rint(samples * np.float32(32768)), -32768, 32767).astype("<i2")
        self._append(pcm.tobytes())
        self._written += len(samples)

    def close(self) -> None:
        """Finish the file. Once more does nothing."""
        self._wave.close()
        self._file.close()

    def _append(self, pcm: bytes) -> None:
        try:
            self._wave.writeframes(pcm)  # corrects the header too
            self._file.flush()
        except OSError:
            self._cut()
            raise

    def _cut(self) -> None:
        """Leave the file as it was before the write that failed: its header was not reached."""
        with suppress(OSError):  # a device has no end
            os.ftruncate(self._file.fileno(), _HEADER + 2 * self._written)
        # Closed underneath, so that nothing that is still buffered goes after it.
        self._file.raw.close()
        for closing in (self._wave.close, self._file.close):
            with suppress(OSError, ValueError):
                closing()
