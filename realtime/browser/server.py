"""The web server: the page, its files, and a websocket for each viewer."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Any

from aiohttp import WSMsgType, web
from textual_serve.app_service import AppService
from textual_serve.server import Server as TextualServer

from instrec_live.realtime.browser.guard import Guard
from instrec_live.realtime.browser.viewer import Viewer
from instrec_live.realtime.errors import printable

log = logging.getLogger(__name__)

_LONGEST = 65_536  # bytes of one message; keys and pasted text are less
_REASON = 120  # bytes that a websocket can say at its end
_HEADERS = {
    # Only this server's own files: no other site's, and nobody may show this page inside theirs.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_KINDS = {"index.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
_SECRET = {"/", "/ws"}
NOT_A_KEY = (ValueError, TypeError, LookupError, AttributeError)  # what `hand_on` makes of other messages

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server(TextualServer):
    """Shows `command`'s screen to at most `most` viewers at a time, each with a process of their own."""

    def __init__(self, command: Sequence[str], guard: Guard, most: int) -> None:
        super().__init__("instrec-live")
        self._words, self._guard, self._most = tuple(command), guard, most
        self._viewers: set[web.WebSocketResponse] = set()
        logging.getLogger("textual-serve").setLevel(logging.CRITICAL)  # the children say what goes wrong

    def application(self) -> web.Application:
        """What answers the requests."""

        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            token = request.query.get("token", "")
            why = self._guard.refusal(request.headers, token, request.path in _SECRET)
            if why is not None:
                log.warning("refused %s a request for %s: %s", request.remote, request.path, printable(why))
                return web.Response(status=403, text=f"403: {why}\n", headers=_HEADERS)
            return await handler(request)

        app = web.Application(middlewares=[guarded])
        app.add_routes(
            [
                web.get("/", self.handle_page),
                web.get("/page.css", _file),
                web.get("/page.js", _file),
                web.get("/ws", self.handle_websocket),
                web.get("/download/{key}", self.handle_download),  # the key is a secret of its own
                web.static("/static", self.statics_path),
            ]
        )
        app.on_shutdown.append(self._send_all_home)
        return app

    async def handle_page(self, request: web.Request) -> web.Response:
        """The page, or a word if there is no place."""
        return self._full() or _own_file("index.html")

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """A viewer, from the first picture to the last.

        Raises:
            HTTPServiceUnavailable: there are viewers enough.
        """
        if self._full():
            raise web.HTTPServiceUnavailable(text="503: there is no place left\n")
        websocket = web.WebSocketResponse(heartbeat=15, max_msg_size=_LONGEST)
        self._viewers.add(websocket)
        try:
            await self._show(request, websocket)
        finally:
            self._viewers.discard(websocket)
        return websocket

    async def _show(self, request: web.Request, websocket: web.WebSocketResponse) -> None:
        width, height = (_whole(request.query.get(name, ""), other) for name, other in (("width", 80), ("height", 24)))
        await websocket.prepare(request)
        viewer = Viewer(self._words, self._guard.token is not None, websocket, self.download_manager)
        keys: asyncio.Task[None] | None = None
        log.info("a viewer came, from %s; now %d", request.remote, len(self._viewers))
        try:
            await viewer.start(width, height)
            keys = asyncio.create_task(self._process_messages(websocket, viewer))
            end = asyncio.create_task(viewer.wait())
            await asyncio.wait([keys, end], return_when=asyncio.FIRST_COMPLETED)
        finally:
            if keys is not None:
                keys.cancel()
            await viewer.stop()
            log.info("a viewer left; now %d", len(self._viewers) - 1)
        # What went wrong may name files of this machine: a stranger need not know.
        tell = viewer.failed and self._guard.token is None
        await websocket.close(message=_cut(viewer.last_words) if tell else b"")

    async def _process_messages(self, websocket: web.WebSocketResponse, app_service: AppService) -> None:
        """Hand on keys and sizes; what is neither ends the session."""
        async for message in websocket:
            if message.type != WSMsgType.TEXT:
                continue
            try:
                await hand_on(message.json(), websocket, app_service)
            except NOT_A_KEY as error:
                log.warning("a viewer sent what is no key: %s", printable(str(error))[:80])
                return

    def _full(self) -> web.Response | None:
        if len(self._viewers) < self._most:
            return None
        text = f"503: {self._most} are watching already, and each costs this machine a run; please come back later\n"
        return web.Response(status=503, text=text, headers=_HEADERS | {"Retry-After": "60"})

    async def _send_all_home(self, app: web.Application) -> None:
        await asyncio.gather(*(websocket.close(message=b"The program was ended.") for websocket in self._viewers))


async def hand_on(envelope: Any, websocket: web.WebSocketResponse, app_service: AppService) -> None:
    """Give a browser's message to the child: keys, a size, or whether it is looked at.

    Raises:
        ValueError, TypeError, LookupError, AttributeError: it is none of these.
    """
    kind, *rest = envelope
    if kind == "stdin":
        await app_service.send_bytes(rest[0].encode())
    elif kind == "resize":
        await app_service.set_terminal_size(rest[0]["width"], rest[0]["height"])
    elif kind == "ping":
        await websocket.send_json(["pong", str(rest[0])])
    elif kind == "blur":
        await app_service.blur()
    elif kind == "focus":
        await app_service.focus()


async def _file(request: web.Request) -> web.Response:
    return _own_file(request.path.removeprefix("/"))


def _own_file(name: str) -> web.Response:
    content = (files("instrec_live.realtime") / "browser" / name).read_bytes()
    return web.Response(body=content, content_type=_KINDS[name], charset="utf-8", headers=_HEADERS)


def _whole(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else otherwise


def _cut(text: str) -> bytes:
    """As much of it as a websocket can say at its end."""
    return text.encode()[:_REASON].decode(errors="ignore").encode()
