"""Files and folders that appear whole or not at all, written by one run at a time."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from instrec_live.models.errors import UsageError
from instrec_live.models.fetch.lock import alone


@contextmanager
def staged(to: Path) -> Iterator[Path]:
    """A folder beside `to` to write into; it becomes `to` when all went well, and is removed when not.

    What a killed run left in it is removed by the next one.

    Raises:
        UsageError: `to` is a file, or a folder with something in it, or another run is writing it.
    """
    with _sole(to):
        if to.exists() and not (to.is_dir() and not any(to.iterdir())):
            raise UsageError(f"{to}: already there", "give a folder that does not exist yet, or remove this one first")
        partial = to.parent / f".{to.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        with placed(to):
            partial.mkdir()
            try:
                yield partial
                if to.exists():
                    to.rmdir()
                os.replace(partial, to)
            finally:
                shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def staged_file(to: Path) -> Iterator[Path]:
    """A file name beside `to` to write to; what is there becomes `to`, in place of an older one, when all went well,
    and is removed when not.

    Raises:
        UsageError: `to` is a folder, or another run is writing it.
    """
    if to.is_dir():
        raise UsageError(f"{to}: is a folder", "give the name of a file")
    with _sole(to), placed(to):
        partial = to.with_name(f".{to.name}.partial")
        try:
            yield partial
            os.replace(partial, to)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def within(to: Path, name: str, busy: str | None = None) -> Iterator[Path]:
    """A hidden folder in `to` for what is to be added there, gone afterwards; so is `to` if new and empty. A killed
    run's is cleared by the next. Another run that adds under this name is waited for, or, with words to say that it is
    `busy`, not.

    Raises:
        UsageError: it is busy.
    """
    new = not to.exists()
    to.mkdir(parents=True, exist_ok=True)
    partial = to / f".{name}.partial"
    try:
        with alone(to / f".{name}.lock", busy=busy), placed(to):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                yield partial
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    finally:
        if new:
            with suppress(OSError):  # there is something in it
                to.rmdir()


@contextmanager
def placed(to: Path) -> Iterator[None]:
    """Say of an OSError that knows not where it befell (a full disk) that it was here."""
    try:
        yield
    except OSError as error:
        if error.errno and not error.filename:
            raise OSError(error.errno, error.strerror, str(to)) from error
        raise


@contextmanager
def _sole(to: Path) -> Iterator[None]:
    new = not to.parent.exists()
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        with alone(to.with_name(f".{to.name}.lock"), busy=f"{to}: another run is writing it"):
            yield
    finally:
        if new:
            with suppress(OSError):  # there is something in it
                to.parent.rmdir()
