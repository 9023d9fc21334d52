"""Sound that another program pipes in: raw PCM, or the same behind a WAV header."""

import os
import select
import struct
import time
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from instrec_live.realtime.errors import InputFileError, UsageError
from instrec_live.realtime.sources.block import block_frames, why_not, zero_bad_samples

SAMPLE_BYTES = {"s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4}
_WAV_FORMATS = {(1, 16): "s16le", (1, 24): "s24le", (1, 32): "s32le", (3, 32): "f32le"}  # format tag, bits
_OTHER_FILES = {b"fLaC": "FLAC", b"OggS": "OGG", b"FORM": "AIFF", b"ID3\x03": "MP3", b"ID3\x04": "MP3"}
_ENDLESS = 0x7FFF0000  # bytes of data; a program that pipes does not know how many come, and claims that or more
_EXAMPLE = "e.g. ffmpeg -nostdin -v error -i URL -f wav - | instrec-live --stdin"


def decode(data: bytes, sample_format: str) -> NDArray[np.float32]:
    """Little-endian PCM to float32 in [-1, 1), one value per sample; f32le as it is."""
    if sample_format == "f32le":
        return np.frombuffer(data, "<f4").astype(np.float32)
    if sample_format == "s24le":  # into the upper three bytes of an int32
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        data, sample_format = wide.tobytes(), "s32le"
    bits = 8 * SAMPLE_BYTES[sample_format]
    return np.frombuffer(data, f"<i{bits // 8}").astype(np.float32) * np.float32(2.0 ** (1 - bits))


class PipeSource:
    """The sound of a byte stream. See `Source`. The stream belongs to the caller and is not closed.

    Args:
        stream: e.g. sys.stdin.buffer, nothing of it read yet. If it begins with a WAV header (PCM or float),
            that header's rate, channels and format are used instead of the ones below.
        rate: Hz.
        channels: interleaved.
        sample_format: s16le, s24le, s32le or f32le.

    Raises:
        UsageError: rate, channels or format make no sense, or the stream is a terminal.
        InputFileError: nothing comes, or something that is neither raw PCM nor such a WAV.
    """

    live = True
    duration = None
    xruns = 0
    label = "stdin"

    def __init__(self, stream: BinaryIO, rate: int, channels: int, sample_format: str = "s16le") -> None:
        if sample_format not in SAMPLE_BYTES:
            raise UsageError(f"sample format {sample_format!r} is not known", f"one of {', '.join(SAMPLE_BYTES)}")
        if stream.isatty():
            raise UsageError("--stdin needs sound piped in, but stdin is a terminal", _EXAMPLE)
        # Not through the buffer: a thread still waiting in its lock would crash the interpreter at exit.
        self._raw: Any = getattr(stream, "raw", stream)
        self._pollable = os.name == "posix" and _has_descriptor(stream)
        self._stream = stream  # which would close its descriptor if nobody else held it
        self._closed = False
        self.bad_samples = 0
        self._left: float = float("inf")  # bytes until the end of a WAV's data
        start = self._exactly(4)
        if start == b"RIFF":
            rate, channels, sample_format = self._wav_header()
            start = b""
        elif not start:
            raise InputFileError("nothing came through the pipe", "did the program before it fail?")
        elif start in _OTHER_FILES:
            raise InputFileError(f"{_OTHER_FILES[start]} came through the pipe, not raw PCM or WAV", _EXAMPLE)
        if fault := why_not(rate, channels):
            raise UsageError(f"the pipe cannot have {fault}")
        self.rate, self.channels, self._format = rate, channels, sample_format
        self._frame_bytes = channels * SAMPLE_BYTES[sample_format]
        self._pending = start  # bytes of a frame whose rest has not come yet

    def read(self) -> NDArray[np.float32] | None:
        """What the pipe holds, up to 0.1 s, float32 [m, channels]; waits for a whole frame.

        None at the end or once closed. A frame that the end cuts short is dropped.
        """
        while True:
            room = block_frames(self.rate) * self._frame_bytes - len(self._pending)
            data = self._some(int(min(max(room, 1), self._left)))
            self._left -= len(data)
            self._pending += data
            whole = len(self._pending) - len(self._pending) % self._frame_bytes
            if whole:
                block = decode(self._pending[:whole], self._format).reshape(-1, self.channels)
                self._pending = self._pending[whole:]
                self.bad_samples += zero_bad_samples(block)
                return block
            if not data:
                return None

    def close(self) -> None:
        """Let a waiting `read` return None (within 0.1 s, where the system can wait for a pipe)."""
        self._closed = True

    def _some(self, most: int) -> bytes:
        """From 1 to `most` bytes, or none at the end or once closed."""
        while not self._closed and most:
            if self._pollable and not select.select([self._raw], [], [], 0.1)[0]:
                continue
            data = self._raw.read(most)
            if data is not None:
                return bytes(data)
            time.sleep(0.01)  # somebody made the pipe non-blocking
        return b""

    def _exactly(self, count: int) -> bytes:
        """That many bytes, fewer only at the end."""
        data = b""
        while len(data) < count and (more := self._some(count - len(data))):
            data += more
        return data

    def _wav_header(self) -> tuple[int, int, str]:
        """Read on from "RIFF" to where the samples begin: rate, channels, sample format."""
        self._exactly(8)
        found = None
        while len(head := self._exactly(8)) == 8:
            name, size = struct.unpack("<4sI", head)
            if name == b"data" and found:
                self._left = size if 0 < size < _ENDLESS else float("inf")
                return found
            if size > 1 << 20 or len(body := self._exactly(size + size % 2)) < size:
                break
            if name == b"fmt " and size >= 16:
                tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", body)
                if tag == 0xFFFE and size >= 26:  # extensible: the tag proper comes later
                    (tag,) = struct.unpack_from("<H", body, 24)
                if sample_format := _WAV_FORMATS.get((tag, bits)):
                    found = rate, channels, sample_format
        raise InputFileError("the WAV in the pipe is neither 16, 24, 32-bit PCM nor 32-bit float", _EXAMPLE)


def _has_descriptor(stream: BinaryIO) -> bool:
    try:
        stream.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    return True
