"""Downloads one published file: resumes after an interruption, and verifies it before it gets its name.

During the download it is called `<name>.partial`; `<name>.partial.tag` holds its version on the server (ETag, or the
date of its last change), so that parts of two versions are never joined (RFC 9110, sections 13.1.5 and 14).
"""

import hashlib
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from instrec_live.models.errors import InputFileError, InstrecError, UsageError
from instrec_live.models.fetch.lock import file_lock
from instrec_live.models.files import append_opener


def matches(path: Path, checksum: str) -> bool:
    """Whether a file has a checksum, "md5:…" or "sha256:…"."""
    algorithm, _, expected = checksum.partition(":")
    return _digest(path, algorithm) == expected.lower()


def verify(path: Path, checksum: str, name: str | None = None) -> None:
    """Check a file's checksum; `name` is what messages call the file.

    Raises:
        InputFileError: it has another one.
    """
    if not matches(path, checksum):
        algorithm, _, expected = checksum.partition(":")
        raise InputFileError(
            f"{name or path}: {algorithm} {_digest(path, algorithm)}, but {expected} was published",
            "it is damaged or another file: fetch it again, or from another server",
        )


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def check_space(folder: Path, wanted: float) -> None:
    """Check that a folder's disk has enough free space.

    Raises:
        InstrecError: fewer than `wanted` bytes are free where the folder lies.
    """
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise InstrecError(f"{folder}: {format_size(wanted)} needed, {format_size(free)} free", "free some disk space")


