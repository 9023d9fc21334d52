"""The program's screen for many sources: listens in a thread, lists them, opens any of them."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import ClassVar, Protocol

from textual import work
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen

from instrec_live.realtime.devices import InputDevice, list_input_devices
from instrec_live.realtime.transport import Transport
from instrec_live.realtime.tui.actions import Actions
from instrec_live.realtime.tui.board import Board
from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.messages import Noticed, StreamEnded
from instrec_live.realtime.tui.onlooker import Onlooker, until_quit
from instrec_live.realtime.tui.view import View
from instrec_live.realtime.tui.watch.listing import Listing
from instrec_live.realtime.tui.watch.source import Channel, Said, Source
from instrec_live.realtime.update import Update

LIST_FRAME = 0.25  # s; the list is drawn no more often: nobody reads sixty rows faster

#: actions of keys that need an open source
_OF_A_SOURCE = {
    binding.action.partition("(")[0] for binding in Actions.BINDINGS if isinstance(binding, Binding)
} - {"quit", "interrupt", "light_or_dark"}  # fmt: skip


class Sources(Protocol):
    """What the screen needs of a hub."""

    @property
    def channels(self) -> Mapping[str, Channel]: ...
    @property
    def engine_name(self) -> str: ...
    def __iter__(self) -> Iterator[tuple[str, Said]]: ...
    def close(self) -> None: ...


class Came(Message):
    """Something was said that has not been looked at yet."""


class Alone(Screen[None]):
    """One source, as a stream of its own is shown."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "app.back", "Back")]

    def __init__(self, board: Board) -> None:
        super().__init__()
        self.board = board

    def compose(self) -> ComposeResult:
        yield self.board


class WatchApp(Onlooker):
    """The screen of a hub's sources. It closes the hub when it ends, however it ends.

    Args:
        hub: what is listened to.
        theme, glyphs, look: as of `Onlooker`.

    Attributes:
        sources: as they stand now, by name.
        opened: the one that is looked at alone, None while all are listed.
    """

    CSS_PATH: ClassVar[list[str | PurePath]] = [*Onlooker.CSS_PATH, Path(__file__).with_name("watch.tcss")]

    def __init__(
        self,
        hub: Sources,
        theme: str | None = None,
        glyphs: Glyphs | None = None,
        look: Callable[[], list[InputDevice]] = list_input_devices,
    ) -> None:
        super().__init__(theme, glyphs, look=look)
        self.hub = hub
        self.sources = {name: Source(name) for name in hub.channels}
        self.listing = Listing(self.sources, hub.engine_name, self.glyphs)
        self.opened: str | None = None
        self.views: dict[str, View] = {}  # how each was last looked at
        self.thresholds: dict[str, dict[str, float]] = {}  # of each, when it was first looked at
        self.waiting: deque[tuple[str, Said]] = deque()
        self.told = False  # that something waits

    def get_default_screen(self) -> Screen[None]:
        return self.listing

    def on_mount(self) -> None:
        self.listen()

    def on_unmount(self) -> None:
        self.hub.close()

    @work(thread=True, exit_on_error=False)
    def listen(self) -> None:
        """Hand on what the sources say; runs in a thread of its own and touches no widget."""
        error: Exception | None = None
        try:
            for said in self.hub:
                self.waiting.append(said)
                if not self.told:
                    self.told = True
                    if not self.post_message(Came()):
                        return
        except Exception as trouble:
            error = trouble
        self.post_message(StreamEnded(error))

    def on_came(self) -> None:
        self.draw_soon()

    def hear_all(self) -> None:
        """Note what has been said since the last frame: to be woken for each word of sixty sources would be dear."""
        self.told = False  # before looking: what comes meanwhile is told of again
        while self.waiting:
            self.hear(*self.waiting.popleft())

    def hear(self, name: str, said: Said) -> None:
        """Note what a source says."""
        source, stream, now = self.sources[name], self.hub.channels[name].journal, time.monotonic()
        if not isinstance(said, Update):
            self.sources[name] = source.over(said)
            if name == self.opened:
                self.picture = replace(self.picture, ended=True)
                if self.sources[name].failed:
                    self.post_message(Noticed(str(said)))
            return
        assert stream is not None  # else it could not have said anything
        if name == self.opened:
            since, self.heard = self.since, now
            self.picture = self.picture.with_info(stream.info).after(said, since)
            self.sources[name] = source.with_picture(self.picture, stream, now)
        else:
            self.sources[name] = source.after(said, stream, now)
        for words in stream.notices():
            self.post_message(Noticed(f"{name}: {words}"))

    async def on_listing_opened(self, message: Listing.Opened) -> None:
        """Look at one source alone."""
        source = self.sources[message.name]
        if self.opened is not None:
            return
        if source.stream is None or source.picture is None:
            self.post_message(Noticed(f"{source.name}: {source.why()}"))
            return
        picture = replace(source.picture, ended=source.end is not None)
        self.opened, self.heard = source.name, source.came
        view = replace(self.views.get(source.name, View()), frozen=False)
        self.turn_to(source.stream, picture, view, Board(picture, self.glyphs, source.name))
        self.first_thresholds = self.thresholds.setdefault(source.name, self.first_thresholds)
        await self.push_screen(Alone(self.board))
        self.draw()

    async def action_to_list(self) -> None:
        """Back to the list."""
        if self.opened is None:
            return
        name, self.opened = self.opened, None
        self.views[name] = self.view
        self.sources[name] = self.sources[name].closed(self.picture)
        await self.pop_screen()
        self.draw()

    async def action_back(self) -> None:
        """Let go of the row, the network or the words; where there are none, back to the list."""
        if self.view.selected or self.view.solo or self.view.words:
            self.action_select()
        else:
            await self.action_to_list()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether a key does anything: most of a stream's need one that is open."""
        return self.opened is not None or action not in _OF_A_SOURCE

    @property
    def over(self) -> bool:
        """Whether the source that is looked at has ended, and can be neither sought in nor recorded any more."""
        over = self.opened is not None and self.sources[self.opened].end is not None
        if over:
            self.post_message(Noticed("its sound is over"))
        return over

    def allowed(self, what: str) -> bool:
        return not self.over and super().allowed(what)

    @property
    def transport(self) -> Transport | None:
        return None if self.over else super().transport

    def commands(self) -> Iterable[SystemCommand]:
        if self.opened is not None:
            yield from super().commands()
            yield SystemCommand("List", "Back to the list of sources", self.action_to_list)
            return
        yield SystemCommand("Freeze or resume", "Hold the list; listening goes on", self.listing.action_freeze)
        yield SystemCommand("Sort", "As named, trouble first, the loudest first", self.listing.action_sort)
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
        self.hear_all()
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
) -> int:
    """Show a hub's sources on the terminal until the user quits; closes it, and restores the terminal.

    The arguments are those of `WatchApp`; `noise`: a file for what libraries write to stderr meanwhile.
    Returns 0, 130 after Ctrl-C, 128 plus a signal's number.

    Raises:
        UsageError: an unknown theme.
        InternalError: a defect of the screen.
        Exception: whatever iterating the hub raised.
    """
    return until_quit(WatchApp(hub, theme, look=look), noise)
