"""What native libraries write to stderr by themselves."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from typing import IO

_OURS = b"instrec-live: "

_lock = threading.Lock()
_hushing = 0  # how many are at it: the last one restores stderr
_kept = -1  # stderr itself, meanwhile
_aside: IO[bytes] | None = None


@contextmanager
def hushed() -> Iterator[None]:
    """Leave it out meanwhile; the program's own lines come out after. Many threads may do so at a time.

    PortAudio and ALSA say in several lines that a device cannot be opened: once that is told, but not at every attempt
    of a night. libmpg123 has notes on many a good file.
    """
    with _lock:
        _begin()
    try:
        yield
    finally:
        with _lock:
            _end()


def _begin() -> None:
    global _hushing, _kept, _aside
    _hushing += 1
    if _hushing > 1:
        return
    with suppress(AttributeError, OSError, ValueError):  # there is no stderr
        sys.stderr.flush()
        _kept = os.dup(2)
        _aside = TemporaryFile()  # noqa: SIM115 - closed in `_end`
        os.dup2(_aside.fileno(), 2)


def _end() -> None:
    global _hushing, _kept, _aside
    _hushing -= 1
    if _hushing or _kept < 0:
        return
    os.dup2(_kept, 2)
    os.close(_kept)
    _kept, aside, _aside = -1, _aside, None
    if aside is not None:
        with aside:
            aside.seek(0)
            for line in aside:
                if line.startswith(_OURS):
                    os.write(2, line)
