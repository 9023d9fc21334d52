"""Bytes read in order with a look ahead, the same way from a file and from a pipe."""

import os
import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

_SKIP = 1 << 16


class DecodeError(Exception):
    """The sound cannot be read or decoded, or no further; in words."""


class ByteInput:
    """Bytes in order. Subclasses give `_fetch`.

    All that reads raises DecodeError where the system cannot: a stick that was pulled, a bad sector.

    Attributes:
        size: of all, None if unknown.
        position: of the next byte that `read` gives.
    """

    size: int | None = None

    def __init__(self) -> None:
        self._ahead = b""
        self.position = 0

    def _fetch(self, most: int) -> bytes:
        """From 1 to `most` bytes that were not given yet, or none at the end; waits for them."""
        raise NotImplementedError

    def _more(self, most: int) -> bytes:
        try:
            return self._fetch(most)
        except OSError as error:
            raise DecodeError(error.strerror or str(error)) from error

    def peek(self, count: int) -> bytes:
        """The next bytes, which stay to be read; fewer only at the end."""
        while len(self._ahead) < count and (more := self._more(count - len(self._ahead))):
            self._ahead += more
        return self._ahead[:count]

    def fill(self, least: int, most: int) -> bytes:
        """All bytes that are there ahead, at least so many, fewer only at the end; they stay to be read."""
        while len(self._ahead) < least and (more := self._more(most)):
            self._ahead += more
        return self._ahead

    def some(self, most: int) -> bytes:
        """From 1 to `most` bytes as they come, or none at the end."""
        if most <= 0:
            return b""
        data = self._ahead[:most] or self._more(most)
        self._ahead = self._ahead[len(data) :]
        self.position += len(data)
        return data

    def read(self, count: int) -> bytes:
        """That many bytes, fewer only at the end."""
        parts, missing = [], count
        while missing > 0 and (data := self.some(missing)):
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    def skip(self, count: int) -> int:
        """Pass over bytes; returns how many there were."""
        passed = 0
        while passed < count and (data := self.some(min(_SKIP, count - passed))):
            passed += len(data)
        return passed

    def close(self) -> None:
        """Close what was opened here."""


class FileInput(ByteInput):
    """A regular file; it can also `seek`.

    Raises:
        OSError: it cannot be opened.
    """

    size: int

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by `close`
        self.size = os.fstat(self._file.fileno()).st_size
        self.path = path

    def _fetch(self, most: int) -> bytes:
        return self._file.read(most) or b""

    def seek(self, position: int) -> None:
        self._ahead = b""
        self._file.seek(position)
        self.position = position

    def skip(self, count: int) -> int:
        passed = max(0, min(count, self.size - self.position))
        self.seek(self.position + passed)
        return passed

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()


class PipeInput(ByteInput):
    """A byte stream that belongs to the caller and is not closed; `end` lets a waiting read return nothing."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        # Not through the buffer: a thread still waiting in its lock would crash the interpreter at exit.
        self._raw: Any = getattr(stream, "raw", stream)
        self._pollable = os.name == "posix" and _has_descriptor(stream)
        self._stream = stream  # which would close its descriptor if there were no other reference
        self._ended = False

    def end(self) -> None:
        """Give nothing more (within 0.1 s, where the system can wait for a pipe). From any thread."""
        self._ended = True

    def _fetch(self, most: int) -> bytes:
        while not self._ended:
            if self._pollable and not select.select([self._raw], [], [], 0.1)[0]:
                continue
            data = self._raw.read(most)
            if data is not None:
                return bytes(data)
            time.sleep(0.01)  # another process made the pipe non-blocking
        return b""


def _has_descriptor(stream: BinaryIO) -> bool:
    try:
        stream.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    return True


class SegmentFile:
    """A part of an input as a binary file that decoders read in order.

    Args:
        source: positioned at `start` if it is a pipe.
        start: its first byte.
        stop: the byte after its last, None: the end of the input.
    """

    def __init__(self, source: ByteInput, start: int, stop: int | None = None) -> None:
        self._source, self._start = source, start
        self._stop = source.size if stop is None else stop
        self._at = start

    def read(self, count: int = -1) -> bytes:
        left = None if self._stop is None else self._stop - self._at
        if count < 0:
            count = left if left is not None else 1 << 30
        if left is not None:
            count = min(count, left)
            if count <= 0:  # also far beyond the end, where no file can be sought to
                return b""
        if isinstance(self._source, FileInput) and self._source.position != self._at:
            self._source.seek(self._at)
        data = self._source.some(count)
        self._at += len(data)
        return data

    def tell(self) -> int:
        return self._at - self._start


class SeekableSegmentFile(SegmentFile):
    """A part of a file, in which decoders may seek."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        assert self._stop is not None
        base = {os.SEEK_SET: self._start, os.SEEK_CUR: self._at, os.SEEK_END: self._stop}[whence]
        self._at = max(self._start, base + offset)
        return self._at - self._start

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class SplitFile:
    """Bytes of a pipe up to where `next_start` finds that another sound begins; read in order.

    Args:
        source: where the bytes come from; after the end of this sound it is at the beginning of the next.
        next_start: (bytes, from) -> index of the next beginning at or after `from`, or None.
        own: bytes at the beginning that are this sound's in any case.
        reach: bytes that must be seen together for a beginning to be found.
        watch: called with all bytes that are read.
    """

    def __init__(
        self,
        source: ByteInput,
        next_start: Callable[[bytes, int], int | None],
        own: int,
        reach: int,
        watch: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self._source, self._next_start, self._own, self._reach = source, next_start, own, reach
        self._watch = watch

    def read(self, count: int = -1) -> bytes:
        count = count if count > 0 else 1 << 15
        ahead = self._source.fill(self._reach, max(count, self._reach))
        found = self._next_start(ahead, self._own)
        # A beginning may be cut in the middle by the end of what has come.
        known = len(ahead) if len(ahead) < self._reach else len(ahead) - self._reach + 1
        data = self._source.read(min(count, known if found is None else found))
        self._own = max(0, self._own - len(data))
        self._watch(data)
        return data
