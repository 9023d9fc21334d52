"""The web application: two pages, their files, and the run as server-sent events or as JSON lines."""

import asyncio
import contextlib
from collections.abc import Mapping
from importlib.resources import files

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from instrec_live.realtime.commands.serve.broadcast import Broadcast, Viewer
from instrec_live.realtime.commands.serve.guard import Guard, RareLog

IDLE_SECONDS = 15.0  # after which a viewer gets a sign that the connection is alive

_PAGES = {
    "/": ("index.html", "text/html"),
    "/overlay": ("overlay.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/overlay.css": ("overlay.css", "text/css"),
    "/overlay.js": ("overlay.js", "text/javascript"),
    "/live.js": ("live.js", "text/javascript"),
}
_SECRET = frozenset({"/", "/overlay", "/events", "/events.jsonl"})
_HEADERS = {
    # Only this server's own files, and no other page may show these inside itself.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_SSE, _JSON_LINES = "text/event-stream", "application/x-ndjson"


def application(broadcast: Broadcast, guard: Guard, max_viewers: int, log: RareLog) -> ASGIApp:
    """What answers the requests; everything is read-only."""
    room = Room(broadcast, max_viewers)
    contents = {path: _content(*file) for path, file in _PAGES.items()}

    async def page(request: Request) -> Response:
        body, kind = contents[request.url.path]
        return Response(body, media_type=kind)

    async def events(request: Request) -> Response:
        source = request.query_params.get("source")
        if source is not None and not broadcast.knows(source):
            return PlainTextResponse("404: there is no source of that name\n", 404)
        if request.method == "HEAD":
            return Response(media_type=media_type(request.url.path, request.headers))
        if room.full:
            log.warn("full", f"refused another viewer from {_peer(request.scope)}: {max_viewers} are connected")
            text = f"503: {max_viewers} viewers are connected, which is the limit (--viewers)\n"
            return PlainTextResponse(text, 503, {"Retry-After": "10"})
        last_id = request.headers.get("last-event-id", "")
        viewer = Viewer(broadcast, source, last_id)
        return Events(room, viewer, media_type(request.url.path, request.headers))

    async def not_found(request: Request, error: Exception) -> Response:
        return PlainTextResponse("404: there is no such page here\n", 404)

    async def not_allowed(request: Request, error: Exception) -> Response:
        return PlainTextResponse("405: everything here is read-only\n", 405, {"Allow": "GET, HEAD"})

    routes = [Route(path, page) for path in _PAGES]
    routes += [Route(path, events) for path in ("/events", "/events.jsonl")]
    app = Starlette(routes=routes, exception_handlers={404: not_found, 405: not_allowed})
    app.router.redirect_slashes = False
    return Gate(app, guard, log)


class Gate:
    """Refuses what the guard does not let in, and adds the security headers to every answer."""

    def __init__(self, app: ASGIApp, guard: Guard, log: RareLog) -> None:
        self._app, self._guard, self._log = app, guard, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if message["status"] >= 400:  # a refused client keeps no connection
                    headers["Connection"] = "close"
            await send(message)

        headers = Headers(scope=scope)
        why = self._guard.refusal(headers, token_of(scope, headers), scope["path"] in _SECRET)
        if why is not None:
            self._log.warn("refused", f"refused {_peer(scope)} a request for {scope['path'][:200]}: {why}")
            await PlainTextResponse(f"403: {why}\n", 403)(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)


class Room:
    """The viewers who are connected now. It belongs to the server's event loop."""

    def __init__(self, broadcast: Broadcast, most: int) -> None:
        self.broadcast, self._most = broadcast, most
        self._waiting: set[asyncio.Event] = set()
        self._woken = False

    @property
    def full(self) -> bool:
        return len(self._waiting) >= self._most

    def enter(self, event: asyncio.Event) -> None:
        """From now on `event` is set whenever there is something new."""
        if not self._waiting:
            loop = asyncio.get_running_loop()
            self.broadcast.on_news(lambda: self._wake_from(loop))
        self._waiting.add(event)

    def leave(self, event: asyncio.Event) -> None:
        self._waiting.discard(event)
        if not self._waiting:
            self.broadcast.on_news(None)

    def _wake_from(self, loop: asyncio.AbstractEventLoop) -> None:
        """In the writer's thread: once for all records before the loop runs."""
        if not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._woken = False
        for event in self._waiting:
            event.set()


class Events(Response):
    """The answer that does not end: what a viewer has not had yet, as it comes.

    A viewer who is slow is never waited for by anybody else, and never holds more than one chunk: what comes meanwhile
    is read, or left out, when it can take more (see `Broadcast.after`).
    """

    def __init__(self, room: Room, viewer: Viewer, kind: str) -> None:
        super().__init__(media_type=kind)
        self._room, self._viewer, self._kind = room, viewer, kind
        del self.headers["content-length"]
        self.headers["X-Accel-Buffering"] = "no"  # nginx would collect it first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        news = asyncio.Event()
        gone = asyncio.create_task(_disconnected(receive))
        gone.add_done_callback(lambda _: news.set())
        self._room.enter(news)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if self._kind == _SSE:
                await send(_body(b"retry: 1000\n\n"))
            while not gone.done():
                news.clear()
                ends = self._room.broadcast.closed or (self._kind != _SSE and self._viewer.finished)
                if lines := self._viewer.read():
                    await send(_body(self._framed(lines)))
                if ends:
                    break
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_SECONDS):
                        await news.wait()
                if not news.is_set():
                    await send(_body(b": idle\n\n" if self._kind == _SSE else b'{"type":"idle"}\n'))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._room.leave(news)
            gone.cancel()

    def _framed(self, lines: list[bytes]) -> bytes:
        if self._kind != _SSE:
            return b"".join(line + b"\n" for line in lines)
        last = b"id: " + self._viewer.id.encode() + b"\n"
        return b"".join(b"data: " + line + b"\n\n" for line in lines[:-1]) + last + b"data: " + lines[-1] + b"\n\n"


def media_type(path: str, headers: Mapping[str, str]) -> str:
    """What a request for events is answered with: JSON lines by the address, or if `Accept` prefers them."""
    if path == "/events.jsonl":
        return _JSON_LINES
    kinds = [kind.partition(";")[0].strip().lower() for kind in headers.get("accept", "").split(",")]
    wanted = next((kind for kind in kinds if kind in (_SSE, _JSON_LINES, "application/jsonl")), _SSE)
    return _SSE if wanted == _SSE else _JSON_LINES


def token_of(scope: Scope, headers: Headers) -> str:
    """The token that a request holds, in its address or as `Authorization: Bearer …`; "" for none."""
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return bearer.strip()
    return QueryParams(scope["query_string"]).get("token", "")


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _body(content: bytes) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": True}


def _content(name: str, kind: str) -> tuple[bytes, str]:
    return (files("instrec_live.realtime.commands.serve") / "pages" / name).read_bytes(), kind


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "somebody"
