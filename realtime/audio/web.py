"""HTTP: what is at an address, downloaded or read as it arrives. Loaded only when there is an address."""

import contextlib
import http.client
import re
import string
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from instrec_live.realtime.audio.byte_input import ByteInput, DecodeError
from instrec_live.realtime.errors import InputFileError, UsageError, printable

STALL_S = 10.0  # s without a byte, after which a connection counts as lost
_TRIES = 3  # to resume a file after a lost connection
_PLAYLISTS = 3  # that may lead from one to the next
_LARGEST_PLAYLIST = 1 << 20
_PIECE = 1 << 16
_HLS = ("application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl")


def check_url(address: str) -> None:
    """Make sure that an address is valid, of a scheme that is read, and without a password, which would be logged.

    Raises:
        UsageError: it is not.
    """
    scheme, separator, _ = address.partition("://")
    web = scheme.lower() in ("http", "https")
    try:
        parts = urlsplit(address)
        there = web and parts.hostname and parts.port != 0  # `port` raises for what is no number
    except ValueError as error:
        if web:
            raise UsageError(f"{printable(address)} is not a valid address: {error}") from error
        there = False
    if web and not parts.hostname:
        raise UsageError(f"{printable(address)} names no host", "as in http://example.org/concert.ogg")
    if not there:
        kind = f"{scheme}://" if separator else "it"
        raise UsageError(f"{printable(address)}: {kind} is not a supported kind of address", "http:// and https:// are")
    if parts.username is not None:
        raise UsageError(
            f"an address with a user's name in it is not supported: that of {parts.hostname}",
            "fetch it with another program, and pipe it in with --stdin",
        )


class _Response(http.client.HTTPResponse):
    """Also understands old radio servers, which answer "ICY 200 OK"."""

    def _read_status(self) -> tuple[str, int, str]:
        if self.fp.peek(3)[:3] == b"ICY":
            words = self.fp.readline(1_000).decode("latin-1").split(None, 2)
            code = words[1] if len(words) > 1 else ""
            return "HTTP/1.0", int(code) if code.isdecimal() else 200, words[2].strip() if len(words) > 2 else ""
        return super()._read_status()  # type: ignore[misc,no-any-return]


class _Http(http.client.HTTPConnection):
    response_class = _Response


class _Https(http.client.HTTPSConnection):
    response_class = _Response


class _HttpHandler(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_Http, request)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_Https, request)


