"""A sound file, read block by block in constant memory."""

import logging
import math
import os
import stat
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.conditioning import PROBES, Sanity
from instrec_live.realtime.audio.byte_input import DecodeError
from instrec_live.realtime.audio.decoders import BreaksOff
from instrec_live.realtime.audio.reader import NotSound, Reader, open_file
from instrec_live.realtime.audio.source import block_frames, why_not
from instrec_live.realtime.errors import InputFileError, UsageError, printable

log = logging.getLogger(__name__)


class FileSource:
    """The sound of a file, or the part of it from `start` for `duration` seconds. See `Source`.

    Args:
        path: of any format that `reader.open_file` reads, with any rate and number of channels.
        start: seconds to skip.
        duration: seconds to give at most, None for all.
        track: which of several sounds of a film, from 1; None: the container's own choice.
        quiet: do not log what is unusual about the file.
        name: what errors call it; None: its path.

    Attributes:
        path: of it.
        end: where it ends, s from the file's own start; None while that is not known.
        sanity: counts bad and clipped samples.

    Raises:
        InputFileError: missing, a folder, not allowed, empty, or not a sound file that can be read.
        UsageError: start, duration or track make no sense for this file.
    """

    live = False
    xruns = 0

    def __init__(
        self,
        path: str | Path,
        start: float = 0.0,
        duration: float | None = None,
        track: int | None = None,
        quiet: bool = False,
        name: str | None = None,
    ) -> None:
        self._name = printable(str(path)) if name is None else name
        self.label = printable(Path(path).name)
        self._quiet = quiet
        if not (math.isfinite(start) and start >= 0):
            raise UsageError(f"--start must be 0 or more seconds, not {start}")
        if duration is not None and not (math.isfinite(duration) and duration > 0):
            raise UsageError(f"--duration must be more than 0 seconds, not {duration}")
        if not str(path):
            raise InputFileError("the name of the sound file is empty")
        self.sanity = Sanity(self._note)
        self.path, self._track = Path(path), track
        self._reader = self._open()
        self.rate, self.channels = self._reader.rate, self._reader.channels
        try:
            self._first, self._stop = self._span(start, duration)
            self._probe()
        except BaseException:
            self._reader.close()
            raise
        self._position = self._landed = self._first
        frames = self._reader.frames
        stop = frames if self._stop is None or (frames is not None and frames < self._stop) else self._stop
        known = frames is not None and stop is not None and frames > self._first
        self.duration = (stop - self._first) / self.rate if known and stop is not None else None
        self.end = stop / self.rate if known and stop is not None else None
        self._fault: InputFileError | None = None
        self._lock = threading.Lock()  # closing while a read is inside a decoder would crash it
        self._closed = False

    @property
    def bad_samples(self) -> int:
        return self.sanity.bad

    def _note(self, what: str) -> None:
        if not self._quiet:
            log.warning("%s: %s", self._name, what)

    def _open(self) -> Reader:
        check_file(self.path, self._name)
        try:
            reader = open_file(self.path, self._track, self._note)
        except NotSound as error:
            raise InputFileError(f"{self._name} {error.message}", error.hint) from error
        except DecodeError as error:
            raise InputFileError(f"{self._name} cannot be read: {error}", "is the file damaged?") from error
        except UsageError as error:
            raise UsageError(f"{self._name}: {error.message}", error.hint) from error
        except OSError as error:
            raise InputFileError(f"{self._name} cannot be read: {error.strerror or error}") from error
        if fault := why_not(reader.rate, reader.channels):
            reader.close()
            raise InputFileError(f"{self._name} claims {fault}", "is the file damaged?")
        return reader

    def _span(self, start: float, duration: float | None) -> tuple[int, int | None]:
        """First frame, and the frame at which `duration` ends; the reader is left standing at the first."""
        frames = self._reader.frames
        if frames == 0:
            raise InputFileError(f"{self._name} holds no sound: it is 0 seconds long")
        first = round(start * self.rate)
        if frames is not None and first >= frames and not len(self._read_at(first)):  # a header may claim too little
            raise self._begins_too_late(first)
        if first:
            self._go_to(first)
        return first, None if duration is None else first + max(1, round(duration * self.rate))

    def _probe(self) -> None:
        """Look at places all over a file of floats, so that one divisor serves from its beginning on. What cannot be
        read there is an error only where it is reached."""
        frames = self._reader.frames
        if not self._reader.floats or frames is None:
            return
        self.sanity.learn(self._read_at(frames * place // PROBES) for place in range(PROBES))
        self._go_to(self._first)

    def _read_at(self, frame: int) -> NDArray[np.float32]:
        try:
            self._reader.seek(frame)
            return self._reader.read(block_frames(self.rate))
        except (BreaksOff, DecodeError):
            return np.empty((0, self.channels), np.float32)

    def _go_to(self, frame: int) -> None:
        try:
            self._reader.seek(frame)
        except (BreaksOff, DecodeError) as error:
            raise self._unreadable_from(frame, error) from error

    def read(self) -> NDArray[np.float32] | None:
        """The next 0.1 s, float32 [m, channels], or None at the end.

        Raises:
            InputFileError: the file breaks off or cannot be decoded, with the second reached.
        """
        wanted = block_frames(self.rate)
        if self._stop is not None:
            wanted = min(wanted, self._stop - self._position)
        with self._lock:
            if self._closed or wanted <= 0:
                return None
            block = self._filled(wanted) if self._fault is None else np.empty((0, self.channels), np.float32)
        if len(block):
            self._position += len(block)
            return self.sanity(block)
        if self._fault is not None:
            raise self._fault
        self._ended()
        return None

    def _filled(self, wanted: int) -> NDArray[np.float32]:
        """The number of frames asked for; fewer at the end and before a fault, which the next read raises."""
        parts: list[NDArray[np.float32]] = []
        while wanted > 0:
            try:
                part = self._reader.read(wanted)
            except (BreaksOff, DecodeError) as error:
                at = self._position + sum(map(len, parts))
                self._fault = self._unreadable_from(at, error)
                break
            if not len(part):
                break
            parts.append(part)
            wanted -= len(part)
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty((0, self.channels), np.float32)

    def _ended(self) -> None:
        """The file's own end, which may not have been known before."""
        if self._position == self._first > 0:
            raise self._begins_too_late(self._first)
        if self._position == 0:
            raise InputFileError(f"{self._name} holds no sound: it is 0 seconds long")
        if self._position > self._landed:
            self.end = self._position / self.rate
            if not self._quiet and (verdict := self.sanity.verdict) is not None:
                log.warning("%s: %s", self._name, verdict)
                self._quiet = True

    def held(self, time: float) -> float:
        """The second nearest to `time` from which at least one frame of 10 ms is left."""
        end = self.end if self._stop is None else min(self.end or math.inf, self._stop / self.rate)
        return min(max(0.0, time), max(0.0, (math.inf if end is None else end) - 0.01))

    def seek(self, time: float) -> float:
        """Read on from another second of the file, as `held`. In the thread that reads.

        Returns:
            The second from which it continues, a whole number of samples.

        Raises:
            InputFileError: the file cannot be read so far.
        """
        frame = round(self.held(time) * self.rate)
        with self._lock:
            if self._closed:
                return frame / self.rate
            self._go_to(frame)
            if self._reader.position < frame:  # beyond the end, which was not known before
                self.end = self._reader.position / self.rate
                frame = round(self.held(time) * self.rate)
                self._go_to(frame)
            self._fault = None
        self._position = self._landed = frame
        return frame / self.rate

    def close(self) -> None:
        """Close the file; `read` then returns None."""
        with self._lock:
            self._closed = True
            self._reader.close()

    def _begins_too_late(self, first: int) -> UsageError:
        return UsageError(f"--start {first / self.rate:g} lies beyond the end of {self._name}")

    def _unreadable_from(self, frame: int, why: Exception) -> InputFileError:
        return unreadable(self._name, frame / self.rate, why)


def unreadable(name: str, second: float, why: Exception) -> InputFileError:
    """The error of a sound that ends too early or cannot be decoded beyond a second."""
    if isinstance(why, BreaksOff):
        total = "" if why.claimed is None else f" of {why.claimed:.2f}"
        return InputFileError(
            f"{name} ends early, at {second:.2f}{total} s", "the file is incomplete; what came before is kept"
        )
    return InputFileError(
        f"{name} cannot be read beyond {second:.2f} s: {why}",
        "the file is damaged or incomplete; --duration can stop before that",
    )


def check_file(path: Path, name: str) -> None:
    """Make sure that it is a regular, readable, non-empty file; opening a named pipe or a device could wait for ever.

    Raises:
        InputFileError: it is not.
    """
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise InputFileError(f"{name} is a folder, not a sound file")
        if not stat.S_ISREG(status.st_mode):
            raise InputFileError(f"{name} is not a regular file", "pipe sound in with --stdin")
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
