"""The program in the terminal: listens in a thread, shows pictures, answers keys."""

import asyncio
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from textual import events, work
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from instrec_live.models.errors import InternalError
from instrec_live.realtime.terminal import drawing_apart
from instrec_live.realtime.tui import glyphs as signs
from instrec_live.realtime.tui.events import Events
from instrec_live.realtime.tui.header import Header
from instrec_live.realtime.tui.heading import Heading
from instrec_live.realtime.tui.help import Help
from instrec_live.realtime.tui.keys import Keys
from instrec_live.realtime.tui.layout import stack
from instrec_live.realtime.tui.messages import NewUpdate, RowChosen, StreamEnded, Updates
from instrec_live.realtime.tui.picture import Picture, Sorting
from instrec_live.realtime.tui.rows import Rows
from instrec_live.realtime.tui.status import Status
from instrec_live.realtime.tui.themes import DARK, LIGHT, known_theme

FRAME = 0.1  # s; the screen is drawn no more often
PATIENCE = 2.0  # s beyond the hop after which a missing update is reported


class InstrecApp(App[None]):
    """The screen of a stream. It closes the stream when it ends, however it ends.

    Attributes:
        error: what ended the stream, where that was not its natural end.
    """

    TITLE = "instrec-live"
    CSS_PATH = "instrec.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "interrupt", "Interrupt", show=False, priority=True),
        Binding("space", "freeze", "Freeze the picture, or resume"),
        Binding("s", "sort", "Sort the rows"),
        Binding("question_mark,f1", "help", "Help"),
        Binding("0", "clear_peaks", "Clear the peaks"),
        Binding("down,j", "move(1)", "Next row"),
        Binding("up,k", "move(-1)", "Previous row"),
        Binding("escape", "select", "Select no row"),
        Binding("t", "light_or_dark", "Dark or light"),
    ]

    def __init__(
        self,
        stream: Updates,
        exit_at_end: bool = False,
        theme: str | None = None,
        glyphs: signs.Glyphs | None = None,
    ) -> None:
        self.glyphs = glyphs or signs.for_terminal()  # before Textual takes NO_COLOR out of the environment
        # Told of native colours, Textual obeys NO_COLOR to the letter; else it would write shades of grey.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self.stream = stream
        self.exit_at_end = exit_at_end
        self.error: Exception | None = None
        self.picture = Picture(stream.info)
        self.header = Header(self.picture, self.glyphs)
        self.status = Status(self.picture, self.glyphs)
        self.heading = Heading(self.picture, self.glyphs)
        self.rows = Rows(self.picture, self.glyphs)
        self.events = Events(self.picture, self.glyphs)
        self.keys = Keys(self.glyphs)
        self.frozen = False
        self.selected: str | None = None
        self.heard = time.monotonic()
        self.drawn = 0.0
        self.drawing = False
        for own in (DARK, LIGHT):
            self.register_theme(own)
        self.theme = known_theme(theme or DARK.name)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return {"foreground-disabled": "ansi_default"}  # Textual's ansi themes lack it

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Textual's own, less its list of keys: the help page has them."""
        yield from (command for command in super().get_system_commands(screen) if command.title != "Keys")

    def compose(self) -> ComposeResult:
        yield from (self.header, self.status, self.heading, self.rows, self.events, self.keys)

    def on_mount(self) -> None:
        self.heard = time.monotonic()
        if not self.is_headless:
            for number in (signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, self.exit, None, 128 + number)
        self.set_interval(1.0, self.look_late)
        self.listen()

    def on_unmount(self) -> None:
        self.stream.close()

    @work(thread=True, exit_on_error=False)
    def listen(self) -> None:
        """Hand on the stream's updates; runs in a thread of its own and touches no widget."""
        error: Exception | None = None
        try:
            for update in self.stream:
                if not self.post_message(NewUpdate(update)):
                    return
        except Exception as trouble:
            error = trouble
        self.post_message(StreamEnded(error))

    def on_new_update(self, message: NewUpdate) -> None:
        self.heard = time.monotonic()
        self.picture = self.picture.after(message.update)
        self.draw_soon()

    def on_stream_ended(self, message: StreamEnded) -> None:
        self.error = message.error
        self.picture = replace(self.picture, ended=True)
        if self.error is not None:
            self.exit(return_code=getattr(self.error, "exit_code", 1))
        elif self.exit_at_end:
            self.exit()
        self.draw_soon()

    def on_row_chosen(self, message: RowChosen) -> None:
        self.action_select(message.name)

    def on_resize(self, event: events.Resize) -> None:
        lines = stack(event.size.height)
        self.heading.display = lines.heading > 0
        self.heading.styles.margin = (lines.blank, 0, 0, 0)
        self.rows.group = lines.group
        self.rows.styles.height = lines.rows if lines.events else "1fr"
        self.events.display = lines.events > 0

    @property
    def late(self) -> float:
        """For how many seconds an update has been overdue; 0 for not."""
        waited = time.monotonic() - self.heard - self.stream.info.hop
        return waited if waited > PATIENCE and not self.picture.ended else 0.0

    def look_late(self) -> None:
        """Say so when nothing new arrives."""
        if self.late and not self.frozen:
            self.status.show(self.picture, False, self.late)

    def draw_soon(self) -> None:
        """Draw now, or at the end of the present frame."""
        if self.drawing:
            return
        self.drawing = True
        wait = self.drawn + FRAME - time.monotonic()
        if wait <= 0:
            self.draw()
        else:
            self.set_timer(wait, self.draw)

    def draw(self) -> None:
        """Show the present picture; a frozen screen only says that it is frozen."""
        self.drawing = False
        self.drawn = time.monotonic()
        if self.frozen:
            return
        self.header.show(self.picture)
        self.status.show(self.picture, False, self.late)
        self.heading.show(self.picture, self.selected)
        self.rows.show(self.picture)
        self.events.show(self.picture)

    async def action_quit(self) -> None:
        self.exit()

    def action_interrupt(self) -> None:
        """Ctrl-C."""
        self.exit(return_code=130)

    def action_freeze(self) -> None:
        """Hold the picture, or let it go on; the stream is listened to all the time."""
        self.frozen = not self.frozen
        self.keys.show(self.rows.sorting, self.frozen)
        if self.frozen:
            self.status.show(self.status.picture, True, 0.0)
        else:
            self.draw()

    def action_sort(self) -> None:
        """The next order of the rows."""
        orders = list(Sorting)
        self.rows.sort(orders[(orders.index(self.rows.sorting) + 1) % len(orders)])
        self.keys.show(self.rows.sorting, self.frozen)

    def action_help(self) -> None:
        """Explain the screen."""
        self.push_screen(Help(self.glyphs, self.stream.info.models))

    def action_clear_peaks(self) -> None:
        """Let every peak hold down."""
        self.picture = self.picture.without_peaks()
        self.draw()

    def action_move(self, steps: int) -> None:
        """Select another row."""
        self.action_select(self.rows.neighbour(steps))

    def action_select(self, name: str | None = None) -> None:
        """Select an instrument's row, or none."""
        self.selected = name
        self.rows.select(name)
        self.heading.show(self.rows.picture, name)

    def action_light_or_dark(self) -> None:
        """The program's other theme."""
        self.theme = LIGHT.name if self.current_theme.dark else DARK.name

    def _fatal_error(self) -> None:
        # Textual would print a traceback with locals; `run` raises the error instead, for the one line.
        self._close_messages_no_wait()


def run(stream: Updates, exit_at_end: bool = False, theme: str | None = None, noise: Path | None = None) -> int:
    """Show a stream on the terminal until the user quits; closes it, and restores the terminal.

    `exit_at_end`: leave when the stream ends, else its last picture stays. `noise`: a file for what libraries write
    to stderr meanwhile. Returns 0, 130 after Ctrl-C, 128 plus a signal's number.

    Raises:
        UsageError: an unknown theme.
        InternalError: a defect of the screen.
        Exception: whatever the stream raised.
    """
    app = InstrecApp(stream, exit_at_end=exit_at_end, theme=theme)
    with drawing_apart(noise):
        app.run()
    if app.error is not None:
        raise app.error
    if app._exception is not None:
        trouble = app._exception
        raise InternalError(f"the screen failed: {type(trouble).__name__}: {trouble}") from trouble
    return app.return_code or 0
