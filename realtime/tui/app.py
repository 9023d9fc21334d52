"""The program in the terminal: listens in a thread, shows pictures."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from textual import work
from textual.app import ComposeResult

from instrec_live.realtime.devices import InputDevice, list_input_devices
from instrec_live.realtime.tui.board import Board
from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.messages import NewUpdate, Noticed, StreamEnded, Updates
from instrec_live.realtime.tui.onlooker import Onlooker, until_quit
from instrec_live.realtime.tui.picture import Picture
from instrec_live.realtime.tui.view import View


class InstrecApp(Onlooker):
    """The screen of a stream. It closes the stream when it ends, however it ends.

    Args:
        stream: what is listened to, and what the keys act on.
        exit_at_end: leave when the stream ends, else its last picture stays.
        theme, glyphs, visitor, look: as of `Onlooker`.
    """

    def __init__(
        self,
        stream: Updates,
        exit_at_end: bool = False,
        theme: str | None = None,
        glyphs: Glyphs | None = None,
        visitor: bool = False,
        look: Callable[[], list[InputDevice]] = list_input_devices,
    ) -> None:
        super().__init__(theme, glyphs, visitor, look)
        self.exit_at_end = exit_at_end
        picture = Picture(stream.info)
        self.turn_to(stream, picture, View(), Board(picture, self.glyphs))

    def compose(self) -> ComposeResult:
        yield self.board

    def on_mount(self) -> None:
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
        since = self.since
        self.heard = time.monotonic()
        self.picture = self.picture.with_info(self.stream.info).after(message.update, since)
        for words in self.stream.notices():
            self.post_message(Noticed(words))
        self.draw_soon()

    def on_stream_ended(self, message: StreamEnded) -> None:
        self.picture = replace(self.picture, ended=True)
        if message.error is None and self.exit_at_end:
            self.exit()
        self.draw_soon()


def run(
    stream: Updates,
    exit_at_end: bool = False,
    theme: str | None = None,
    noise: Path | None = None,
    visitor: bool = False,
    look: Callable[[], list[InputDevice]] = list_input_devices,
) -> int:
    """Show a stream on the terminal until the user quits; closes it, and restores the terminal.

    The arguments are those of `InstrecApp`; `noise`: a file for what libraries write to stderr meanwhile.
    Returns 0, 130 after Ctrl-C, 128 plus a signal's number.

    Raises:
        UsageError: an unknown theme.
        InternalError: a defect of the screen.
        Exception: whatever the stream raised.
    """
    return until_quit(InstrecApp(stream, exit_at_end, theme, visitor=visitor, look=look), noise)
