"""Which sound files are meant: those named, those in the folders named, and those in lists."""

import logging
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, TypeVar

from instrec_live.models.files import as_utf8, read_regular
from instrec_live.realtime.errors import InputFileError, UsageError, printable

# Sound that is stored elsewhere: http:// and https://, and s3:// and all else that fsspec can reach.

_CHAINED = frozenset(("zip", "tar", "libarchive", "simplecache", "filecache", "blockcache", "reference", "data"))

_INSTEAD = "listen to it: --file, or watch"

LARGEST = 16_000_000_000  # bytes fetched of what tells no length: a day of stereo at 44.1 kHz

T = TypeVar("T")

log = logging.getLogger(__name__)


def listed(url: str) -> list[str]:
    """The file at `url` as "", or the files below it as paths seen from there, sorted; hidden ones are left out.

    Raises:
        InputFileError: there is nothing, or it cannot be looked into.
        UsageError: unknown kind of address, or its library is not installed.
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
        InputFileError, UsageError: it is not there, cannot be reached, has no end, or there is no room for it.
    """
    if _is_web(url):
        from instrec_live.realtime.audio.web import Fetched, ask

        answer = ask(url)
        if answer.kind in ("radio", "hls", "live hls"):
            raise InputFileError(f"{printable(url)} is a stream, not a file", _INSTEAD)
        if answer.length is None:
            answer = replace(answer, response=_Bounded(url, answer.response))
        copy = Fetched(answer)
        try:
            if copy.missing is not None:
                log.warning("%s: %s", printable(url), copy.missing)
            yield copy.path
        finally:
            copy.close()
        return
    files, path = _opened(url)
    try:
        folder = tempfile.TemporaryDirectory(prefix="instrec-live-", ignore_cleanup_errors=True)
    except OSError as error:
        raise InputFileError(f"{url} cannot be fetched: {_reason(error)}") from error
    with folder as name:
        here = Path(name, path.rstrip("/").rsplit("/", 1)[-1])
        _reached(url, "fetched", lambda: files.get_file(path, str(here)))
        yield here


class _Bounded:
    """A response of unknown length: one without end must not fill the disk.

    Its copy may be as large as `LARGEST`, and as what it leaves free.
    """

    def __init__(self, url: str, response: Any) -> None:
        self._url, self._response, self._received = url, response, 0

    def read1(self, most: int) -> bytes:
        data = bytes(self._response.read1(most))
        self._received += len(data)
        if data and self._received > min(LARGEST, shutil.disk_usage(tempfile.gettempdir()).free):
            self.close()
            raise InputFileError(
                f"{printable(self._url)} is a stream, not a file, or too large: {self._received / 1e6:,.0f} MB came "
                "without an end",
                _INSTEAD,
            )
        return data

    def close(self) -> None:
        self._response.close()


def _is_web(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))


def _opened(url: str) -> tuple[Any, str]:
    """The storage, and the name of the file there."""
    scheme = url.partition("://")[0].lower()
    if "::" in url or scheme in _CHAINED:
        raise UsageError(f"{printable(url)}: {scheme}:// is not a supported kind of address", "unpack it first")
    try:
        import fsspec

        files, path = fsspec.url_to_fs(url)
    except (ImportError, ValueError) as error:  # not installed; not known
        raise UsageError(f"{url} cannot be reached: {_reason(error)}", "see docs/archive.md") from error
    except Exception as error:
        raise InputFileError(f"{url} cannot be reached: {_reason(error)}") from error
    return files, str(path)


def _reached(url: str, done: str, action: Callable[[], T]) -> T:
    """Run an operation on remote storage, whose errors differ by kind."""
    try:
        return action()
    except FileNotFoundError as error:
        raise InputFileError(f"{url} does not exist", "check the address") from error
    except Exception as error:
        raise InputFileError(f"{url} cannot be {done}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return printable(getattr(error, "strerror", None) or str(error) or type(error).__name__)


# What is read, by the names such files go by. A file that is named itself may be called anything.
SUFFIXES = frozenset((
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aiff", ".aif", ".aifc", ".caf", ".au",
    ".snd", ".w64", ".rf64", ".bwf", ".nist", ".sph", ".voc", ".ircam", ".svx", ".8svx", ".avr", ".wve",
    ".m4a", ".m4b", ".mp4", ".aac", ".wma", ".ape", ".wv", ".mpc", ".tta", ".dsf", ".dff", ".ac3", ".dts",
    ".amr", ".mka", ".mkv", ".mov", ".webm", ".avi", ".wmv", ".ts", ".m2ts", ".flv", ".mpg", ".mpeg", ".rm",
))  # fmt: skip

# Sound that is not read: left out, but not in silence.
UNREAD = frozenset((".ra", ".m4p", ".aax", ".mid", ".midi", ".mod", ".xm", ".it", ".s3m"))

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
    """A path as the user gave it; one like s3://bucket/folder is unchanged."""
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
                search.add(each)
        elif isinstance(path, Path) and not os.path.lexists(path):
            raise InputFileError(f"{path} does not exist", "check the path")
        else:
            search.add(path)
    if not search.items:
        unread = search.unread
        raise InputFileError(
            f"there is no sound file in {', '.join(map(str, paths))}" + (f", but {kinds(unread)}" if unread else ""),
            "searched in: " + " ".join(sorted(SUFFIXES)),
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

    def add(self, path: Path | str) -> None:
        """A file, which may be called anything, or all below a folder."""
        if isinstance(path, str):
            self._take_url(path)
        elif os.path.isdir(path):  # Path.is_dir fails on names that are too long and on folders without permission
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
        if _is_web(url):
            self._add(Item(line_of(url), Path(url), Path(url), url=url))
            return

        for below in listed(url):
            whole = f"{url.rstrip('/')}/{below}" if below else url
            if below and not self._meant(PurePosixPath(below)):
                continue
            seen = below if below and self.alone else whole
            self._add(Item(line_of(seen), Path(whole), Path(seen), url=whole))

    def _meant(self, path: PurePath) -> bool:
        """Whether it is a supported sound file; others are counted."""
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
        data = as_utf8(sys.stdin.buffer.read() if str(path) == "-" else read_regular(path))
    except OSError as error:
        raise InputFileError(f"{path} cannot be read: {error.strerror}", "a list has a path on every line") from error
    except UnicodeDecodeError as error:
        raise InputFileError(f"{path} is not a list of paths, one per line") from error
    lines = [os.fsdecode(line) for line in data.splitlines() if line.strip()]
    if not lines:
        name = "the list on stdin" if str(path) == "-" else str(path)
        raise InputFileError(f"{name} is empty", "a list has a path on every line")
    if any("\0" in line for line in lines):
        raise InputFileError(f"{path} is not a list of paths, one per line")
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
    waiting = [os.fspath(folder)]  # not os.walk, which recurses before Python 3.12
    while waiting:
        here = waiting.pop()
        try:
            status = os.stat(here)
            with os.scandir(here) as entries:
                shown = [(entry.name, _is_folder(entry)) for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            faults.append(error)
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        waiting += [os.path.join(here, name) for name in sorted((n for n, folder in shown if folder), reverse=True)]
        for name, is_folder in shown:
            path = Path(here, name)
            if not is_folder and path.suffix.lower() in SUFFIXES | UNREAD:
                yield path, None
    for fault in faults:
        yield Path(fault.filename), f"cannot be read: {printable(fault.strerror or str(fault))}"


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False
