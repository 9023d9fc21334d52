"""Files that are checked and opened early, or written as a whole at the end."""

import errno
import os
import stat
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, TextIO

from instrec_live.models.errors import UsageError, cannot_write
from instrec_live.models.files import atomic_bytes


def check_writable(path: Path, force: bool) -> None:
    """Refuse early what could not be written later; creates nothing.

    Raises:
        UsageError: the file exists and `force` is not given, or its folder is missing or not writable.
    """
    try:
        there, folder = os.path.lexists(path), path.is_dir()
    except OSError as error:  # a name that is too long
        raise cannot_write(path, error) from error
    if folder:
        raise UsageError(f"{path} is a folder", "give the name of a file in it")
    if there and not force:
        raise UsageError(f"{path} exists already", "choose another name, or replace it with --force")
    if not path.parent.is_dir():
        raise cannot_write(path, f"there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise cannot_write(path, "permission denied")


def open_text(path: Path, force: bool) -> TextIO:
    """A new text file, UTF-8; an existing one is replaced only with `force`.

    Raises:
        UsageError: it cannot be created.
    """
    check_writable(path, force)
    try:
        return open(path, "w" if force else "x", encoding="utf-8", newline="")
    except OSError as error:
        raise cannot_write(path, error) from error


def named_by_clock(stem: str, suffix: str) -> Path:
    """ "instrec-20250131-201530.wav" in the current folder, or the first free name after it.

    Raises:
        UsageError: there is none.
    """
    stem = f"{stem}-{datetime.now():%Y%m%d-%H%M%S}"
    for name in (f"{stem}{suffix}", *(f"{stem}-{number}{suffix}" for number in range(2, 100))):
        if not os.path.lexists(name):
            return Path(name)
    raise UsageError(f"{stem}{suffix} exists already, and so do 98 numbered ones")


def check_whole(path: Path, force: bool) -> None:
    """Refuse early what `write_whole` could not write later: tries to make a file in its folder.

    Raises:
        UsageError: as `check_writable`, or no file can be created there.
    """
    check_writable(path, force)
    if _is_device(path):
        return
    try:
        with TemporaryFile(dir=path.resolve().parent):
            pass
    except OSError as error:
        raise cannot_write(path, error) from error


def write_whole(path: Path, content: bytes, force: bool) -> None:
    """Write an output at the end of a run.

    Raises:
        OSError: it cannot be written, or (without `force`) it exists by now.
    """
    if _is_device(path):  # there is no file to replace
        path.write_bytes(content)
        return
    if path.resolve().exists() and not force:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    atomic_bytes(path.resolve(), content)  # a link stays one


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file()


def size_of(file: TextIO) -> int | None:
    """Its size on the disk; None if it is not a file on a disk."""
    try:
        about = os.fstat(file.fileno())
    except (OSError, ValueError):
        return None
    return about.st_size if stat.S_ISREG(about.st_mode) else None


def close_file(file: IO[Any]) -> None:
    """Close an output at the end of a run.

    Raises:
        OSError: it was deleted during the run, so nothing of it is left; or its last data cannot be written.
    """
    about = os.fstat(file.fileno()) if not file.closed else None
    file.close()
    if about is not None and stat.S_ISREG(about.st_mode) and about.st_nlink == 0:
        raise OSError(errno.ENOENT, "it was deleted during the run")


def cut_back(file: TextIO, size: int | None) -> None:
    """Close a file after a failed write: it is cut to `size`, which `size_of` returned before the write that
    failed, so with a whole line; it gets nothing more.
    """
    if size is None:
        return
    with suppress(OSError, ValueError):
        os.ftruncate(file.fileno(), size)
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, file.fileno())  # for buffered data
        os.close(nothing)
