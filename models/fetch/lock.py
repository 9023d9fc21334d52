"""One process at a time: a lock that ends with its holder, however that ends."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from instrec_live.models.errors import UsageError

if sys.platform == "win32":
    import msvcrt
    import time

    def _take(file: BinaryIO, wait: bool) -> bool:
        while True:
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                return True
            except OSError:
                if not wait:
                    return False
                time.sleep(0.2)
else:
    import fcntl

    def _take(file: BinaryIO, wait: bool) -> bool:
        with suppress(OSError):  # a file system that knows no locks: go on without
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True


_held: set[BinaryIO] = set()


def _let_go() -> None:
    for file in _held:
        file.close()
    _held.clear()


if hasattr(os, "register_at_fork"):
    # A forked child, a worker that loads data, holds nothing: with its copy the lock would outlive a killed holder.
    os.register_at_fork(after_in_child=_let_go)


@contextmanager
def alone(path: Path, busy: str | None = None) -> Iterator[None]:
    """Hold the lock file `path`; it is gone afterwards. Whoever holds it now is waited for, or, with words to say that
    it is `busy`, not.

    Raises:
        UsageError: it is busy.
        OSError: the file cannot be made.
    """
    while True:
        file = path.open("ab")
        if not _take(file, wait=busy is None):
            file.close()
            raise UsageError(str(busy), "wait for it, or choose another place")
        if _still_there(file, path):
            break
        file.close()  # its last holder removed it: another may hold a new one
    _held.add(file)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file
            path.unlink()
        _held.discard(file)
        file.close()


def _still_there(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
