"""One published file, fetched: resumed where it broke off, and verified before it gets its name.

While it comes it is called `<name>.partial`; `<name>.partial.tag` holds the version the server gave it (ETag, or the
date of its last change), so that the rest of another version is never put behind the beginning of this one (RFC 9110,
sections 13.1.5 and 14).
"""

import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from instrec_live.models.errors import InputFileError, InstrecError, UsageError
from instrec_live.models.fetch.checksum import matches, verify
from instrec_live.models.fetch.disk import check_space, in_words
from instrec_live.models.fetch.lock import alone

Progress = Callable[[int, int | None], None]  # bytes so far, and in all where that is known

TIMEOUT = 30.0  # s without a byte
PAUSE = 1.0  # s before the first new attempt; doubled before each further one
_ATTEMPTS = 5  # in a row, none of which brings a mebibyte
_BLOCK = 1 << 18
_SCHEMES = ("http", "https", "file")
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_UNSATISFIABLE = 416
# What befalls a connection, rather than keeps one from being made.
_PASSING = (
    TimeoutError, ConnectionResetError, ConnectionAbortedError, BrokenPipeError,
    http.client.BadStatusLine, http.client.IncompleteRead,
)  # fmt: skip


class _DroppedError(Exception):
    """The connection did not hold; another may. `answered` is false where none was ever made."""

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
    """Fetch a file, unless it is there already.

    Args:
        url: http, https or file.
        to: the file; its folder is made. Another process that fetches it is waited for.
        checksum: "md5:…" or "sha256:…", in hexadecimal digits.
        size: bytes, if published exactly.
        limit: bytes never exceeded, where the size is not known.
        space: free disk wanted, in sizes of the file; 1 + r if it will be unpacked to r times its size.
        progress: told of every block.

    Returns:
        `to`.

    Raises:
        UsageError: a URL of another kind.
        InputFileError: it cannot be reached, breaks off again and again, or is not the file it should be.
        InstrecError: the disk has not the space.
        OSError: the folder, or a file in it, cannot be made.
    """
    if url.partition(":")[0].lower() not in _SCHEMES:
        raise UsageError(f"{url}: only http, https and file addresses can be fetched")
    to.parent.mkdir(parents=True, exist_ok=True)
    order = _Order(url, to.with_name(f"{to.name}.partial"), size, limit, space, progress or (lambda done, total: None))
    with alone(to.with_name(f".{to.name}.lock")):
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
    if resumed and not matches(order.partial, checksum):  # the old beginning may have been another file's
        order.forget()
        _fetch(order)
    try:
        verify(order.partial, checksum, order.url)
    except InputFileError:
        order.forget()
        raise


def _fetch(order: _Order) -> None:
    """Connect until the partial file is whole."""
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
                kept = f"; {in_words(have)} are kept, and the next run goes on from there" if have else ""
                raise InputFileError(f"{order.url}: {reason}{kept}", "is there a network?") from reason
        time.sleep(PAUSE * 2 ** (failures - 1))


def _receive(order: _Order) -> None:
    """Append what one connection brings."""
    response = _open(order)
    if response is None:
        return
    with response:
        have, total = _place(order, response)
        check_space(order.partial.parent, (total or order.size or 0) * order.space - have)
        most = total if total is not None else order.size if order.size is not None else order.limit
        try:
            with order.partial.open("ab") as file:
                while block := _read(response, most, have):
                    file.write(block)
                    have += len(block)
                    order.progress(have, total)
        except OSError as error:
            kept = f"{in_words(order.have())} are kept, and the next run goes on from there"
            raise InstrecError(f"{order.partial}: {error.strerror}", kept) from error
    if most is not None and have > most:
        order.forget()
        raise InputFileError(f"{order.url}: sends more than {in_words(most)}; cut off", "it is not the published file")
    if have < (total or order.size or 0):
        raise _DroppedError("the connection broke off")


def _open(order: _Order) -> Any:
    """A response that goes on where the partial file ends, or begins anew; None if nothing is left to fetch."""
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
            raise _DroppedError("the file changes while it is fetched") from error
        if error.code in _BUSY:
            raise _DroppedError(f"HTTP {error.code} {error.reason}") from error
        hint = "the file may have moved" if error.code in (404, 410) else None
        raise InputFileError(f"{order.url}: HTTP {error.code} {error.reason}", hint) from error
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: an address that is none
        reason = getattr(error, "reason", error)
        words = getattr(reason, "strerror", None) or reason
        raise _DroppedError(words, answered=isinstance(reason, _PASSING)) from error
    if urlsplit(response.url).scheme not in _SCHEMES:
        raise InputFileError(f"{order.url}: leads to {response.url}", "only http and https are followed")
    return response


def _place(order: _Order, response: Any) -> tuple[int, int | None]:
    """Where the response's first byte belongs, and how long the whole file is; the partial file is made to fit."""
    have, headers = order.have(), response.headers
    tag = headers.get("ETag", "")
    tag = tag if tag.startswith('"') else headers.get("Last-Modified", "")  # a weak ETag (W/"…") says too little
    if goes_on := response.status == 206:
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        known = order.tag.read_text() if order.tag.exists() else ""
        if span is None or int(span[1]) != have or (tag and known and tag != known):
            order.forget()
            raise _DroppedError("the file changes while it is fetched")
        length = span[2]
    else:
        length = headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    if total is not None and (total != order.size if order.size is not None else total > (order.limit or total)):
        published = f"{order.size:,}" if order.size is not None else f"at most {order.limit:,}"
        raise InputFileError(
            f"{order.url}: announces {total:,} bytes, published are {published}", "it is not the published file"
        )
    if not goes_on:
        have = 0
        order.forget()
        if tag:
            order.tag.write_text(tag)
    return have, total


def _read(response: Any, most: int | None, have: int) -> bytes:
    """The next block, of at most one byte more than there should be."""
    try:
        wanted = _BLOCK if most is None else min(_BLOCK, most + 1 - have)
        block: bytes = response.read(wanted) if wanted > 0 else b""
        return block
    except (OSError, http.client.HTTPException) as error:
        raise _DroppedError("the connection broke off") from error
