"""Files and folders that appear complete or not at all; small files of others, read with care; the user's folders."""

import codecs
import errno
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Literal

log = logging.getLogger(__name__)


def identity(path: str | os.PathLike[str]) -> object:
    """What a path names: equal for two names, or links, of one file."""
    real = os.path.realpath(path)  # unlike Path.resolve, it does not fail on circular links; opening the file will
    try:
        about = os.stat(real)
    except OSError:
        return real
    return (about.st_dev, about.st_ino) if stat.S_ISREG(about.st_mode) else real


@contextmanager
def atomic_file(path: Path, private: bool = False) -> Iterator[IO[bytes]]:
    """A binary file to write; on success it is flushed to the disk and becomes `path`, in place of an older file.

    If anything fails it is removed, and `path` stays as it was.

    Args:
        path: in a folder that exists.
        private: only the owner may read and write the file.

    Raises:
        OSError: it cannot be written.
    """
    # Exclusive and with an unpredictable name, so that no link is followed; short, because the name may be long.
    partial = path.with_name(f".{os.urandom(8).hex()}.partial")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(partial, flags, 0o600 if private else 0o666), "wb") as file:
            yield file
            file.flush()
            if not private and hasattr(os, "fchmod"):
                with suppress(FileNotFoundError):
                    os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))  # as the older file's
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def read_regular(path: Path, most: int = 100_000_000) -> bytes:
    """All of a file, if it is a regular one: a pipe would be waited for, a device may have no end.

    Raises:
        OSError: it cannot be read, is no regular file, or has more than `most` bytes.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        # Not `read(most + 1)`, which would first allocate so many bytes.
        content = file.read() if found.st_size <= most else b""
    if max(found.st_size, len(content)) > most:
        raise OSError(errno.EFBIG, f"larger than {most / 1e6:g} MB", str(path))
    return content


def read_text(path: Path, most: int = 100_000_000) -> str:
    """A regular text file in UTF-8, or in UTF-16 with a byte order mark.

    Raises:
        OSError: as `read_regular`.
        UnicodeDecodeError: it is neither.
    """
    return as_utf8(read_regular(path, most)).decode("utf-8")


def as_utf8(content: bytes) -> bytes:
    """A text file's content in UTF-8 without a byte order mark; PowerShell's `>` writes UTF-16.

    Raises:
        UnicodeDecodeError: it has the mark of UTF-16 and is none.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16").encode()
    return content.removeprefix(codecs.BOM_UTF8)


def user_folder(kind: Literal["cache", "config"]) -> Path:
    """The program's own folder of the user. A user without a home has none: nothing can be read or written there."""
    from platformdirs import user_cache_path, user_config_path

    try:
        folder = user_cache_path("instrec-live") if kind == "cache" else user_config_path("instrec-live", False)
    except RuntimeError:
        folder = Path("~")
    if folder.is_absolute():
        return folder
    _warn_homeless()
    return Path(os.devnull, "no home")


@cache
def _warn_homeless() -> None:
    log.warning("this user has no home folder (HOME is not set): no settings are read, and nothing is cached")


def append_opener(path: str, flags: int) -> int:
    """For `open(…, "ab", opener=append_opener)`: a link of that name is refused, not followed.

    Raises:
        OSError: it is a link, or cannot be opened.
    """
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def atomic_bytes(path: Path, content: bytes, private: bool = False) -> None:
    """Write a file as `atomic_file` does."""
    with atomic_file(path, private) as file:
        file.write(content)


def atomic_text(path: Path, content: str) -> None:
    """Write a text file in UTF-8 as `atomic_file` does."""
    atomic_bytes(path, content.encode())


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """An empty folder to write into; on success it becomes `path`, in place of an older folder.

    It is made in a temporary folder next to `path`, whose parent is created. If anything fails it is removed, and
    `path` stays as it was.

    Raises:
        OSError: it cannot be written.
    """
    import shutil  # lazy, as --help need not wait for them
    import tempfile

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch:
        fresh = Path(scratch) / "fresh"
        fresh.mkdir()
        yield fresh
        old = Path(scratch) / "old"
        if path.exists():
            path.rename(old)
        try:
            shutil.move(fresh, path)
        except BaseException:
            if old.exists():
                old.rename(path)
            raise
