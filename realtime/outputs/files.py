"""Files that are begun early, or written whole at the end."""

import errno
import os
from pathlib import Path
from typing import TextIO

from instrec_live.models.errors import UsageError


def check_writable(path: Path, force: bool) -> None:
    """Refuse early what could not be written later; creates nothing.

    Raises:
        UsageError: the file exists and `force` is not given, or its folder is missing or closed to us.
    """
    try:
        there, folder = path.exists(), path.is_dir()
    except OSError as error:  # a name that is too long
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    if folder:
        raise UsageError(f"{path} is a folder", "name a file in it")
    if there and not force:
        raise UsageError(f"{path} exists already", "choose another name, or replace it with --force")
    if not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written: there is no folder {path.parent}")
    if not os.access(path if there else path.parent, os.W_OK):
        raise UsageError(f"{path} cannot be written: permission denied")


def open_text(path: Path, force: bool) -> TextIO:
    """A new text file, UTF-8; an existing one is replaced only with `force`.

    Raises:
        UsageError: it cannot be made.
    """
    check_writable(path, force)
    try:
        return open(path, "w" if force else "x", encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def check_whole(path: Path, force: bool) -> None:
    """Refuse early what `write_whole` could not write later: tries the neighbour that it would begin with.

    Raises:
        UsageError: as `check_writable`, or there is no room for a new file of that name.
    """
    check_writable(path, force)
    if _is_device(path):
        return
    partial = _partial(path.resolve())
    try:
        partial.touch()
        partial.unlink()
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def write_whole(path: Path, content: bytes, force: bool) -> None:
    """Write a file all at once: whoever looks finds what was there before, or all of the new.

    Raises:
        OSError: it cannot be written, or (without `force`) it exists by now.
    """
    if _is_device(path):  # nothing to put another file in the place of
        path.write_bytes(content)
        return
    target = path.resolve()
    if target.exists() and not force:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    partial = _partial(target)
    try:
        partial.write_bytes(content)
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")
