"""The list of sources, and what its keys do."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen

from instrec_live.realtime.tui.board import LEAST_HEIGHT, LEAST_WIDTH, TooSmall
from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.help import Help
from instrec_live.realtime.tui.messages import RowChosen
from instrec_live.realtime.tui.prompt import Prompt
from instrec_live.realtime.tui.watch.head import Counts, ListKeys, Overview, Titles
from instrec_live.realtime.tui.watch.help import TITLE, chapters
from instrec_live.realtime.tui.watch.row import cells_of, row_of
from instrec_live.realtime.tui.watch.rows import SourceRows
from instrec_live.realtime.tui.watch.source import Source
from instrec_live.realtime.tui.watch.view import ListView, Order

TITLES_FROM = 16  # lines from which the columns have titles


class Listing(Screen[None]):
    """All sources, a row each.

    Args:
        sources: as they stand, by name; looked at again whenever the list is shown.
        engine: what runs the networks.
        glyphs: the signs to draw with.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "Next source"),
        Binding("up,k", "move(-1)", "Previous source"),
        Binding("pagedown", "page(1)", "A page down"),
        Binding("pageup", "page(-1)", "A page up"),
        Binding("home", "move(-1_000_000)", "The first"),
        Binding("end", "move(1_000_000)", "The last"),
        Binding("enter", "open", "Open it"),
        Binding("s", "sort", "Sort"),
        Binding("slash", "filter", "Filter"),
        Binding("space", "freeze", "Freeze the list, or resume"),
        Binding("escape", "unfilter", "Show all"),
        Binding("question_mark,f1", "help", "Help"),
    ]

    class Opened(Message):
        """A source is to be looked at alone."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, sources: Mapping[str, Source], engine: str, glyphs: Glyphs) -> None:
        super().__init__()
        self.live, self.glyphs = sources, glyphs
        self.sources = dict(sources)  # as they are shown
        self.order = list(sources)
        self.view = ListView(selected=self.order[0])
        self.now = time.monotonic()  # when the list was as it is shown
        self.overview, self.counts = Overview(engine, glyphs), Counts(glyphs)
        self.titles = Titles(cells_of(80, self.order))
        self.rows = SourceRows(self.order, glyphs)
        self.prompt, self.keys = Prompt(), ListKeys(glyphs)
        self.too_small = TooSmall()

    def compose(self) -> ComposeResult:
        yield from (self.too_small, self.overview, self.counts, self.titles, self.rows, self.prompt, self.keys)

    def show(self) -> None:
        """Draw the sources as they are now, unless the list is frozen."""
        if not self.view.frozen:
            self.sources, self.now = dict(self.live), time.monotonic()
            self.draw()

    def draw(self) -> None:
        """Draw the sources as they were when they were last shown."""
        view, now = self.view, self.now
        before = [*self.order, *(name for name in self.sources if name not in self.order)]
        self.order = view.arranged(self.sources, before, now)
        self.overview.show(self.sources, now)
        self.counts.show(self.sources, len(self.order), view, now)
        self.rows.show([row_of(self.sources[name], now, name == view.selected) for name in self.order])
        self.titles.show(self.rows.cells)
        self.keys.show_list(view)

    def look_at(self, view: ListView) -> None:
        """Show the list another way."""
        self.view = view
        self.draw()

    def on_resize(self, event: events.Resize) -> None:
        """Share the terminal out anew."""
        small = event.size.width < LEAST_WIDTH or event.size.height < LEAST_HEIGHT
        self.too_small.display = small
        for part in (self.overview, self.counts, self.rows, self.keys):
            part.display = not small
        self.titles.display = not small and event.size.height >= TITLES_FROM
        self.call_after_refresh(self.draw)

    def action_move(self, steps: int) -> None:
        """Select another source."""
        at = self.order.index(self.view.selected) + steps if self.view.selected in self.order else 0
        self.look_at(replace(self.view, selected=self.order[min(len(self.order) - 1, max(0, at))]))

    def action_page(self, pages: int) -> None:
        """Select one that is so many pages below."""
        self.action_move(pages * max(1, self.rows.size.height - 1))

    def action_open(self) -> None:
        """Look at the selected source alone."""
        if self.view.selected in self.order:
            self.post_message(self.Opened(self.view.selected))

    def on_row_chosen(self, message: RowChosen) -> None:
        """A click selects; on what is selected it opens."""
        message.stop()
        if message.name is not None and message.name == self.view.selected:
            self.action_open()
        elif message.name is not None:
            self.look_at(replace(self.view, selected=message.name))

    def action_sort(self) -> None:
        """The next order."""
        orders = list(Order)
        self.look_at(replace(self.view, order=orders[(orders.index(self.view.order) + 1) % len(orders)]))

    def action_freeze(self) -> None:
        """Hold the list, or let it go on."""
        self.look_at(replace(self.view, frozen=not self.view.frozen))
        self.show()

    def action_filter(self) -> None:
        """Ask for words; sources whose name holds none of them are hidden while they are typed."""
        self.prompt.ask("filter", "sources to show, part of a name; enter keeps, esc shows all", self.view.words)

    def action_unfilter(self) -> None:
        """Show all."""
        self.look_at(replace(self.view, words=""))

    def on_prompt_typed(self, message: Prompt.Typed) -> None:
        message.stop()
        view = replace(self.view, words=message.text)
        names = view.admitted(self.sources)
        if view.selected not in names:
            view = replace(view, selected=names[0])
        self.look_at(view)

    def action_help(self) -> None:
        """Explain the list."""
        self.app.push_screen(Help(chapters(self.glyphs), TITLE))
