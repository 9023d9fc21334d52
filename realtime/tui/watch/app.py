"""The app for many sources: iterates a hub in a thread, lists its sources, opens any of them."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import ClassVar, Protocol

from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen

from instrec_live.realtime.audio.devices import InputDevice, list_input_devices
from instrec_live.realtime.stream.update import Transport, Update
from instrec_live.realtime.tui.base_app import Actions, BaseApp, Keep, until_quit
from instrec_live.realtime.tui.drawing import Glyphs
from instrec_live.realtime.tui.messages import Notice, StreamEnded
from instrec_live.realtime.tui.state import View
from instrec_live.realtime.tui.stream_view import StreamView
from instrec_live.realtime.tui.watch.listing import Listing
from instrec_live.realtime.tui.watch.source import HubEvent, SourceHandle, WatchedSource

LIST_FRAME = 0.25  # s; shortest time between two frames of the list

#: actions of keys that need an open source
_OF_A_SOURCE = {
    binding.action.partition("(")[0] for binding in Actions.BINDINGS if isinstance(binding, Binding)
} - {"quit", "interrupt", "light_or_dark"}  # fmt: skip


class Sources(Protocol):
    """What the screen needs of a hub."""

    @property
    def workers(self) -> Mapping[str, SourceHandle]: ...
    @property
    def engine_name(self) -> str: ...
    def __iter__(self) -> Iterator[tuple[str, HubEvent]]: ...
    def close(self) -> None: ...


class UpdatesReady(Message):
    """Events of the hub are waiting."""


class SourceScreen(Screen[None]):
    """The screen of one source."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "app.back", "Back")]

    def __init__(self, stream_view: StreamView) -> None:
        super().__init__()
        self.stream_view = stream_view

    def compose(self) -> ComposeResult:
        yield self.stream_view


