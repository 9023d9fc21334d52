"""Folders that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from instrec_live.models.errors import UsageError


@contextmanager
def staged(to: Path) -> Iterator[Path]:
    """A folder beside `to` to write into; it becomes `to` when all went well, and is removed when not.

    What a killed run left in it is removed by the next one.

    Raises:
        UsageError: `to` is a file, or a folder with something in it.
    """
    if to.exists() and not (to.is_dir() and not any(to.iterdir())):
        raise UsageError(f"{to}: already there", "give a folder that does not exist yet, or remove this one first")
    partial = to.parent / f".{to.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if to.exists():
            to.rmdir()
        os.replace(partial, to)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError) and error.errno and not error.filename:  # a full disk does not say where
            raise OSError(error.errno, error.strerror, str(to)) from error
        raise
