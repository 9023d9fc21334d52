"""The sound that was heard, as a WAV file: 32 kHz, mono, 16 bits."""

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from instrec_live.models.errors import UsageError
from instrec_live.models.logmel import SAMPLE_RATE

_MOST = (2**32 - 4096) // 2  # samples; a WAV file counts its bytes in 32 bits (18 hours)


class Recorder:
    """Writes sound to a WAV file as it comes.

    Raises:
        UsageError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = 0
        try:
            self._file = soundfile.SoundFile(
                path, "w", samplerate=SAMPLE_RATE, channels=1, subtype="PCM_16", format="WAV"
            )
        except (soundfile.SoundFileError, OSError) as error:
            raise UsageError(f"{path} cannot be written: {error}") from error

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append float32 [m]; beyond ±1 it clips. OSError when the disk or the format is full."""
        if self._written + len(samples) > _MOST:
            raise OSError("a WAV file can hold no more than 18 hours")
        try:
            self._file.write(samples)
        except soundfile.SoundFileError as error:
            raise OSError(str(error)) from error
        self._written += len(samples)

    def close(self) -> None:
        """Finish the file."""
        self._file.close()