class WatchApp(BaseApp):
    """The screen of a hub's sources. It closes the hub when it ends, however it ends.

    Args:
        hub: the sources.
        theme, glyphs, look: as of `BaseApp`.
        keep: as of `InstrecApp`.

    Attributes:
        sources: their current states, by name.
        opened: the one whose screen is open, None in the list.
    """

    CSS_PATH: ClassVar[list[str | PurePath]] = [*BaseApp.CSS_PATH, Path(__file__).with_name("watch.tcss")]

    def __init__(
        self,
        hub: Sources,
        theme: str | None = None,
        glyphs: Glyphs | None = None,
        look: Callable[[], list[InputDevice]] = list_input_devices,
        keep: Keep | None = None,
    ) -> None:
        super().__init__(theme, glyphs, look=look)
        self.keep = keep
        self.hub = hub
        self.sources = {name: WatchedSource(name) for name in hub.workers}
        self.listing = Listing(self.sources, hub.engine_name, self.glyphs)
        self.opened: str | None = None
        self.views: dict[str, View] = {}  # how each was last looked at
        self.thresholds: dict[str, dict[str, float]] = {}  # of each, when it was first looked at
        self.waiting: deque[tuple[str, HubEvent]] = deque()
        self.notified = False  # the screen knows that something waits

    def get_default_screen(self) -> Screen[None]:
        return self.listing

    def stop_listening(self) -> None:
        self.hub.close()

    def listen(self) -> None:
        for result in self.hub:
            self.waiting.append(result)
            if not self.notified and self.is_running:
                self.notified = True
                self.tell(UpdatesReady())
            elif not self.is_running:
                self.waiting.clear()

    def on_updates_ready(self) -> None:
        self.draw_soon()

    def show_waiting(self) -> None:
        """Process the events since the last frame together: one wake-up per event of sixty sources would be slow."""
        self.notified = False  # before looking: what arrives meanwhile is notified again
        while self.waiting:
            self.show_event(*self.waiting.popleft())

    def show_event(self, name: str, result: HubEvent) -> None:
        """Process one event of a source."""
        source, stream, now = self.sources[name], self.hub.workers[name].session, time.monotonic()
        if not isinstance(result, Update):
            self.sources[name] = source.over(result)
            if name == self.opened:
                self.state = replace(self.state, ended=True)
                if self.sources[name].failed:
                    self.post_message(Notice(str(result)))
            return
        assert stream is not None  # it is open, or it could not give updates
        if name == self.opened:
            since, self.arrived = self.since, now
            self.state = self.state.with_info(stream.info).after(result, since)
            self.sources[name] = source.with_state(self.state, stream, now)
        else:
            self.sources[name] = source.after(result, stream, now)
        for text in stream.notices():
            self.post_message(Notice(f"{name}: {text}"))

    async def on_listing_opened(self, message: Listing.Opened) -> None:
        """Open one source."""
        source = self.sources[message.name]
        if self.opened is not None:
            return
        if source.stream is None or source.state is None:
            self.post_message(Notice(f"{source.name}: {source.why()}"))
            return
        state = replace(source.state, ended=source.end is not None)
        self.opened, self.arrived = source.name, source.came
        view = replace(self.views.get(source.name, View()), frozen=False)
        self.turn_to(source.stream, state, view, StreamView(state, self.glyphs, source.name))
        self.first_thresholds = self.thresholds.setdefault(source.name, self.first_thresholds)
        await self.push_screen(SourceScreen(self.stream_view))
        self.draw()

    async def action_to_list(self) -> None:
        """Back to the list."""
        if self.opened is None:
            return
        name, self.opened = self.opened, None
        self.views[name] = self.view
        self.sources[name] = self.sources[name].closed(self.state)
        await self.pop_screen()
        self.draw()

    async def action_back(self) -> None:
        """Deselect the row, end the solo or the filter; if there is none, go back to the list."""
        if self.view.selected or self.view.solo or self.view.words:
            self.action_select()
        else:
            await self.action_to_list()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether a key is active: most need an open source."""
        return self.opened is not None or action not in _OF_A_SOURCE

    @property
    def over(self) -> bool:
        """Whether the open source has ended and can be neither sought in nor recorded."""
        over = self.opened is not None and self.sources[self.opened].end is not None
        if over:
            self.post_message(Notice("this source has ended"))
        return over

    @property
    def playable(self) -> bool:
        return self.opened is None or self.sources[self.opened].end is None

    @property
    def has_sound(self) -> bool:
        return not self.over

    @property
    def transport(self) -> Transport | None:
        return None if self.over else super().transport

    def commands(self) -> Iterable[SystemCommand]:
        if self.opened is not None:
            yield from super().commands()
            yield SystemCommand("List", "Back to the list of sources", self.action_to_list)
            return
        yield SystemCommand("Freeze or resume", "Freeze the list; listening continues", self.listing.action_freeze)
        yield SystemCommand("Sort", "As named, problems first, the loudest first", self.listing.action_sort)
        yield SystemCommand("Filter the sources", "Show some sources only", self.listing.action_filter)

    @property
    def frame(self) -> float:
        return LIST_FRAME if self.opened is None else super().frame

    def look_late(self) -> None:
        if self.opened is None:
            self.draw_soon()
        else:
            super().look_late()

    def draw(self) -> None:
        self.show_waiting()
        if self.opened is not None:
            super().draw()
            return
        self.drawing, self.drawn = False, time.monotonic()
        self.listing.show()

    def on_stream_ended(self, message: StreamEnded) -> None:
        self.draw_soon()  # what was said last


def run(
    hub: Sources,
    theme: str | None = None,
    noise: Path | None = None,
    look: Callable[[], list[InputDevice]] = list_input_devices,
    keep: Keep | None = None,
) -> int:
    """Show a hub's sources on the terminal until the user quits; closes it, and restores the terminal.

    The arguments are those of `WatchApp`; `noise`: a file for what libraries write to stderr.
    Returns 0, 130 after Ctrl-C, 128 plus a signal's number.

    Raises:
        UsageError: an unknown theme.
        InternalError: a defect of the screen.
        Exception: any exception of the hub's iteration.
    """
    return until_quit(WatchApp(hub, theme, look=look, keep=keep), noise)