class _OnlyWeb(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        check_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _request(address: str, first: int = 0) -> Any:
    """The response to a GET, from byte `first` on.

    Raises:
        InputFileError: it cannot be reached, or the server refuses.
    """
    headers = {"User-Agent": "instrec-live", "Icy-MetaData": "1", "Accept": "*/*", "Accept-Encoding": "identity"}
    if first:
        headers["Range"] = f"bytes={first}-"
    opener = urllib.request.build_opener(_HttpHandler, _HttpsHandler, _OnlyWeb)
    name = printable(address)
    try:
        return opener.open(urllib.request.Request(_escaped(address), headers=headers), timeout=STALL_S)
    except urllib.error.HTTPError as error:
        raise InputFileError(f"{name}: the server answers {error.code} {printable(str(error.reason))}") from error
    except urllib.error.URLError as error:
        raise InputFileError(f"{name} cannot be reached: {_why(error.reason)}", "check the address") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise InputFileError(f"{name} cannot be reached: {_why(error)}", "check the address") from error


def _escaped(address: str) -> str:
    """An address as it is sent: spaces and letters that are not ASCII are escaped, as browsers do."""
    parts = urlsplit(address)
    path, query = (quote(part, safe=string.punctuation) for part in (parts.path, parts.query))
    return urlunsplit(parts._replace(path=path, query=query))


def _why(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing was received for {STALL_S:g} s"
    if isinstance(error, http.client.HTTPException) and not isinstance(error, http.client.InvalidURL):
        return f"the server does not speak HTTP ({type(error).__name__})"
    return printable(getattr(error, "strerror", None) or str(error) or type(error).__name__)


@dataclass(frozen=True)
class Answer:
    """What is at an address.

    Attributes:
        address: where it is, after redirections and playlists.
        kind: "file", "radio", "pipe" (sound of unknown length), "hls" or "live hls".
        response: to read from; None of HLS.
        length: bytes that the server claims.
    """

    address: str
    kind: str
    response: Any
    length: int | None = None


def ask(address: str) -> Answer:
    """Find out what is at an address, and follow playlists.

    Raises:
        InputFileError: it cannot be reached, or there is no end of playlists.
        UsageError: a scheme that is not read.
    """
    for _ in range(_PLAYLISTS):
        check_url(address)
        response = _request(address)
        address = response.geturl()
        headers = response.headers
        kind = headers.get_content_type().lower()
        path = urlsplit(address).path.lower()
        if kind in (*_HLS, "audio/x-scpls") or path.endswith((".m3u8", ".m3u", ".pls")):
            with contextlib.closing(response):
                text = _text(response, address)
            if "#EXT-X-" in text:
                ends = "#EXT-X-ENDLIST" in text or "#EXT-X-STREAM-INF" in text
                return Answer(address, "hls" if ends else "live hls", None)
            address = urljoin(address, _first_entry(text, address))
            continue
        if any(name.lower().startswith("icy-") for name in headers):
            return Answer(address, "radio", response)
        length = headers.get("Content-Length", "")
        if length.isdecimal():
            return Answer(address, "file", response, int(length))
        return Answer(address, "pipe", response)
    raise InputFileError(f"{printable(address)}: its playlists lead only to other playlists")


def _text(response: Any, address: str) -> str:
    try:
        return bytes(response.read(_LARGEST_PLAYLIST)).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise InputFileError(f"{printable(address)} cannot be read: {_why(error)}") from error


def _first_entry(text: str, address: str) -> str:
    """The first address in a playlist (M3U or PLS)."""
    for line in text.splitlines():
        entry = line.strip()
        if re.match(r"(?i)file\d+\s*=", entry):
            return entry.partition("=")[2].strip()
        if entry and not entry.startswith(("#", "[")) and "=" not in entry.partition("/")[0]:
            return entry
    raise InputFileError(f"{printable(address)} is a playlist without an address in it")


class Fetched:
    """A file at an address, copied into a temporary one, which is gone when this is closed.

    Attributes:
        path: of the copy.
        missing: the message if the server sent less than it announced, or None.

    Raises:
        InputFileError: it cannot be reached or fetched, or there is no room for it.
    """

    def __init__(self, answer: Answer) -> None:
        self.missing: str | None = None
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="instrec-live-", ignore_cleanup_errors=True)
            self.path = Path(self._folder.name, "sound")
            with open(self.path, "wb") as file:
                self._fetch(answer, file)
        except OSError as error:
            raise InputFileError(f"{printable(answer.address)} cannot be fetched: {_why(error)}") from error

    def _fetch(self, answer: Answer, file: Any) -> None:
        response, done, tries = answer.response, 0, 0
        while True:
            error: object = None
            try:
                while data := response.read1(_PIECE):
                    file.write(data)
                    done += len(data)
                    tries = 0
            except http.client.IncompleteRead as fault:
                file.write(fault.partial)
                done, error = done + len(fault.partial), "the connection ended"
            except (TimeoutError, ConnectionError) as fault:
                error = fault
            response.close()
            if answer.length is None or done >= answer.length:
                return
            tries += 1
            again = self._again(answer.address, done) if tries <= _TRIES else None
            if again is None:
                reason = f" ({_why(error)})" if isinstance(error, BaseException) else ""
                self.missing = f"the server sent {done:,} of {answer.length:,} bytes{reason}"
                return
            response = again

    def _again(self, address: str, first: int) -> Any:
        """The rest of it, if the server gives parts."""
        try:
            response = _request(address, first)
        except InputFileError:
            return None
        if response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {first}-"):
            return response
        response.close()
        return None

    def close(self) -> None:
        self._folder.cleanup()


class HttpInput(ByteInput):
    """The body of a response as it comes, without the titles that a radio puts between.

    Args:
        response: of a radio, or of a sound of unknown length.
        title: called with each new title.

    Attributes:
        received: when the last bytes came, s of the monotonic clock.
    """

    def __init__(self, response: Any, title: Callable[[str], None]) -> None:
        super().__init__()
        self._response, self._title = response, title
        every = response.headers.get("icy-metaint", "")
        self._every = int(every) if every.isdecimal() else 0
        self._left = self._every  # bytes until the next title
        self._last = ""
        self._closed = False
        self.received = time.monotonic()

    def _fetch(self, most: int) -> bytes:
        if self._closed:
            return b""
        if self._every and not self._left:
            self._take_title()
            self._left = self._every
        data = self._take(min(most, self._left) if self._every else most)
        if self._every:
            self._left -= len(data)
        return data

    def _take(self, most: int) -> bytes:
        try:
            data = bytes(self._response.read1(most))
            self.received = time.monotonic() if data else self.received
            return data
        except http.client.IncompleteRead as error:
            return bytes(error.partial)
        except (OSError, ValueError, AttributeError, http.client.HTTPException) as error:
            if self._closed:
                return b""
            raise DecodeError(_why(error)) from error

    def _take_title(self) -> None:
        size = 16 * int.from_bytes(self._exactly(1), "big")
        text = self._exactly(size).rstrip(b"\0")
        match = re.search(rb"StreamTitle='(.*?)';", text, re.DOTALL)
        if match is None:
            return
        try:
            title = match[1].decode("utf-8")
        except UnicodeDecodeError:
            title = match[1].decode("latin-1")
        title = printable(title.strip())
        if title and title != self._last:
            self._last = title
            self._title(title)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count and (more := self._take(count - len(data))):
            data += more
        return data

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._response.close()
