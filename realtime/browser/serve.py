"""--serve: opens the port, says the address, and serves until told to stop."""

import asyncio
import os
import secrets
import signal
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.realtime.browser.guard import Guard, is_loopback, origin_of
from instrec_live.realtime.narration import narrate
from instrec_live.realtime.settings import Settings

if TYPE_CHECKING:
    from aiohttp import web


def serve(settings: Settings, words: Sequence[str]) -> int:
    """Serve the screen that the command line `words` asks for; returns 128 plus the signal that ended it.

    The address goes to stdout, everything else to stderr.

    Raises:
        UsageError: an option that makes no sense here, a host or port that cannot be had, or packages that are not
            installed.
        InputFileError: there is no such sound file.
    """
    try:
        from instrec_live.realtime.browser.server import Server
    except ImportError as error:
        raise UsageError(
            f"--serve needs packages that are not installed ({error.name})", "pip install 'instrec-live[serve]'"
        ) from error

    check(settings)
    narrate(settings, screen=False)
    with listening(settings.host, settings.port) as port:
        own = is_loopback(port.getsockname()[0]) and settings.public_url is None
        token = None if own else secrets.token_urlsafe(24)
        public = origin_of(settings.public_url) if settings.public_url else None
        # -P: a module that happens to lie in this folder is not ours.
        command = [sys.executable, "-P", "-m", "instrec_live.realtime", *words]
        app = Server(command, Guard(token, public), settings.viewers).application()
        if not own:
            print(
                "instrec-live: warning: others can reach this server. Whoever has the address below, token and all, "
                "sees the screen and presses its keys" + ("; it goes over the network unencrypted" * (public is None)),
                file=sys.stderr,
            )
        print(address(settings, port, token), flush=True)
        return asyncio.run(_until_told(app, port))


def check(settings: Settings) -> None:
    """Refuse what each viewer's own run cannot do or would do over and over.

    Raises:
        UsageError, InputFileError: as said.
    """
    if settings.stdin:
        raise UsageError("--serve listens once for every viewer, and stdin can be heard only once", "use --file FILE")
    every = "every viewer's run would"
    refused: list[tuple[str, object, str]] = [
        ("output", settings.outputs, f"{every} write the same file"),
        ("record", settings.record, f"{every} write the same file"),
        ("play", settings.play, f"{every} play it here"),
        ("osc", settings.osc, f"{every} send the same"),
        ("midi", settings.midi, f"{every} play the same"),
        ("json", settings.json, "there would be no screen to show"),
        ("no-ui", settings.no_ui, "there would be no screen to show"),
    ]
    for name, given, why in refused:
        if given:
            raise UsageError(f"--{name} does not go with --serve: {why}")
    if settings.public_url is not None and origin_of(settings.public_url) is None:
        raise UsageError(f"--public-url {settings.public_url}: not an address", "as in https://music.example/")
    if settings.file is not None and not os.path.exists(settings.file):  # also of a name that no file can have
        raise InputFileError(f"{settings.file} does not exist")


def listening(host: str, port: int) -> socket.socket:
    """The open port.

    Raises:
        UsageError: no such host, or a port that is in use or not for us.
    """
    try:
        (family, kind, protocol, _, place), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--host {host}: {getattr(error, 'strerror', None) or error}") from error
    door = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":  # there it would let two servers share a port
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(place)
        door.listen(64)
    except OSError as error:
        door.close()
        raise UsageError(
            f"port {port} of {host} cannot be had: {error.strerror}", "--port N takes another one, --port 0 any"
        ) from error
    return door


def address(settings: Settings, port: socket.socket, token: str | None) -> str:
    """What to type into the browser."""
    query = f"?token={token}" if token else ""
    if settings.public_url is not None:
        return f"{settings.public_url.rstrip('/')}/{query}"
    host, number = port.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{number}/{query}"


async def _until_told(app: "web.Application", port: socket.socket) -> int:
    from aiohttp import web

    told: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def stop(number: int) -> None:
        if not told.done():
            told.set_result(128 + number)

    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
    runner = web.AppRunner(app, access_log=None)  # it would write the token down
    await runner.setup()
    try:
        await web.SockSite(runner, port).start()
        return await told
    finally:
        await runner.cleanup()
