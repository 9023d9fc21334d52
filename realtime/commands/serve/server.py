"""The web server: its port, its limits, its thread."""

import asyncio
import logging
import os
import secrets
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, ClassVar

from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from instrec_live.models.errors import UsageError
from instrec_live.realtime.commands.serve.app import application
from instrec_live.realtime.commands.serve.broadcast import Broadcast
from instrec_live.realtime.commands.serve.guard import Guard, RareLog, is_loopback, origin_of

if TYPE_CHECKING:
    from instrec_live.realtime.config.settings import Settings

TOKEN = "INSTREC_TOKEN"  # the environment variable of a token that stays the same
_BACKLOG = 64
_SHORTEST_TOKEN = 16
_STOP_SECONDS = 1  # for viewers to get the end
_JOIN_SECONDS = 3.0


class LimitedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with limits on how long and how often a connection may make this process wait."""

    head_seconds: ClassVar[float] = 5.0  # for the head of a request, the first or the next one
    write_seconds: ClassVar[float] = 20.0  # for a viewer to take something of what waits for it
    # Connections without a request; beyond, the oldest is closed. More than the loop accepts before it reads what has
    # come (the backlog, twice): an honest request that has arrived is never the oldest.
    max_waiting: ClassVar[int] = 4 * _BACKLOG

    _waiting_since: float | None = None
    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()
        waiting = [each for each in self.connections if isinstance(each, LimitedProtocol) and each._waiting_since]
        if len(waiting) > self.max_waiting:
            min(waiting, key=lambda each: each._waiting_since or 0.0).abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._head_timer, self._write_timer):
            if timer is not None:
                timer.cancel()

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before and self._head_timer is not None:
            self._head_timer.cancel()
            self._waiting_since = None

    def on_response_complete(self) -> None:
        self._wait_for_head()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.write_seconds, self.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: such a request is answered like any other. uvicorn would advise to install its packages."""

    def abort(self) -> None:
        """Drop the connection, even if data still wait to be written."""
        self._waiting_since = None
        self.transport.abort()

    def _wait_for_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._waiting_since = time.monotonic()
        self._head_timer = self.loop.call_later(self.head_seconds, self.abort)


class _Forward(logging.Handler):
    """uvicorn's complaints in this program's log, each kind at most once a minute."""

    def __init__(self, log: RareLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        trouble = "" if error is None else f" ({type(error).__name__}: {error})"
        self._log.warn(str(record.msg), f"web server: {record.getMessage().strip()}{trouble}")


class WebServer:
    """Serves a broadcast on an open port, in its own thread, until it is stopped.

    Args:
        broadcast: what is shown.
        port: listening socket; closed at the end.
        guard: who is let in.
        max_viewers: how many may be connected at a time.
    """

    def __init__(self, broadcast: Broadcast, port: socket.socket, guard: Guard, max_viewers: int) -> None:
        log = RareLog()
        self._broadcast, self._port = broadcast, port
        library = logging.getLogger("uvicorn.error")
        library.setLevel(logging.WARNING)
        library.propagate = False
        library.handlers = [_Forward(log)]
        self._server = Server(
            Config(
                application(broadcast, guard, max_viewers, log),
                http=LimitedProtocol,
                loop="asyncio",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,  # it would write the token down
                proxy_headers=False,  # anybody can send those
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=_STOP_SECONDS,
            )
        )
        self._thread = threading.Thread(target=self._run, name="web server", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Disconnect the viewers and close the port; returns within a few seconds, whatever the viewers do."""
        self._broadcast.close()
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(_JOIN_SECONDS)
        self._port.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._port])


def open_port(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        UsageError: no such host, or a port that is in use or not allowed.
    """
    try:
        (family, kind, protocol, _, place), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--host {host}: {getattr(error, 'strerror', None) or error}") from error
    listener = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":  # there it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen on port {port} of {host}: {error.strerror}", "choose another --port, or 0 for any"
        ) from error
    return listener


def token_for(settings: "Settings", port: socket.socket) -> str | None:
    """The token that viewers need: none if only this machine can reach the port.

    Raises:
        UsageError: the token of the environment is too short.
    """
    if is_loopback(port.getsockname()[0]) and settings.public_url is None:
        return None
    token = os.environ.get(TOKEN)
    if not token:
        return secrets.token_urlsafe(24)
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
        raise UsageError(f"{TOKEN} must have at least {_SHORTEST_TOKEN} characters, all of them printable ASCII")
    return token


def address(settings: "Settings", port: socket.socket, token: str | None) -> str:
    """What to type into the browser."""
    from urllib.parse import quote

    query = f"?token={quote(token, safe='')}" if token else ""
    if settings.public_url is not None:
        return f"{settings.public_url.rstrip('/')}/{query}"
    host, number = port.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{number}/{query}"


def web_server(settings: "Settings", broadcast: Broadcast) -> tuple[WebServer, str, bool]:
    """The server that the settings ask for, not started yet; its address with its token; and whether others than this
    machine may reach it.

    Raises:
        UsageError: the port cannot be had, or the public address is none.
    """
    if settings.public_url is not None and origin_of(settings.public_url) is None:
        raise UsageError(f"--public-url {settings.public_url}: not an address", "as in https://music.example/")
    port = open_port(settings.host, settings.port)
    try:
        token = token_for(settings, port)
    except UsageError:
        port.close()
        raise
    public = origin_of(settings.public_url) if settings.public_url else None
    server = WebServer(broadcast, port, Guard(token, public), settings.viewers)
    return server, address(settings, port, token), token is not None
