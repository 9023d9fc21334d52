"""One tab of a browser: this program as a child, its screen sent there, the keys sent here."""

import asyncio
import contextlib
import logging
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence

from aiohttp import web
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

from instrec_live.realtime.browser.environment import needed
from instrec_live.realtime.terminal import OWN, PUBLIC, SERVED

log = logging.getLogger(__name__)

_PATIENCE = 3.0  # s for the child to end when asked to, and again when told to
_WIDEST, _HIGHEST = 500, 300  # cells; what a browser asks for beyond is no screen


class Viewer(AppService):
    """The child of one websocket.

    Args:
        command: the child's words, as they are: no shell reads them.
        visitor: whether the keys may be a stranger's.
    """

    def __init__(
        self, command: Sequence[str], visitor: bool, websocket: web.WebSocketResponse, downloads: DownloadManager
    ) -> None:
        super().__init__(
            "",
            write_bytes=websocket.send_bytes,
            write_str=websocket.send_str,
            close=_nothing,  # the server closes the websocket once the child has ended, and says why
            download_manager=downloads,
        )
        self._words, self._visitor = command, visitor
        self._narration: asyncio.Task[None] | None = None
        self._end: asyncio.Task[None] | None = None
        self.last_words = ""

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        process = await asyncio.create_subprocess_exec(
            *self._words, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=self._build_environment(width, height)
        )
        assert process.stdin is not None
        assert process.stderr is not None
        self._process, self._stdin = process, process.stdin
        self._narration = asyncio.create_task(self._listen_to(process.stderr))
        process.stderr = asyncio.StreamReader()  # textual-serve would write it on stdout
        process.stderr.feed_eof()
        return process

    def _build_environment(self, width: int = 80, height: int = 24) -> dict[str, str]:
        environment = super()._build_environment(width, height)
        if self._visitor:
            environment = needed(environment)
        environment[SERVED] = PUBLIC if self._visitor else OWN
        environment["TERM"] = "xterm-256color"  # a browser has every sign and colour, whatever this terminal has
        if "UTF" not in environment.get("LC_ALL", "").upper():
            environment["LC_ALL"] = "C.UTF-8"
        return environment

    async def start(self, width: int, height: int) -> None:
        await super().start(*_size(width, height))
        self._end = asyncio.create_task(self._ended())

    async def set_terminal_size(self, width: int, height: int) -> None:
        await super().set_terminal_size(*_size(width, height))

    async def wait(self) -> None:
        """Until the child has ended."""
        assert self._end is not None
        await asyncio.shield(self._end)

    async def stop(self) -> None:
        """End the child: asked, then told, then killed."""
        if self._process is None or self._end is None:
            return
        await self._download_manager.cancel_app_downloads(app_service_id=self.app_service_id)
        await self.send_meta({"type": "quit"})
        for insist in (_leave, self._process.terminate, self._process.kill):
            with contextlib.suppress(ProcessLookupError):
                insist()
            done, _ = await asyncio.wait([self._end], timeout=_PATIENCE)
            if done:
                return

    async def _ended(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        if self._task is not None:
            await self._task
        while await self._process.stdout.read(65_536):  # a child that cannot write cannot end either
            pass
        if self._narration is not None:
            await self._narration
        await self._process.wait()

    async def _listen_to(self, stderr: asyncio.StreamReader) -> None:
        async for line in stderr:
            self.last_words = line.decode(errors="replace").strip().removeprefix("instrec-live: ")
            log.info("%s", self.last_words)

    @property
    def failed(self) -> bool:
        """Whether the child ended by a mistake or misfortune, which its last words tell."""
        return self._process is not None and (self._process.returncode or 0) in range(1, 128)


def _size(width: object, height: object) -> tuple[int, int]:
    if not isinstance(width, int) or not isinstance(height, int):
        raise ValueError("a screen's size is two numbers")
    return max(1, min(width, _WIDEST)), max(1, min(height, _HIGHEST))


def _leave() -> None:
    """It has been asked already."""


async def _nothing() -> None:
    pass
