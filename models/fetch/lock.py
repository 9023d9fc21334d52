"""A lock file between processes, which is released however its holder ends."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from instrec_live.models.errors import UsageError
from instrec_live.models.files import append_opener

if sys.platform == "win32":
    import msvcrt
    import time

    def _acquire(file: BinaryIO, wait: bool) -> bool:
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

    def _acquire(file: BinaryIO, wait: bool) -> bool:
        with suppress(OSError):  # a file system without locks: continue without one
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True


_held: set[BinaryIO] = set()


def _release_all() -> None:
    for file in _held:
        file.close()
    _held.clear()


if hasattr(os, "register_at_fork"):
    # A forked child (a data-loading worker) must not hold a copy: the lock would outlive a killed holder.
    os.register_at_fork(after_in_child=_release_all)


@contextmanager
def file_lock(path: Path, busy: str | None = None) -> Iterator[None]:
    """Hold the lock file `path`, which is removed afterwards. Waits for another holder, unless `busy` is given: then
    that is the error's message.

    Raises:
        UsageError: another process holds it.
        OSError: the file cannot be made.
    """
    while True:
        file = open(path, "ab", opener=append_opener)  # noqa: SIM115 - held in `_held`
        if not _acquire(file, wait=busy is None):
            file.close()
            raise UsageError(str(busy), "wait for it, or use another folder")
        if _is_current(file, path):
            break
        file.close()  # the last holder removed this file; another process may hold a new one
    _held.add(file)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows cannot remove an open file
            path.unlink()
        _held.discard(file)
        file.close()


def _is_current(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
