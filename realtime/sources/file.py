"""A sound file, read block by block in constant memory."""

import math
import os
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
from instrec_live.realtime.errors import InputFileError, UsageError, printable
from instrec_live.realtime.sources.block import block_frames, why_not, zero_bad_samples
from numpy.typing import NDArray

FORMATS = "WAV, FLAC, OGG (Vorbis, Opus), MP3, AIFF, CAF, AU, W64 and RF64 are read"
OPEN_SECONDS = 4.0  # libsndfile can hang on a hostile header (its issue 1118)
SCAN_RATE = 50e6  # bytes/s allowed on top, for a format whose length is found by reading it all


class FileSource:
    """The sound of a file, or the part of it from `start` for `duration` seconds. See `Source`.

    Args:
        path: of any format that libsndfile reads, with any rate and number of channels.
        start: seconds to skip.
        duration: seconds to give at most, None for all.

    Raises:
        InputFileError: missing, a folder, not allowed, empty, or not a sound file that can be read.
        UsageError: start or duration make no sense for this file.
    """

    live = False
    xruns = 0

    def __init__(self, path: str | Path, start: float = 0.0, duration: float | None = None) -> None:
        self._name = printable(str(path))
        self.label = printable(Path(path).name)
        self.bad_samples = 0
        if not (math.isfinite(start) and start >= 0):
            raise UsageError(f"--start must be 0 or more seconds, not {start}")
        if duration is not None and not (math.isfinite(duration) and duration > 0):
            raise UsageError(f"--duration must be more than 0 seconds, not {duration}")
        self._file = _open(Path(path), self._name)
        self.rate, self.channels = int(self._file.samplerate), int(self._file.channels)
        try:
            self._position, self._stop = self._span(start, duration)
        except Exception:
            self._file.close()
            raise
        self.duration: float | None = (self._stop - self._position) / self.rate
        self._lock = threading.Lock()  # closing while a read is inside libsndfile would crash it

    def _span(self, start: float, duration: float | None) -> tuple[int, int]:
        """First frame and the frame after the last; the file is left standing at the first."""
        frames, fault = int(self._file.frames), why_not(self.rate, self.channels)
        if fault:
            raise InputFileError(f"{self._name} claims {fault}", "is the file damaged?")
        if frames == 0:
            raise InputFileError(f"{self._name} holds no sound: it is 0 seconds long")
        first = round(start * self.rate)
        if first >= frames:
            raise UsageError(
                f"--start {start:g} lies beyond the end of {self._name} ({frames / self.rate:g} s)"
            )
        if first:
            try:
                self._file.seek(first)
            except soundfile.SoundFileError as error:
                raise self._unreadable_from(first, error) from error
        return first, frames if duration is None else min(frames, first + max(1, round(duration * self.rate)))

    def read(self) -> NDArray[np.float32] | None:
        """The next 0.1 s, float32 [m, channels], or None at the end.

        Raises:
            InputFileError: the file breaks off or cannot be decoded, with the second reached.
        """
        wanted = min(block_frames(self.rate), self._stop - self._position)
        with self._lock:
            if wanted == 0 or self._file.closed:
                return None
            try:
                block: NDArray[np.float32] = self._file.read(wanted, dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, OSError) as error:
                raise self._unreadable_from(self._position, error) from error
        self._position += len(block)
        if len(block) < wanted:
            # Without a Xing header the length of an MP3 is a guess from its first frame's bit rate.
            if self._file.format != "MP3":
                raise self._unreadable_from(self._position, "the file breaks off")
            self._stop = self._position
        self.bad_samples += zero_bad_samples(block)
        return block if len(block) else None

    def close(self) -> None:
        """Close the file; `read` then returns None."""
        with self._lock:
            self._file.close()

    def _unreadable_from(self, frame: int, why: object) -> InputFileError:
        reason = getattr(why, "error_string", str(why)).rstrip(".")
        return InputFileError(
            f"{self._name} cannot be read beyond {frame / self.rate:.2f} s: {reason}",
            "the file is damaged or incomplete; --duration can stop before that",
        )


def _open(path: Path, name: str) -> soundfile.SoundFile:
    """Open a sound file, or say in one line why not."""
    size = _size(path, name)
    if path.suffix.lower() == ".raw":
        raise InputFileError(
            f"{name} has no header that tells its rate and format", "pipe it in with --stdin"
        )
    opened: list[soundfile.SoundFile | Exception] = []

    def attempt() -> None:
        try:
            opened.append(soundfile.SoundFile(path))
        except Exception as error:  # handed to the thread that asked
            opened.append(error)

    with _native_stderr_silenced():
        opener = threading.Thread(target=attempt, daemon=True, name="open-file")
        opener.start()
        opener.join(OPEN_SECONDS + size / SCAN_RATE)
    if not opened:
        raise InputFileError(f"{name} cannot be opened in reasonable time", "is the file damaged?")
    if not isinstance(opened[0], Exception):
        return opened[0]
    if not isinstance(opened[0], soundfile.SoundFileError):
        raise opened[0]
    reason = getattr(opened[0], "error_string", str(opened[0])).rstrip(".")
    raise InputFileError(
        f"{name} is not a sound file that can be read: {reason}",
        f"{FORMATS}; convert others, e.g. ffmpeg -i INPUT output.wav",
    ) from opened[0]


def _size(path: Path, name: str) -> int:
    """Bytes of a regular, readable, non-empty file; opening a named pipe or a device could wait for ever."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise InputFileError(f"{name} is a folder, not a sound file")
        if not stat.S_ISREG(status.st_mode):
            raise InputFileError(f"{name} is not a regular file", "pipe raw sound in with --stdin")
        with open(path, "rb"):
            pass
    except FileNotFoundError as error:
        raise InputFileError(f"{name} does not exist", "check the path") from error
    except PermissionError as error:
        raise InputFileError(f"{name} cannot be read: permission denied", "check who may read it") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InputFileError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if status.st_size == 0:
        raise InputFileError(f"{name} is empty (0 bytes)")
    return status.st_size


_STDERR = threading.Lock()


@contextmanager
def _native_stderr_silenced() -> Iterator[None]:
    """Keep the notes that libmpg123 writes to file descriptor 2 out of the user's terminal."""
    with _STDERR:
        try:
            sys.stderr.flush()
            kept = os.dup(2)
        except (AttributeError, OSError, ValueError):  # no stderr at all
            yield
            return
        try:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 2)
            os.close(nothing)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
