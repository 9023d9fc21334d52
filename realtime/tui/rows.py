"""The twenty instruments: a row each."""

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.strip import Strip

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.tui.bar import Run
from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.messages import RowChosen
from instrec_live.realtime.tui.picture import Picture
from instrec_live.realtime.tui.row import Columns, Row, columns, minute_runs, model_runs, row, row_runs
from instrec_live.realtime.tui.strips import Strips
from instrec_live.realtime.tui.view import View

ON_TRACK = {
    "fill",
    "track",
    "mark",
    "notch",
    "peak",
    *(f"cold-{n}" for n in range(5)),
    *(f"warm-{n}" for n in range(3)),
}
PARTS = {"marker", "name", "number", "end", "dot", "ring", "gone", "high", "low", "base", *ON_TRACK}
BRIGHTER = {"marker", "name", "number", "fill", "notch", "peak", "dot", "high", "low"}  # in a row that sounds


class Rows(Strips, can_focus=False):
    """All rows in one widget; only those that changed are drawn again."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*PARTS, *(f"{part}-on" for part in BRIGHTER), "cursor"}

    def __init__(self, picture: Picture, glyphs: Glyphs) -> None:
        super().__init__()
        self.picture = picture
        self.view = View()
        self.glyphs = glyphs
        self.order = INSTRUMENTS
        self.since = math.inf  # seconds since the newest update came, as it is drawn
        self.group = 0  # a blank line after every so many rows; 0: none
        self.shape: tuple[int, int] | None = None  # what the strips were drawn for
        self.kept: dict[object, list[Segment]] = {}  # what is drawn now
        self.seen: dict[object, list[Segment]] = {}  # what was drawn before
        self.minute: tuple[object, NDArray[np.float32]] | None = None

    def show(self, picture: Picture, view: View, since: float = math.inf) -> None:
        """Draw a picture as it is looked at, `since` seconds after its update came."""
        if picture is self.picture and view is self.view and self.shape == self.fitting:
            self.since = since
            self.move()
            return
        chosen = view.selected is not None and view.selected != self.view.selected
        self.picture, self.view, self.since = picture, view, since
        hidden = (name for name in INSTRUMENTS if name not in self.order)
        order = picture.order(view.sorting, (*self.order, *hidden), self.voice)
        self.order = tuple(name for name in order if view.admits(name))
        self.redraw()
        if chosen and view.selected in self.order:
            line = self.line_of(view.selected or "")
            self.scroll_to_region(Region(0, line, 1, 1 + self.opened), animate=False, force=True)

    def move(self) -> None:
        """Draw again those rows of the same picture whose bars are on their way."""
        moving = {INSTRUMENTS[number] for number in np.flatnonzero(self.picture.moving)}
        if self.opened and self.view.selected in moving:
            self.redraw()
            return
        width = self.scrollable_content_region.width
        cells, bars = columns(width, len(self.picture.info.models)), self.picture.bars(self.since)
        self.seen = self.kept
        for name in moving.intersection(self.order):
            line = self.line_of(name)
            self.put(line, self.strips[line], self.drawn_row(name, cells, bars, width))

    @property
    def fitting(self) -> tuple[int, int]:
        """The width and the grouping that strips must be drawn for now."""
        return self.scrollable_content_region.width, self.group

    @property
    def voice(self) -> int:
        """Whose bars are shown."""
        return self.picture.voice_of(self.view.solo)

    @property
    def opened(self) -> int:
        """Lines below the selected row."""
        return len(self.picture.info.models) if self.view.opened and self.view.selected in self.order else 0

    def line_of(self, name: str) -> int:
        """The line that an instrument's row stands on."""
        number = self.order.index(name)
        line = number + (number // self.group if self.group else 0)
        after = self.opened and number > self.order.index(self.view.selected or "")
        return line + (self.opened if after else 0)

    def neighbour(self, steps: int) -> str:
        """The instrument so many rows below the selected one; where none is, the first or last."""
        if self.view.selected not in self.order:
            return self.order[0 if steps > 0 else -1]
        number = self.order.index(self.view.selected) + steps
        return self.order[min(len(self.order) - 1, max(0, number))]

    def drawn(self, width: int) -> list[Strip]:
        cells = columns(width, len(self.picture.info.models))
        bars = self.picture.bars(self.since)
        strips: list[Strip] = []
        self.seen, self.kept = self.kept, {}
        for name in self.order:
            while len(strips) < self.line_of(name):
                strips.append(Strip.blank(width, self.paper))
            strips.append(self.drawn_row(name, cells, bars, width))
            if name == self.view.selected and self.opened:
                strips += self.networks(name, cells, bars, width)
        return strips

    def drawn_row(self, name: str, cells: Columns, bars: NDArray[np.float32], width: int) -> Strip:
        """One instrument's row; `bars` float32 [voices, 20]."""
        shown = row(self.picture, self.view, name, bars, cells, self.glyphs)
        minute = self.minutes(cells.minute)[INSTRUMENTS.index(name)]
        line = Strip([*self.front(shown, cells), *self.past(shown, minute)])
        return line.adjust_cell_length(width, self.look("cursor" if shown.selected else ""))

    def front(self, shown: Row, cells: Columns) -> list[Segment]:
        """A row up to its last minute; what looks as it did is not drawn again."""
        if (found := self.seen.get(shown)) is None:
            found = self.styled(row_runs(shown, cells, self.glyphs), shown.active, shown.selected)
        self.kept[shown] = found
        return found

    def past(self, shown: Row, minute: NDArray[np.float32]) -> list[Segment]:
        """A row's last minute, drawn once an update."""
        key = (minute.tobytes(), shown.threshold, self.view.minute, shown.active, shown.selected)
        if (found := self.seen.get(key)) is None:
            runs = minute_runs(minute, shown.threshold, self.view.minute, self.glyphs)
            found = self.styled(runs, shown.active, shown.selected)
        self.kept[key] = found
        return found

    def minutes(self, width: int) -> NDArray[np.float32]:
        """The last minute of every row, float32 [20, width]; found once an update."""
        key = (id(self.picture.trail), width, self.voice)
        if self.minute is None or self.minute[0] != key:
            self.minute = (key, np.ascontiguousarray(self.picture.columns(width, self.voice)))
        return self.minute[1]

    def networks(self, name: str, cells: Columns, bars: NDArray[np.float32], width: int) -> list[Strip]:
        """What every network says of the selected instrument, a line each."""
        strips = []
        for voice, (model, (p, threshold)) in enumerate(
            zip(self.picture.info.models, self.picture.opinions(name), strict=True), start=1
        ):
            value = float(bars[voice, INSTRUMENTS.index(name)]) if voice < len(bars) else 0.0
            active = p is not None and p >= threshold
            segments = self.styled(model_runs(model, value, p, threshold, cells, self.glyphs), active, True)
            strips.append(Strip(segments).adjust_cell_length(width, self.look("cursor")))
        return strips

    def styled(self, runs: list[Run], active: bool, selected: bool) -> list[Segment]:
        """A row's runs in the colours of the style sheet."""
        paper = Style(bgcolor=self.look("cursor" if selected else "").bgcolor)
        segments = []
        for part, text in runs:
            style = self.look(f"{part}-on" if active and part in BRIGHTER else part)
            segments.append(Segment(text, style if part in ON_TRACK else style + paper))
        return segments

    def redraw(self) -> None:
        self.shape = self.fitting
        super().redraw()

    def begin_anew(self) -> None:
        self.kept, self.shape = {}, None
        super().begin_anew()

    def on_click(self, event: events.Click) -> None:
        line = event.y + self.scroll_offset.y
        name = next((name for name in self.order if self.line_of(name) == line), None)
        self.post_message(RowChosen(name))
