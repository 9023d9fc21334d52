"""The sources that are asked for: `studio=device:Scarlett`, `news=/run/news.wav`, `concert.flac`, `-`."""

import os
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instrec_live.models.errors import InputFileError, UsageError

_DEVICE = "device:"
_LONGEST = 80  # letters of a name


@dataclass(frozen=True, slots=True)
class Listed:
    """A source, and what it is called.

    Attributes:
        name: in this run.
        place: "device:…", "-" for stdin, or the path of a file or a pipe.
    """

    name: str
    place: str

    @property
    def is_device(self) -> bool:
        return self.place.startswith(_DEVICE)

    def opened(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """What `Stream` is to be told. Of a pipe that nobody writes to yet this waits until somebody does; the caller
        closes it.

        Args:
            raw: rate, channels and sample_format of sound without a header.

        Raises:
            InputFileError: a pipe that cannot be read.
        """
        if self.is_device:
            return {"device": self.place.removeprefix(_DEVICE) or None}
        if self.place == "-":
            return {"stdin": open(sys.stdin.fileno(), "rb", closefd=False), **raw}  # which others may close
        if not _is_pipe(self.place):
            return {"file": Path(self.place)}
        try:
            return {"stdin": open(self.place, "rb"), **raw}
        except OSError as error:
            raise InputFileError(f"{self.place} cannot be read: {error.strerror}") from error


def _is_pipe(place: str) -> bool:
    """Whether sound streams from there: out of a pipe, or what looks like one. A file that is missing is a file."""
    try:
        mode = os.stat(place).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def listed(words: Iterable[str]) -> tuple[Listed, ...]:
    """`[NAME=]SOURCE`, each; without a name, a file is called as it is, without its folder, and a device as it is asked
    for.

    Raises:
        UsageError: two sources of one name, two that are stdin, or a name that is none.
    """
    sources = tuple(_one(word) for word in words)
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two sources are called {name}", "give them names: NAME=SOURCE")
    if sum(source.place == "-" for source in sources) > 1:
        raise UsageError("only one source can be stdin (-)", "give the others as named pipes")
    return sources


def read_list(path: Path) -> list[str]:
    """The sources in a file, one a line; what begins with # is a remark.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--list {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"--list {path}: it is not text in UTF-8") from error
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _one(word: str) -> Listed:
    name, equals, place = (part.strip() for part in word.partition("="))
    if not equals or "/" in name or name.startswith(_DEVICE) or os.path.exists(word):
        place = word
        name = place if place.startswith(_DEVICE) else "stdin" if place == "-" else Path(place).name
    if not place or not name or len(name) > _LONGEST or not name.isprintable():
        raise UsageError(f"{word!r} names no source", "as in studio=device:0, news=/run/news.wav or concert.flac")
    return Listed(name, place)


def devices_of(sources: Sequence[Listed]) -> int:
    """How many of them are devices."""
    return sum(source.is_device for source in sources)
