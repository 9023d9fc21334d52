"""Opening a sound file with libsndfile, and what must be known to read the right sound from it."""

import ctypes
import io
import os
import stat
import threading
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from instrec_live.realtime.errors import InputFileError, printable
from instrec_live.realtime.native_noise import hushed

FORMATS = "WAV, FLAC, OGG (Vorbis, Opus), MP3, AIFF, CAF, AU, W64 and RF64 are read"
_CONVERT = f"{FORMATS}; convert others, e.g. ffmpeg -i INPUT output.wav"
_SAMPLE_DUMP = (b"\xf0\x7e", b"\x01")  # first two bytes and fourth
OPEN_SECONDS = 3.0  # libsndfile can hang on a hostile header (its issue 1118)
SCAN_RATE = 50e6  # bytes/s allowed on top, for a format whose length is found by reading it all


class SequentialSoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """A SoundFile that does not seek after every read.

    soundfile does, to where it already is. In an MP3 that costs the decoder its bit reservoir, so that blocks
    of a mono file come out garbled (wrong by half of full scale); elsewhere it only costs time.
    """

    length_known = True

    def seekable(self) -> bool:
        """No, as far as `read` is concerned."""
        return False


class EndlessMp3(SequentialSoundFile):
    """An MP3 without a Xing frame, read to its real end; its `frames` are far too many.

    libsndfile guesses the length of such a file from its first frame's bit rate and the file's size, and never
    gives what lies beyond: a variable rate that begins high loses most of its music. So it is told a size that
    makes the guess too long.
    """

    length_known = False

    def __init__(self, path: Path) -> None:
        self._bytes = _LongFile(path)
        super().__init__(self._bytes)

    def read(self, frames: int, **how: Any) -> Any:
        """As a SoundFile reads; nothing at the end, even if that cuts a frame of the MP3 short."""
        try:
            return super().read(frames, **how)
        except soundfile.LibsndfileError:
            if io.FileIO.tell(self._bytes) < self._bytes.size:
                raise
            return np.empty((0, self.channels), np.float32)

    def close(self) -> None:
        """Close the decoder and the file below it."""
        super().close()
        self._bytes.close()


class _LongFile(io.FileIO):
    """A file that says it is a thousand times as long as it is."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.size = os.fstat(self.fileno()).st_size

    def tell(self) -> int:
        at = super().tell()
        return at * 1_000 if at == self.size else at


def _open(path: Path) -> SequentialSoundFile:
    with open(path, "rb") as file:
        head = file.read(4)
    if (head[:2], head[3:]) == _SAMPLE_DUMP:
        # libsndfile writes on stdout, among the data, what is wrong with one, and makes up sound that is not there.
        raise InputFileError(f"{printable(str(path))} is a MIDI sample dump (SDS), which is not read", _CONVERT)
    # As bytes, where names are bytes: soundfile would fail to encode one that is not UTF-8.
    sound = SequentialSoundFile(path if os.name == "nt" else os.fsencode(path))
    if sound.format == "MP3":
        endless = EndlessMp3(path)
        if endless.frames != sound.frames:  # so the length was a guess, not read from a Xing frame
            sound.close()
            return endless
        endless.close()
    return sound


def open_sound_file(path: Path, name: str) -> SequentialSoundFile:
    """Open a sound file, or say in one line why not. Its `length_known` tells whether to believe its `frames`.

    Args:
        path: the file.
        name: what to call it in an error.

    Raises:
        InputFileError: it is not there, not allowed, empty, or not a sound file that can be read.
    """
    size = _size_of(path, name)
    if path.suffix.lower() == ".raw":
        raise InputFileError(f"{name} has no header that tells its rate and format", "pipe it in with --stdin")
    opened: list[SequentialSoundFile | Exception] = []

    def attempt() -> None:
        try:
            opened.append(_open(path))
        except Exception as error:  # handed to the thread that asked
            opened.append(error)

    with hushed():
        opener = threading.Thread(target=attempt, daemon=True, name="open-file")
        opener.start()
        opener.join(OPEN_SECONDS + size / SCAN_RATE)
    if not opened:
        _keep_libsndfile()
        raise InputFileError(f"{name} cannot be opened in reasonable time", "is the file damaged?")
    if not isinstance(opened[0], Exception):
        return opened[0]
    if not isinstance(opened[0], soundfile.SoundFileError):
        raise opened[0]
    reason = getattr(opened[0], "error_string", str(opened[0])).rstrip(".")
    raise InputFileError(f"{name} is not a sound file that can be read: {reason}", _CONVERT) from opened[0]


def _keep_libsndfile() -> None:
    """Leave the library loaded when the interpreter ends: the thread that was given up is still in its code."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(soundfile._snd))


def _size_of(path: Path, name: str) -> int:
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
