"""The twenty instruments: a row each."""

from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.realtime.tui.bar import Run, bar, dots, probability, sparkline
from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.line import fitted
from instrec_live.realtime.tui.messages import RowChosen
from instrec_live.realtime.tui.picture import Picture, Sorting

NAME = max(map(len, DISPLAY_NAMES.values()))
FIXED = 3 + NAME + 1 + 3 + 1 + 2 + 1  # cursor, marker, name, number, the bar's ends, the right margin
MIN_BAR, MIN_SPARK, MAX_SPARK = 8, 10, 120
ON_TRACK = {"fill", "track", "mark", "notch", "peak"}  # parts with a background of their own
PARTS = {"marker", "name", "number", "end", "dot", "ring", "gone", "high", "low", "base", *ON_TRACK}
BRIGHTER = {"marker", "name", "number", "fill", "notch", "peak", "dot", "high", "low"}  # in a row that sounds


class Columns(NamedTuple):
    """How many cells each elastic part of a row gets."""

    name: int
    bar: int
    dots: int
    spark: int


def columns(width: int, models: int) -> Columns:
    """The parts of a row of `width` cells: a narrow one loses sparkline, then dots, then of its name."""
    room = width - FIXED
    with_dots = room - (models + 1)
    if (spark := int((with_dots - 2) * 0.45)) >= MIN_SPARK:
        spark = min(MAX_SPARK, spark)
        return Columns(NAME, with_dots - 2 - spark, models, spark)
    if with_dots >= MIN_BAR:
        return Columns(NAME, with_dots, models, 0)
    name = max(4, min(NAME, NAME + room - MIN_BAR))
    return Columns(name, max(0, room + NAME - name), 0, 0)


def row_runs(
    picture: Picture, name: str, spark: NDArray[np.float32], cells: Columns, glyphs: Glyphs, selected: bool
) -> list[Run]:
    """One instrument's row. `spark` is float32 [cells.spark], its last minute."""
    number = INSTRUMENTS.index(name)
    value, peak = float(picture.probabilities[number]), float(picture.peaks[number])
    threshold = picture.info.thresholds.get(name, 0.5)
    active = name in picture.active
    runs: list[Run] = [
        ("marker", glyphs.cursor if selected else " "),
        ("marker", f"{glyphs.active} " if active else "  "),
        ("name", fitted(DISPLAY_NAMES[name], cells.name, glyphs.ellipsis) + " "),
        ("number", probability(value) + " "),
        ("end", glyphs.left),
        *bar(value, cells.bar, glyphs, threshold, peak),
        ("end", glyphs.right),
    ]
    if cells.dots:
        runs += [("end", " "), *dots(picture.opinions(name), glyphs)]
    if cells.spark:
        runs += [("end", "  "), *sparkline(spark, threshold, glyphs)]
    return [*runs, ("end", " ")]


class Rows(ScrollView, can_focus=False):
    """All rows in one widget; only those that changed are drawn again."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*PARTS, *(f"{part}-on" for part in BRIGHTER), "cursor"}

    def __init__(self, picture: Picture, glyphs: Glyphs) -> None:
        super().__init__()
        self.picture = picture
        self.glyphs = glyphs
        self.sorting = Sorting.FIXED
        self.order = INSTRUMENTS
        self.selected: str | None = None
        self.group = 0  # a blank line after every so many rows; 0: none
        self.strips: list[Strip] = []
        self.palette: dict[str, Style] = {}

    def show(self, picture: Picture) -> None:
        """Draw another picture."""
        self.picture = picture
        self.order = picture.order(self.sorting, self.order)
        self.redraw()

    def sort(self, sorting: Sorting) -> None:
        """Put the rows into another order."""
        self.sorting = sorting
        self.order = self.picture.order(sorting, self.order)
        self.redraw()

    def line_of(self, name: str) -> int:
        """The line that an instrument's row stands on."""
        number = self.order.index(name)
        return number + (number // self.group if self.group else 0)

    def select(self, name: str | None) -> None:
        """Mark an instrument's row, and scroll to it."""
        self.selected = name
        self.redraw()
        if name is not None:
            self.scroll_to_region(Region(0, self.line_of(name), 1, 1), animate=False, force=True)

    def neighbour(self, steps: int) -> str:
        """The instrument so many rows below the selected one; where none is, the first or last."""
        if self.selected is None:
            return self.order[0 if steps > 0 else -1]
        number = self.order.index(self.selected) + steps
        return self.order[min(len(self.order) - 1, max(0, number))]

    def drawn(self, width: int) -> list[Strip]:
        """Every line of the widget, `width` cells wide."""
        cells = columns(width, len(self.picture.info.models))
        sparks = self.picture.columns(cells.spark)
        strips: list[Strip] = []
        for name in self.order:
            selected = name == self.selected
            runs = row_runs(self.picture, name, sparks[INSTRUMENTS.index(name)], cells, self.glyphs, selected=selected)
            while len(strips) < self.line_of(name):
                strips.append(Strip.blank(width, self.rich_style))
            strips.append(self.styled(runs, width, name in self.picture.active, selected))
        return strips

    def styled(self, runs: list[Run], width: int, active: bool, selected: bool) -> Strip:
        """A row's runs in the colours of the style sheet."""
        ground = self.look("cursor") if selected else self.rich_style
        paper = Style(bgcolor=ground.bgcolor)
        segments = []
        for part, text in runs:
            style = self.look(f"{part}-on" if active and part in BRIGHTER else part)
            segments.append(Segment(text, style if part in ON_TRACK else style + paper))
        return Strip(segments).adjust_cell_length(width, ground)

    def look(self, part: str) -> Style:
        """The style of a component class; Textual forgets its own at every refresh, and they are dear."""
        if part not in self.palette:
            self.palette[part] = self.get_component_rich_style(part)
        return self.palette[part]

    def redraw(self) -> None:
        """Draw again the lines that are not as they were."""
        width = self.scrollable_content_region.width
        strips = self.drawn(width)
        old, self.strips = self.strips, strips
        if len(old) != len(strips):
            self.virtual_size = Size(width, len(strips))
            self.refresh()
            return
        top = self.scroll_offset.y
        for line, (before, now) in enumerate(zip(old, strips, strict=True)):
            if before != now and 0 <= line - top < self.size.height:
                self.refresh(Region(0, line - top, width, 1))

    def on_resize(self) -> None:
        self.strips = []
        self.redraw()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self.palette = {}
        if self.is_mounted:
            self.strips = []
            self.call_after_refresh(self.redraw)

    def render_line(self, y: int) -> Strip:
        line = y + self.scroll_offset.y
        if line < len(self.strips):
            return self.strips[line]
        return Strip.blank(self.size.width, self.rich_style)

    def on_click(self, event: events.Click) -> None:
        line = event.y + self.scroll_offset.y
        name = next((name for name in self.order if self.line_of(name) == line), None)
        self.post_message(RowChosen(name))