def format_size(size: float) -> str:
    """A number of bytes in words: "2.6 GB"."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB" if size < 1000 else f"{size:.0f} GB"


Progress = Callable[[int, int | None], None]  # bytes so far, and in all where that is known

TIMEOUT = 30.0  # s without a byte
PAUSE = 1.0  # s before the first new attempt; doubled before each further one
_ATTEMPTS = 5  # in a row, none of which transfers a mebibyte
_BLOCK = 1 << 18
_SCHEMES = ("http", "https", "file")
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_UNSATISFIABLE = 416
# Errors of an established connection, as against those of connecting.
_TRANSIENT = (
    TimeoutError, ConnectionResetError, ConnectionAbortedError, BrokenPipeError,
    http.client.BadStatusLine, http.client.IncompleteRead,
)  # fmt: skip


class _DroppedError(Exception):
    """The connection failed; another may succeed. `answered` is false if no connection could be made."""

    def __init__(self, reason: object, answered: bool = True) -> None:
        super().__init__(str(reason))
        self.answered = answered


@dataclass(frozen=True)
class _Order:
    url: str
    partial: Path
    size: int | None
    limit: int | None
    space: float
    progress: Progress

    @property
    def tag(self) -> Path:
        return self.partial.with_name(f"{self.partial.name}.tag")

    def forget(self) -> None:
        for path in (self.partial, self.tag):
            path.unlink(missing_ok=True)

    def have(self) -> int:
        return self.partial.stat().st_size if self.partial.exists() else 0


def download(
    url: str,
    to: Path,
    *,
    checksum: str,
    size: int | None = None,
    limit: int | None = None,
    space: float = 1.0,
    progress: Progress | None = None,
) -> Path:
    """Download a file, unless it exists already.

    Args:
        url: http, https or file.
        to: the file; its folder is made. If another process is downloading it, waits for that.
        checksum: "md5:…" or "sha256:…", in hexadecimal digits.
        size: bytes, if published exactly.
        limit: greatest size in bytes, if the size is not known.
        space: free disk space needed, in sizes of the file; 1 + r if it will be unpacked to r times its size.
        progress: called after every block.

    Returns:
        `to`.

    Raises:
        UsageError: another kind of URL.
        InputFileError: it cannot be reached, fails again and again, or is not the published file.
        InstrecError: too little disk space.
        OSError: the folder, or a file in it, cannot be made.
    """
    if url.partition(":")[0].lower() not in _SCHEMES:
        raise UsageError(f"{url}: only http, https and file addresses can be fetched")
    to.parent.mkdir(parents=True, exist_ok=True)
    order = _Order(url, to.with_name(f"{to.name}.partial"), size, limit, space, progress or (lambda done, total: None))
    with file_lock(to.with_name(f".{to.name}.lock")):
        if to.is_file() and matches(to, checksum):
            return to
        try:
            _fetch_verified(order, checksum)
        except BaseException:
            if not order.have():
                order.forget()
            raise
        os.replace(order.partial, to)
        order.forget()
    return to


def _fetch_verified(order: _Order, checksum: str) -> None:
    resumed = order.have() > 0
    _fetch(order)
    if resumed and not matches(order.partial, checksum):  # the part that was there may have been of another file
        order.forget()
        _fetch(order)
    try:
        verify(order.partial, checksum, order.url)
    except InputFileError:
        order.forget()
        raise


def _fetch(order: _Order) -> None:
    """Connect until the partial file is complete."""
    failures, start = 0, order.have()
    while True:
        before = order.have()
        try:
            _receive(order)
            return
        except _DroppedError as reason:
            have = order.have()
            failures = 1 if have - before >= 1 << 20 else failures + 1
            if failures >= _ATTEMPTS or not (reason.answered or have > start):
                kept = f"; {format_size(have)} are kept; the next run resumes there" if have else ""
                raise InputFileError(f"{order.url}: {reason}{kept}", "is there a network connection?") from reason
        time.sleep(PAUSE * 2 ** (failures - 1))


def _receive(order: _Order) -> None:
    """Append what one connection transfers."""
    response = _open(order)
    if response is None:
        return
    with response:
        have, total = _place(order, response)
        check_space(order.partial.parent, (total or order.size or 0) * order.space - have)
        most = total if total is not None else order.size if order.size is not None else order.limit
        try:
            with open(order.partial, "ab", opener=append_opener) as file:
                while block := _read(response, most, have):
                    file.write(block)
                    have += len(block)
                    order.progress(have, total)
        except OSError as error:
            kept = f"{format_size(order.have())} are kept; the next run resumes there"
            raise InstrecError(f"{order.partial}: {error.strerror}", kept) from error
    if most is not None and have > most:
        order.forget()
        raise InputFileError(
            f"{order.url}: sends more than {format_size(most)}; stopped", "it is not the published file"
        )
    if have < (total or order.size or 0):
        raise _DroppedError("the connection was interrupted")


def _open(order: _Order) -> Any:
    """A response that continues the partial file, or starts again; None if the file is complete."""
    wanted = {"User-Agent": "instrec-live"}
    if have := order.have():
        wanted["Range"] = f"bytes={have}-"
        if order.tag.exists():
            wanted["If-Range"] = order.tag.read_text()
    try:
        response = urllib.request.urlopen(urllib.request.Request(order.url, headers=wanted), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == _UNSATISFIABLE and have:
            if error.headers.get("Content-Range", "").endswith(f"/{have}"):
                return None
            order.forget()
            raise _DroppedError("the file changed during the download") from error
        if error.code in _BUSY:
            raise _DroppedError(f"HTTP {error.code} {error.reason}") from error
        hint = "the file may have moved" if error.code in (404, 410) else None
        raise InputFileError(f"{order.url}: HTTP {error.code} {error.reason}", hint) from error
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: an invalid address
        reason = getattr(error, "reason", error)
        words = getattr(reason, "strerror", None) or reason
        raise _DroppedError(words, answered=isinstance(reason, _TRANSIENT)) from error
    if urlsplit(response.url).scheme not in _SCHEMES:
        raise InputFileError(f"{order.url}: redirects to {response.url}", "only http and https are followed")
    return response


def _place(order: _Order, response: Any) -> tuple[int, int | None]:
    """The offset of the response's first byte, and the size of the whole file if known; prepares the partial file."""
    have, headers = order.have(), response.headers
    tag = headers.get("ETag", "")
    if not tag.startswith('"'):  # a weak ETag (W/"…") does not identify the bytes
        tag = headers.get("Last-Modified", "")
    if goes_on := response.status == 206:
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        known = order.tag.read_text() if order.tag.exists() else ""
        if span is None or int(span[1]) != have or (tag and known and tag != known):
            order.forget()
            raise _DroppedError("the file changed during the download")
        length = span[2]
    else:
        length = headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    if total is not None and (total != order.size if order.size is not None else total > (order.limit or total)):
        published = f"{order.size:,}" if order.size is not None else f"at most {order.limit:,}"
        raise InputFileError(
            f"{order.url}: has {total:,} bytes; published: {published}", "it is not the published file"
        )
    if not goes_on:
        have = 0
        order.forget()
        if tag:
            order.tag.write_text(tag)
    return have, total


def _read(response: Any, most: int | None, have: int) -> bytes:
    """The next block, at most one byte beyond the expected size."""
    try:
        wanted = _BLOCK if most is None else min(_BLOCK, most + 1 - have)
        block: bytes = response.read(wanted) if wanted > 0 else b""
        return block
    except (OSError, http.client.HTTPException) as error:
        raise _DroppedError("the connection was interrupted") from error


if TYPE_CHECKING:
    from instrec_live.models.fetch.download import Progress


@contextmanager
def progress_bar(what: str) -> Iterator["Progress"]:
    """A progress bar on stderr, if that is a terminal, for the duration of the context. Needs tqdm ([train] extra)."""
    from tqdm import tqdm

    with tqdm(desc=what, unit="B", unit_scale=True, disable=None) as shown:

        def report(done: int, total: int | None) -> None:
            if shown.n == 0:  # bytes of an earlier run must not count in the rate
                shown.initial = shown.n = shown.last_print_n = done
            shown.total = total
            shown.update(done - shown.n)

        yield report
