"""Files and folders that appear completely or not at all, written by one run at a time."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from instrec_live.models.errors import UsageError
from instrec_live.models.fetch.lock import file_lock


@contextmanager
def exclusive_folder(to: Path) -> Iterator[Path]:
    """A folder next to `to` to write into; on success it becomes `to`, otherwise it is removed.

    The next run removes what a killed run left.

    Raises:
        UsageError: `to` is a file or a non-empty folder, or another run is writing it.
    """
    with _exclusive(to):
        if to.exists() and not (to.is_dir() and not any(to.iterdir())):
            raise UsageError(f"{to}: already there", "give a folder that does not exist yet, or remove this one first")
        partial = to.parent / f".{to.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        with with_path(to):
            partial.mkdir()
            try:
                yield partial
                if to.exists():
                    to.rmdir()
                os.replace(partial, to)
            finally:
                shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def exclusive_file(to: Path) -> Iterator[Path]:
    """A file name next to `to` to write to; on success the file becomes `to`, in place of an older one, otherwise it is
    removed.

    Raises:
        UsageError: `to` is a folder, or another run is writing it.
    """
    if to.is_dir():
        raise UsageError(f"{to}: is a folder", "give the name of a file")
    with _exclusive(to), with_path(to):
        partial = to.with_name(f".{to.name}.partial")
        partial.unlink(missing_ok=True)  # a killed run's, or a link that leads elsewhere
        try:
            partial.touch(exist_ok=False)
            yield partial
            os.replace(partial, to)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def scratch_folder(to: Path, name: str, busy: str | None = None) -> Iterator[Path]:
    """A hidden folder in `to` for files that are to be added there. It is removed afterwards, as is `to` if new and
    empty; the next run removes what a killed run left. Waits for another run of this name, unless `busy` is given: then
    that is the error's message.

    Raises:
        UsageError: another run is adding under this name.
    """
    new = not to.exists()
    to.mkdir(parents=True, exist_ok=True)
    partial = to / f".{name}.partial"
    try:
        with file_lock(to / f".{name}.lock", busy=busy), with_path(to):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                yield partial
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    finally:
        if new:
            with suppress(OSError):  # it is not empty
                to.rmdir()


@contextmanager
def with_path(to: Path) -> Iterator[None]:
    """Add the path to an OSError that has none (a full disk)."""
    try:
        yield
    except OSError as error:
        if error.errno and not error.filename:
            raise OSError(error.errno, error.strerror, str(to)) from error
        raise


@contextmanager
def _exclusive(to: Path) -> Iterator[None]:
    new = not to.parent.exists()
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file_lock(to.with_name(f".{to.name}.lock"), busy=f"{to}: another run is writing it"):
            yield
    finally:
        if new:
            with suppress(OSError):  # it is not empty
                to.parent.rmdir()
