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
_suppressing = 0  # contexts that are open: the last one restores stderr
_kept = -1  # stderr itself, meanwhile
_aside: IO[bytes] | None = None


@contextmanager
def suppress_stderr() -> Iterator[None]:
    """Discard libraries' output on stderr meanwhile; the program's own lines follow after. Threads may overlap.

    PortAudio and ALSA print several lines when a device cannot be opened, which would repeat at every attempt to
    reconnect. libmpg123 prints notes on many valid files.
    """
    with _lock:
        _begin()
    try:
        yield
    finally:
        with _lock:
            _end()


def _begin() -> None:
    global _suppressing, _kept, _aside
    _suppressing += 1
    if _suppressing > 1:
        return
    with suppress(AttributeError, OSError, ValueError):  # there is no stderr
        sys.stderr.flush()
        _kept = os.dup(2)
        _aside = TemporaryFile()  # noqa: SIM115 - closed in `_end`
        os.dup2(_aside.fileno(), 2)


def _end() -> None:
    global _suppressing, _kept, _aside
    _suppressing -= 1
    if _suppressing or _kept < 0:
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
