"""One process at a time: a lock that ends with its holder, however that ends."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt
    import time

    def _wait_for(file: BinaryIO) -> None:
        while True:
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                return
            except OSError:
                time.sleep(0.2)
else:
    import fcntl

    def _wait_for(file: BinaryIO) -> None:
        with suppress(OSError):  # a file system that knows no locks: go on without
            fcntl.flock(file, fcntl.LOCK_EX)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, after whoever holds it now; it is gone afterwards.

    Raises:
        OSError: the file cannot be made.
    """
    file = path.open("ab")
    _wait_for(file)
    while not _still_there(file, path):  # its last holder removed it: another may hold a new one
        file.close()
        file = path.open("ab")
        _wait_for(file)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file
            path.unlink()
        file.close()


def _still_there(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
