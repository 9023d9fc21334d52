"""Which sound files are meant: those named, those in the folders named, and those in lists."""

import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

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
LISTS = (".txt", ".lst")  # files of paths, one a line

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # no drive has a name of two letters


@dataclass(frozen=True, slots=True)
class Item:
    """A file to tag.

    Attributes:
        name: what the results call it; see `name_of`.
        path: where it is.
        place: its path as the results know it: below the folder given, or as given.
        fault: why it cannot even be tried (a folder that may not be read), or None.
        url: where it is if that is no path: it must be fetched from there.
    """

    name: str
    path: Path
    place: Path
    fault: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The files to tag, each once, in the order of the paths given and by name in each folder; and what was left out.

    Attributes:
        items: the files.
        unread: how many files there are of each kind of sound that is not read, by suffix.
    """

    items: tuple[Item, ...]
    unread: Counter[str]


def path_of(text: str) -> Path | str:
    """A path as somebody typed it; one like s3://bucket/folder stays as it is."""
    return text if _URL.match(text) else Path(text)


def find(paths: Sequence[Path | str]) -> Found:
    """The sound files among and below `paths`, by their suffixes; hidden ones are left out.

    A single folder's files are named as seen from it; those of several paths begin with the path as it was given. A
    file that ends in .txt or .lst is a list of paths, one a line, as is standard input, "-".

    Raises:
        InputFileError: a path does not exist, or there is no sound file at all.
        UsageError: an address that cannot be reached.
    """
    search = _Search(alone=len(paths) == 1)
    for path in paths:
        if isinstance(path, Path) and _is_list(path):
            listed = _lines(path)
            search.alone = False
            for each in listed:
                search.take(each)
        elif isinstance(path, Path) and not os.path.lexists(path):
            raise InputFileError(f"{path} does not exist", "check the path")
        else:
            search.take(path)
    if not search.items:
        unread = search.unread
        raise InputFileError(
            f"there is no sound file in {', '.join(map(str, paths))}" + (f", but {kinds(unread)}" if unread else ""),
            "looked for: " + " ".join(sorted(SUFFIXES)),
        )
    return Found(tuple(search.items.values()), search.unread)


class _Search:
    """What has been found so far.

    Attributes:
        alone: whether names are to be as seen from the path given.
        items: by name, each once.
        unread: see `Found`.
    """

    def __init__(self, alone: bool) -> None:
        self.alone = alone
        self.items: dict[str, Item] = {}
        self.unread: Counter[str] = Counter()
        self._seen: set[tuple[int, int]] = set()

    def take(self, path: Path | str) -> None:
        """A file, which may be called anything, or all below a folder."""
        if isinstance(path, str):
            self._take_url(path)
        elif os.path.isdir(path):  # Path.is_dir minds names that are too long and folders that are closed
            self._take_folder(path)
        else:
            self._add(Item(name_of(path), path, path))

    def _take_folder(self, folder: Path) -> None:
        for found, fault in sorted(_below(folder, self._seen), key=lambda pair: pair[0].parts):
            if fault is None and not self._meant(found):
                continue
            place = found.relative_to(folder) if self.alone else found
            self._add(Item(name_of(place) + ("/" if fault else ""), found, place, fault))

    def _take_url(self, url: str) -> None:
        from instrec_live.realtime.tagging.remote import listed

        for below in listed(url):
            whole = f"{url.rstrip('/')}/{below}" if below else url
            if below and not self._meant(PurePosixPath(below)):
                continue
            seen = below if below and self.alone else whole
            self._add(Item(line_of(seen), Path(whole), Path(seen), url=whole))

    def _meant(self, path: PurePath) -> bool:
        """Whether it is sound that is read; what is not read is counted."""
        suffix = path.suffix.lower()
        if suffix in UNREAD:
            self.unread[suffix] += 1
        return suffix in SUFFIXES

    def _add(self, item: Item) -> None:
        self.items.setdefault(item.name, item)


def _is_list(path: Path) -> bool:
    return str(path) == "-" or (path.suffix.lower() in LISTS and not os.path.isdir(path))


def _lines(path: Path) -> list[Path | str]:
    """The paths in a list.

    Raises:
        InputFileError: it cannot be read, or there is none in it.
    """
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise InputFileError(f"{path} cannot be read: {error.strerror}", "a list has a path on every line") from error
    lines = [os.fsdecode(line) for line in data.removeprefix(b"\xef\xbb\xbf").splitlines() if line.strip()]
    if not lines or any("\0" in line for line in lines):
        raise InputFileError(f"{path} is no list of paths, one a line")
    return [path_of(line) for line in lines]


def kinds(unread: Counter[str]) -> str:
    """ "12 .m4a, 1 .wma", the most first."""
    return ", ".join(f"{count} {suffix}" for suffix, count in sorted(unread.items(), key=lambda kv: (-kv[1], kv[0])))


def name_of(path: Path) -> str:
    """A path, with slashes, as one line of text that no two paths share."""
    return line_of(path.as_posix())


def line_of(text: str) -> str:
    """A name as one line of text that no two names share: with `\\x0a` for each byte that no line holds.

    Those are control characters and what is not UTF-8; the `\\x` of a name that really has one becomes `\\x5cx`.
    """
    text = text.replace("\\x", "\\x5cx")
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
