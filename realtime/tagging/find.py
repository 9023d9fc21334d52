"""Which sound files are meant: those named, and those in the folders named."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from instrec_live.realtime.errors import InputFileError, printable

# What libsndfile reads by the names such files go by. A file that is named itself may be called anything.
SUFFIXES = frozenset((
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aiff", ".aif", ".aifc", ".caf", ".au",
    ".snd", ".w64", ".rf64", ".bwf", ".nist", ".sph", ".voc", ".ircam", ".svx", ".8svx", ".avr", ".wve",
))  # fmt: skip
# Sound that libsndfile does not read: left out, but not in silence.
UNREAD = frozenset((
    ".m4a", ".m4b", ".mp4", ".aac", ".wma", ".ape", ".wv", ".mpc", ".tta", ".dsf", ".dff", ".ac3", ".dts",
    ".amr", ".ra", ".mka", ".mkv", ".mov", ".webm", ".avi", ".wmv",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Item:
    """A file to tag.

    Attributes:
        name: what the results call it; see `name_of`.
        path: where it is.
        place: its path as the results know it: below the folder given, or as given.
        fault: why it cannot even be tried (a folder that may not be read), or None.
    """

    name: str
    path: Path
    place: Path
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The files to tag, each once, in the order of the paths given and by name in each folder; and what was left out.

    Attributes:
        items: the files.
        unread: how many files there are of each kind of sound that is not read, by suffix.
    """

    items: tuple[Item, ...]
    unread: Counter[str]


def find(paths: Sequence[Path]) -> Found:
    """The sound files among and below `paths`, by their suffixes; hidden ones are left out.

    A single folder's files are named as seen from it; those of several paths begin with the path as it was given.

    Raises:
        InputFileError: a path does not exist, or there is no sound file at all.
    """
    alone = len(paths) == 1
    items: dict[str, Item] = {}
    unread: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    for path in paths:
        if not os.path.lexists(path):
            raise InputFileError(f"{path} does not exist", "check the path")
        if not path.is_dir():
            items.setdefault(name_of(path), Item(name_of(path), path, path))
            continue
        for found, fault in sorted(_below(path, seen), key=lambda pair: pair[0].parts):
            if fault is None and found.suffix.lower() not in SUFFIXES:
                unread[found.suffix.lower()] += 1
                continue
            place = found.relative_to(path) if alone else found
            name = name_of(place) + ("/" if fault else "")
            items.setdefault(name, Item(name, found, place, fault))
    if not items:
        raise InputFileError(
            f"there is no sound file in {', '.join(map(str, paths))}" + (f", but {kinds(unread)}" if unread else ""),
            "looked for: " + " ".join(sorted(SUFFIXES)),
        )
    return Found(tuple(items.values()), unread)


def kinds(unread: Counter[str]) -> str:
    """ "12 .m4a, 1 .wma", the most first."""
    return ", ".join(f"{count} {suffix}" for suffix, count in sorted(unread.items(), key=lambda kv: (-kv[1], kv[0])))


def name_of(path: Path) -> str:
    """A path as one line of text that no two paths share: with slashes, and `\\x0a` for each byte that no line holds.

    Those are control characters and what is not UTF-8; the `\\x` of a name that really has one becomes `\\x5cx`.
    """
    text = path.as_posix().replace("\\x", "\\x5cx")
    safe = "".join(f"\\x{ord(c):02x}" if c < " " or c == "\x7f" else c for c in text)
    return os.fsencode(safe).decode("utf-8", "backslashreplace")


def _below(folder: Path, seen: set[tuple[int, int]]) -> Iterator[tuple[Path, str | None]]:
    """Files of sound, read or unread, and folders that cannot be looked into with the reason.

    Links are followed, but no folder is entered twice: links may go in circles.
    """
    faults: list[OSError] = []
    for here, folders, files in os.walk(folder, followlinks=True, onerror=faults.append):
        try:
            status = os.stat(here)
        except OSError as error:  # gone since
            faults.append(error)
            folders.clear()
            continue
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = Path(here, name)
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES | UNREAD:
                yield path, None
    for fault in faults:
        yield Path(fault.filename), f"cannot be read: {printable(fault.strerror or str(fault))}"
