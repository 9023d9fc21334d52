"""What is written about one file, in a tree like that of the files, and never seen half done."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


def beside(folder: Path, place: Path, suffix: str) -> Path:
    """Where to write about the file at `place`: below `folder`, never outside it, elsewhere for every other place.

    Each step up is a folder `_up`, an absolute path begins in `_root`; names that begin so get one more `_`.
    """
    root = ["_root" + re.sub(r"\W", "", place.drive)] if place.anchor else []
    parts = [*root, *map(_tamed, place.parts[len(root) :])]
    return folder.joinpath(*parts[:-1], parts[-1] + suffix)


def _tamed(part: str) -> str:
    return "_up" if part == ".." else re.sub(r"^(_+(?:up|root))", r"_\1", part)


@contextmanager
def draft(folder: Path, place: Path, suffix: str) -> Iterator[TextIO]:
    """A text file, UTF-8, that takes its name when all is written, and vanishes if that fails.

    Raises:
        OSError: it cannot be made.
    """
    path = beside(folder, place, suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "w", encoding="utf-8", newline="") as file:
            yield file
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
