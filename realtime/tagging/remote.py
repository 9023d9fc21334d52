"""Sound that is kept elsewhere: s3:// and whatever else fsspec can reach."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import fsspec

from instrec_live.realtime.errors import InputFileError, UsageError, printable

T = TypeVar("T")


def listed(url: str) -> list[str]:
    """The file at `url` as "", or the files below it as paths seen from there, sorted; hidden ones are left out.

    Raises:
        InputFileError: there is nothing, or it cannot be looked into.
        UsageError: nobody knows this kind of address, or the library for it is not installed.
    """
    files, path = _opened(url)

    def look() -> list[str]:
        if files.isfile(path):
            return [""]
        if not files.isdir(path):
            raise FileNotFoundError
        root = path.rstrip("/") + "/"
        below = [name.removeprefix(root) for name in files.find(path)]
        return sorted((name for name in below if "/." not in f"/{name}"), key=lambda name: name.split("/"))

    return _reached(url, "looked into", look)


@contextmanager
def fetched(url: str) -> Iterator[Path]:
    """A copy of a file on this machine, which is gone after the block: decoders need to seek.

    Raises:
        InputFileError, UsageError: it is not there, cannot be reached, or there is no room for it.
    """
    files, path = _opened(url)
    try:
        folder = tempfile.TemporaryDirectory(prefix="instrec-live-", ignore_cleanup_errors=True)
    except OSError as error:
        raise InputFileError(f"{url} cannot be fetched: {_reason(error)}") from error
    with folder as name:
        here = Path(name, path.rstrip("/").rsplit("/", 1)[-1])
        _reached(url, "fetched", lambda: files.get_file(path, str(here)))
        yield here


def _opened(url: str) -> tuple[Any, str]:
    """The storage, and what the file is called there."""
    try:
        files, path = fsspec.url_to_fs(url)
    except (ImportError, ValueError) as error:  # not installed; not known
        raise UsageError(f"{url} cannot be reached: {_reason(error)}", "docs/archive.md says what it takes") from error
    except Exception as error:
        raise InputFileError(f"{url} cannot be reached: {_reason(error)}") from error
    return files, str(path)


def _reached(url: str, done: str, action: Callable[[], T]) -> T:
    """Do something far away: every kind of storage has errors of its own kinds."""
    try:
        return action()
    except FileNotFoundError as error:
        raise InputFileError(f"{url} does not exist", "check the address") from error
    except Exception as error:
        raise InputFileError(f"{url} cannot be {done}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return printable(getattr(error, "strerror", None) or str(error) or type(error).__name__)
