"""A sound file, read block by block in constant memory."""

import math
import threading
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from instrec_live.realtime.errors import InputFileError, UsageError, printable
from instrec_live.realtime.sources.block import block_frames, why_not, zero_bad_samples
from instrec_live.realtime.sources.sound_file import open_sound_file

_LEAKY = ("MP3", "OGG")  # their decoders carry what they heard across a seek: hundredths of a second of noise


class FileSource:
    """The sound of a file, or the part of it from `start` for `duration` seconds. See `Source`.

    Args:
        path: of any format that libsndfile reads, with any rate and number of channels.
        start: seconds to skip.
        duration: seconds to give at most, None for all.

    Attributes:
        end: where it ends, s from the file's own start; None while that is not known.

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
        self._file = open_sound_file(Path(path), self._name)
        self.rate, self.channels = int(self._file.samplerate), int(self._file.channels)
        try:
            self._first, self._stop = self._span(start, duration)
        except Exception:
            self._file.close()
            raise
        self._path = Path(path)
        self._position = self._landed = self._first
        length = (self._stop - self._first) / self.rate
        self.duration = length if self._file.length_known else None
        self.end = self._stop / self.rate if self._file.length_known else None
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
            raise self._begins_too_late(first)
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
            if self._file.length_known:
                raise self._unreadable_from(self._position, "the file breaks off")
            if self._position == self._first > 0:
                raise self._begins_too_late(self._first)
            self._stop = self._position
            if self._position > self._landed:
                self.end = self._stop / self.rate
        self.bad_samples += zero_bad_samples(block)
        return block if len(block) else None

    def held(self, time: float) -> float:
        """The second nearest to `time` from which there is at least a frame of 10 ms to hear."""
        return min(max(0.0, time), max(0.0, self._stop / self.rate - 0.01))

    def seek(self, time: float) -> float:
        """Read on from another second of the file, as `held`. In the thread that reads.

        A file that cannot be sought in is read once more from its beginning.

        Returns:
            The second it really goes on from, a whole number of samples.

        Raises:
            InputFileError: the file cannot be read so far.
        """
        frame = round(self.held(time) * self.rate)
        with self._lock:
            if self._file.closed:
                return frame / self.rate
            if self._file.format in _LEAKY:
                self._reopen()
            try:
                self._file.seek(frame)
            except (soundfile.SoundFileError, OSError) as error:
                if not self._reopen():
                    raise self._unreadable_from(frame, error) from error
                self._skip(frame)
        self._position = self._landed = frame
        return frame / self.rate

    def _reopen(self) -> bool:
        """Take a decoder that has heard nothing, unless the file has gone or become another; whether it could."""
        try:
            again = open_sound_file(self._path, self._name)
        except InputFileError:
            return False
        if (again.samplerate, again.channels, again.frames) != (self.rate, self.channels, self._file.frames):
            again.close()
            return False
        self._file.close()
        self._file = again
        return True

    def _skip(self, frames: int) -> None:
        """Read so many frames for nothing, or up to the end."""
        step = block_frames(self.rate)
        for at in range(0, frames, step):
            try:
                skipped = self._file.read(min(step, frames - at), dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, OSError) as error:
                raise self._unreadable_from(at, error) from error
            if not len(skipped):
                return

    def close(self) -> None:
        """Close the file; `read` then returns None."""
        with self._lock:
            self._file.close()

    def _begins_too_late(self, first: int) -> UsageError:
        return UsageError(f"--start {first / self.rate:g} lies beyond the end of {self._name}")

    def _unreadable_from(self, frame: int, why: object) -> InputFileError:
        reason = getattr(why, "error_string", str(why)).rstrip(".")
        return InputFileError(
            f"{self._name} cannot be read beyond {frame / self.rate:.2f} s: {reason}",
            "the file is damaged or incomplete; --duration can stop before that",
        )
