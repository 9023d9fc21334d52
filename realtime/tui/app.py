"""The app for one stream: iterates it in a thread and draws its updates."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from textual.app import ComposeResult

from instrec_live.realtime.audio.devices import InputDevice, list_input_devices
from instrec_live.realtime.stream.update import State
from instrec_live.realtime.tui.base_app import BaseApp, Keep, until_quit
from instrec_live.realtime.tui.drawing import Glyphs
from instrec_live.realtime.tui.messages import NewUpdate, Notice, StreamEnded, Updates
from instrec_live.realtime.tui.state import ScreenState, View
from instrec_live.realtime.tui.stream_view import StreamView


class InstrecApp(BaseApp):
    """The screen of a stream. It closes the stream when it ends, however it ends.

    Args:
        stream: shown, and controlled by the keys.
        exit_at_end: quit when the stream ends; otherwise its last state stays on the screen.
        theme, glyphs, look: as of `BaseApp`.
        keep: keeps thresholds that were moved for the next time; None: nothing does.
    """

    def __init__(
        self,
        stream: Updates,
        exit_at_end: bool = False,
        theme: str | None = None,
        glyphs: Glyphs | None = None,
        look: Callable[[], list[InputDevice]] = list_input_devices,
        keep: Keep | None = None,
    ) -> None:
        super().__init__(theme, glyphs, look)
        self.keep = keep
        self.exit_at_end = exit_at_end
        state = ScreenState(stream.info)
        self.turn_to(stream, state, View(), StreamView(state, self.glyphs))

    def compose(self) -> ComposeResult:
        yield self.stream_view

    @property
    def has_sound(self) -> bool:
        if self.state.ended:
            self.post_message(Notice("the sound has ended"))
        return not self.state.ended

    def stop_listening(self) -> None:
        self.stream.stop()

    def listen(self) -> None:
        for update in self.stream:
            self.tell(NewUpdate(update))
            if update.state is State.ENDED and not self.is_running:  # it would wait there to be sought in
                self.stream.close()

    def on_new_update(self, message: NewUpdate) -> None:
        since = self.since
        self.arrived = time.monotonic()
        self.state = self.state.with_info(self.stream.info).after(message.update, since)
        for text in self.stream.notices():
            self.post_message(Notice(text))
        self.draw_soon()

    def on_stream_ended(self, message: StreamEnded) -> None:
        self.state = replace(self.state, ended=True)
        if message.error is None and self.exit_at_end:
            self.exit()
        self.draw_soon()


def run(
    stream: Updates,
    exit_at_end: bool = False,
    theme: str | None = None,
    noise: Path | None = None,
    look: Callable[[], list[InputDevice]] = list_input_devices,
    keep: Keep | None = None,
) -> int:
    """Show a stream on the terminal until the user quits; closes it, and restores the terminal.

    The arguments are those of `InstrecApp`; `noise`: a file for what libraries write to stderr.
    Returns 0, 130 after Ctrl-C, 128 plus a signal's number.

    Raises:
        UsageError: an unknown theme.
        InternalError: a defect of the screen.
        Exception: any exception of the stream.
    """
    return until_quit(InstrecApp(stream, exit_at_end, theme, look=look, keep=keep), noise)
