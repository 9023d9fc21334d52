"""What looks at a stream: one picture on one board, drawn no more often than it must be."""

import asyncio
import math
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from io import StringIO
from pathlib import Path, PurePath
from typing import Any, ClassVar

from textual.app import SystemCommand
from textual.screen import Screen
from textual.scrollbar import ScrollBar, ScrollBarRender

from instrec_live.models.errors import InternalError
from instrec_live.realtime.devices import InputDevice, list_input_devices
from instrec_live.realtime.terminal import drawing_apart
from instrec_live.realtime.tui import glyphs as signs
from instrec_live.realtime.tui.actions import Actions
from instrec_live.realtime.tui.board import Board
from instrec_live.realtime.tui.deck import Deck
from instrec_live.realtime.tui.lateness import overdue
from instrec_live.realtime.tui.messages import Noticed, StreamEnded, Updates
from instrec_live.realtime.tui.picture import SETTLED, Picture
from instrec_live.realtime.tui.themes import DARK, LIGHT, known_theme
from instrec_live.realtime.tui.view import View

FRAME = 0.1  # s


class WholeCells(ScrollBarRender):
    """A scroll bar in ASCII: Textual's own ends in eighths of a block."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "] * 8
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "] * 8


class Onlooker(Actions):
    """A program's screen: how a stream is shown on it. Subclasses say where updates come from.

    Args:
        theme: its name.
        glyphs: the signs to draw with; None for what the terminal can show.
        visitor: whoever looks may press no key that writes a file or opens a device.
        look: lists the microphones that are connected now.

    Attributes:
        error: what ended the listening, where that was not its natural end.
    """

    TITLE = "instrec-live"
    CSS_PATH: ClassVar[list[str | PurePath]] = [Path(__file__).with_name("instrec.tcss")]
    AUTO_FOCUS = None

    def __init__(
        self,
        theme: str | None = None,
        glyphs: signs.Glyphs | None = None,
        visitor: bool = False,
        look: Callable[[], list[InputDevice]] = list_input_devices,
    ) -> None:
        self.glyphs = glyphs or signs.for_terminal()  # before Textual takes NO_COLOR out of the environment
        ScrollBar.renderer = WholeCells if self.glyphs == signs.ASCII else ScrollBarRender
        # Told of native colours, Textual obeys NO_COLOR to the letter; else it would write shades of grey.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self.visitor, self.look = visitor, look
        self.error: Exception | None = None
        self.heard = time.monotonic()
        self.drawn = 0.0
        self.drawing = False
        for own in (DARK, LIGHT):
            self.register_theme(own)
        self.theme = known_theme(theme or DARK.name)

    def turn_to(self, stream: Updates, picture: Picture, view: View, board: Board) -> None:
        """Show this stream from now on."""
        self.stream, self.picture, self.view, self.board = stream, picture, view, board
        self.first_thresholds = dict(stream.info.thresholds)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return {"foreground-disabled": "ansi_default"}  # Textual's ansi themes lack it

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Our own, and Textual's less its list of keys: the help page has them."""
        yield from self.commands()
        yield from (command for command in super().get_system_commands(screen) if command.title != "Keys")

    def deliver_screenshot(
        self, filename: str | None = None, path: str | None = None, time_format: str | None = None
    ) -> str | None:
        """Save the screen where recordings go, in the present folder: not everybody has one for downloads.

        The picture's letters are the reader's own: Textual's would be fetched from another site by whoever looks.
        """
        picture = re.sub(r"@font-face \{.*?\}\s*", "", self.export_screenshot(), flags=re.DOTALL)
        return self.deliver_text(
            StringIO(picture),
            save_directory=path or ".",
            save_filename=filename or f"instrec-{datetime.now():{time_format or '%Y%m%d-%H%M%S'}}.svg",
            open_method="browser",
            mime_type="image/svg+xml",
            name="screenshot",
        )

    def on_mount(self) -> None:
        self.heard = time.monotonic()
        if sys.platform != "win32" and not self.is_headless:
            for number in (signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, self.exit, None, 128 + number)
        self.set_interval(1.0, self.look_late)

    def on_noticed(self, message: Noticed) -> None:
        self.notify(message.words, severity="warning", markup=False)

    def on_stream_ended(self, message: StreamEnded) -> None:
        self.error = message.error
        if self.error is not None:
            self.exit(return_code=getattr(self.error, "exit_code", 1))

    @property
    def frame(self) -> float:
        """The screen is drawn no more often, s."""
        return FRAME

    @property
    def since(self) -> float:
        """Seconds since the newest update came, as far as the bars still move; then infinite."""
        passed = time.monotonic() - self.heard
        return passed if passed < SETTLED else math.inf

    @property
    def late(self) -> float:
        """For how many seconds an update has been overdue; 0 for not."""
        if self.picture.ended or Deck.of(self.stream).paused:
            return 0.0
        return overdue(self.picture.update, time.monotonic() - self.heard, self.stream.info.hop)

    def look_late(self) -> None:
        """Say so when nothing new arrives."""
        if not self.view.frozen and (self.late or Deck.of(self.stream).playable):
            self.draw_soon()

    def draw_soon(self) -> None:
        """Draw now, or at the end of the present frame."""
        if self.drawing:
            return
        self.drawing = True
        wait = self.drawn + self.frame - time.monotonic()
        if wait <= 0:
            self.draw()
        else:
            self.set_timer(wait, self.draw)

    def draw(self) -> None:
        """Show the present picture; a frozen screen only says that it is frozen."""
        self.drawing = False
        self.drawn = time.monotonic()
        if self.view.frozen:
            return
        since = self.since
        self.board.show(self.picture, self.view, Deck.of(self.stream), self.late, since)
        if math.isfinite(since) and self.picture.lively:
            self.draw_soon()

    def look_at(self, view: View) -> None:
        """Show the picture another way; a frozen one too."""
        thawed = self.view.frozen and not view.frozen
        self.view = view
        if not view.frozen or thawed:
            self.draw()
            return
        board, deck = self.board, Deck.of(self.stream)
        board.rows.show(board.rows.picture, view)
        board.heading.show(board.rows.picture, view)
        board.status.show(board.status.picture, True)
        board.keys.show(view, deck)

    def _fatal_error(self) -> None:
        # Textual would print a traceback with locals; `until_quit` raises the error instead, for the one line.
        self._close_messages_no_wait()


def until_quit(app: Onlooker, noise: Path | None = None) -> int:
    """Show it on the terminal until the user quits, and restore the terminal.

    `noise`: a file for what libraries write to stderr meanwhile. Returns 0, 130 after Ctrl-C, 128 plus a signal's
    number.

    Raises:
        InternalError: a defect of the screen.
        Exception: what ended the listening.
    """
    with drawing_apart(noise):
        app.run()
    if app.error is not None:
        raise app.error
    if app._exception is not None:
        trouble = app._exception
        raise InternalError(f"the screen failed: {type(trouble).__name__}: {trouble}") from trouble
    return app.return_code or 0
