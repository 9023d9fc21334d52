"""A real HTTP server of a folder's files, on this machine alone, that misbehaves on request."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote, urlsplit


class FileServer:
    """Serves `root` while its context lasts; what misbehaves may be changed at any time.

    Attributes:
        url: without a slash at its end.
        requests: (path, headers) of every request.
        ranges: answer Range at all.
        etag: of every file; None for one made of its size and date.
        heed_if_range: answer 200 where If-Range names another version; else 206 whatever it says.
        drop_after: close the connection after so many bytes of the body, once.
        cut_at: announce the whole file, but never send what comes after this byte.
        announce: say Content-Length.
        extra: bytes sent after the file's own; only a client that was announced nothing sees them.
        busy: so many requests are answered 503.
        pause: s between blocks of 64 KiB.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.ranges = self.heed_if_range = self.announce = True
        self.etag: str | None = None
        self.drop_after: int | None = None
        self.cut_at: int | None = None
        self.extra = b""
        self.busy = 0
        self.pause = 0.0
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"files": self}))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> "FileServer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    files: FileServer

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        server = self.files
        server.requests.append((self.path, dict(self.headers)))
        if server.busy:
            server.busy -= 1
            self.send_error(503)
            return
        path = server.root / unquote(urlsplit(self.path).path).lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        etag = server.etag or f'"{len(content)}-{path.stat().st_mtime_ns}"'
        start = self._start(etag)
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if start is not None else 200)
        self.send_header("ETag", etag)
        if start is not None:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        start = start or 0
        if server.announce:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if body:
            self._send(content[start : server.cut_at] + server.extra)
        self.close_connection = True

    def _start(self, etag: str) -> int | None:
        """The first byte wanted, or None for all."""
        wanted = self.headers.get("Range", "")
        other = self.headers.get("If-Range", etag) != etag
        if not self.files.ranges or not wanted.startswith("bytes=") or (other and self.files.heed_if_range):
            return None
        return int(wanted.removeprefix("bytes=").partition("-")[0])

    def _send(self, content: bytes) -> None:
        server = self.files
        if server.drop_after is not None:
            content, server.drop_after = content[: server.drop_after], None
        try:
            for at in range(0, len(content), 1 << 16):
                self.wfile.write(content[at : at + (1 << 16)])
                time.sleep(server.pause)
        except (BrokenPipeError, ConnectionResetError):  # the client has had enough
            pass
