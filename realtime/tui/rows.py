"""The instruments: a row each."""

import math
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.strip import Strip

from instrec_live.models.arrays import FloatArray
from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.realtime.stream.activity import Activity
from instrec_live.realtime.tui.drawing import (
    Glyphs,
    Run,
    Strips,
    bar,
    cell_of,
    dots,
    fitted,
    heat,
    probability,
    sparkline,
)
from instrec_live.realtime.tui.messages import RowChosen
from instrec_live.realtime.tui.state import Minute, ScreenState, View

NAME = max(map(len, DISPLAY_NAMES.values()))

FIXED = 3 + NAME + 1 + 3 + 1 + 2 + 1  # cursor, marker, name, number, the bar's ends, the right margin

MIN_BAR, MIN_MINUTE, MAX_MINUTE = 8, 10, 120

HEAT_FROM = 34  # cells for the last minute from which it is a heat map by default


class Columns(NamedTuple):
    """Cells of each elastic part of a row."""

    name: int
    bar: int
    dots: int
    minute: int


def columns(width: int, models: int) -> Columns:
    """The parts of a row of `width` cells: a narrow one loses the last minute, then the dots, then part of its name.

    A wide one gives the last minute more than half: there it is a heat map.
    """
    room = width - FIXED
    with_dots = room - (models + 1)
    if (minute := int((with_dots - 2) * 0.45)) >= MIN_MINUTE:
        if minute >= HEAT_FROM:
            minute = int((with_dots - 2) * 0.6)
        minute = min(MAX_MINUTE, minute)
        return Columns(NAME, with_dots - 2 - minute, models, minute)
    if with_dots >= MIN_BAR:
        return Columns(NAME, with_dots, models, 0)
    name = max(4, min(NAME, NAME + room - MIN_BAR))
    return Columns(name, max(0, room + NAME - name), 0, 0)


class Row(NamedTuple):
    """All that a row shows except its last minute; equal rows look equal."""

    name: str
    value: float  # length of the bar, 0…1, to an eighth of a cell
    number: str  # how sure
    peak: float
    mark: float  # the threshold that counts now
    threshold: float  # the one that switches on, for the last minute
    activity: Activity
    selected: bool
    dots: tuple[Run, ...]


def row(state: ScreenState, view: View, name: str, bars: FloatArray, cells: Columns, glyphs: Glyphs) -> Row:
    """An instrument's row; `bars` float32 [predictors, n]: their values."""
    predictor, number = state.predictor_of(view.solo), state.info.classes.index(name)
    decision = state.decision(name, predictor)
    steps = max(1, 8 * cells.bar)
    peak = float(state.peaks[predictor, number]) if predictor < len(state.peaks) else 0.0
    p = decision.probability
    return Row(
        name=name,
        value=round(float(bars[predictor, number]) * steps) / steps if predictor < len(bars) else 0.0,
        number=glyphs.gone.rjust(3) if math.isnan(p) else probability(p),
        peak=(cell_of(peak, cells.bar) + 0.5) / max(1, cells.bar),
        mark=decision.mark,
        threshold=decision.on_at,
        activity=decision.activity,
        selected=name == view.selected,
        dots=tuple(dots(state.opinions(name), glyphs)),
    )


def sign_of(activity: Activity, glyphs: Glyphs) -> str:
    """The marker in front of a row."""
    signs = {Activity.ON: glyphs.active, Activity.HELD: glyphs.held, Activity.LEAVING: glyphs.leaving}
    return signs.get(activity, " ")


def row_runs(row: Row, cells: Columns, glyphs: Glyphs) -> list[Run]:
    """The row in `cells`, up to its last minute."""
    runs: list[Run] = [
        ("marker", glyphs.cursor if row.selected else " "),
        ("marker", f"{sign_of(row.activity, glyphs)} "),
        ("name", fitted(DISPLAY_NAMES[row.name], cells.name, glyphs.ellipsis) + " "),
        ("number", row.number + " "),
        ("end", glyphs.left),
        *bar(row.value, cells.bar, glyphs, row.mark, row.peak),
        ("end", glyphs.right),
    ]
    if cells.dots:
        runs += [("end", " "), *row.dots]
    return [*runs, ("end", "  ")] if cells.minute else runs


def minute_runs(values: FloatArray, threshold: float, minute: Minute, glyphs: Glyphs) -> list[Run]:
    """An instrument's last minute, float32 [cells], as a line or as a strip of a heat map."""
    as_heat = len(values) >= HEAT_FROM if minute is Minute.AUTO else minute is Minute.HEAT
    return (heat if as_heat else sparkline)(values, threshold, glyphs)


def model_runs(
    model: str, value: float, number: float | None, threshold: float, cells: Columns, glyphs: Glyphs
) -> list[Run]:
    """One network's bar below the selected row: `value` is its length, `number` the probability."""
    says = glyphs.gone.rjust(3) if number is None else probability(number)
    return [
        ("end", "     "),
        ("name", fitted(model, max(0, cells.name - 2), glyphs.ellipsis) + " "),
        ("number", f"{says} "),
        ("end", glyphs.left),
        *bar(value, cells.bar, glyphs, threshold),
        ("end", glyphs.right),
    ]


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

BRIGHTER = {"marker", "name", "number", "fill", "notch", "peak", "dot", "high", "low"}  # in a row that is on

DIMMED = {"marker", "number", "fill", "notch"}  # in one that is held


class Rows(Strips, can_focus=False):
    """All rows in one widget; only changed ones are drawn again."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *PARTS, *(f"{part}-on" for part in BRIGHTER), *(f"{part}-held" for part in DIMMED), "cursor"
    }  # fmt: skip

    def __init__(self, state: ScreenState, glyphs: Glyphs) -> None:
        super().__init__()
        self.state = state
        self.view = View()
        self.glyphs = glyphs
        self.order = state.info.instruments
        self.since = math.inf  # seconds since the newest update came, as it is drawn
        self.room = len(INSTRUMENTS)  # lines that the screen has for rows; a prompt takes one for a while
        self.group = 0  # a blank line after every so many rows; 0: none
        self.shape: tuple[int, int, int] | None = None  # what the strips were drawn for
        self.kept: dict[object, list[Segment]] = {}  # what is drawn now
        self.seen: dict[object, list[Segment]] = {}  # what was drawn before
        self.minute: tuple[object, NDArray[np.float32]] | None = None

    def show(self, state: ScreenState, view: View, since: float = math.inf) -> None:
        """Draw a state in a view, `since` seconds after its update."""
        if state is self.state and view is self.view and self.shape == self.fitting:
            self.since = since
            self.move()
            return
        chosen = view.selected is not None and view.selected != self.view.selected
        self.state, self.view, self.since = state, view, since
        self.put_in_order()
        self.redraw()
        if chosen and view.selected in self.order:
            line = self.line_of(view.selected or "")
            self.scroll_to_region(Region(0, line, 1, 1 + self.opened), animate=False, force=True)

    def put_in_order(self) -> None:
        """Put the rows into order."""
        line_up = self.state.info.instruments
        hidden = (name for name in line_up if name not in self.order)
        crowded = len(self.view.admitted(line_up)) > self.room
        order = self.state.order(self.view.sorting, (*self.order, *hidden), self.predictor, crowded)
        self.order = self.view.admitted(order)

    def move(self) -> None:
        """Draw the rows whose bars still move."""
        moving = {self.state.info.classes[number] for number in np.flatnonzero(self.state.moving)}
        if self.opened and self.view.selected in moving:
            self.redraw()
            return
        width = self.scrollable_content_region.width
        cells, bars = columns(width, len(self.state.info.models)), self.state.bars(self.since)
        self.seen = self.kept
        for name in moving.intersection(self.order):
            line = self.line_of(name)
            self.put(line, self.strips[line], self.drawn_row(name, cells, bars, width))

    @property
    def fitting(self) -> tuple[int, int, int]:
        """The width, the room and the grouping that strips must be drawn for now."""
        return self.scrollable_content_region.width, self.room, self.group

    @property
    def predictor(self) -> int:
        """Whose bars are shown."""
        return self.state.predictor_of(self.view.solo)

    @property
    def opened(self) -> int:
        """Lines below the selected row."""
        return len(self.state.info.models) if self.view.opened and self.view.selected in self.order else 0

    def line_of(self, name: str) -> int:
        """The line of an instrument's row."""
        number = self.order.index(name)
        line = number + (number // self.group if self.group else 0)
        after = self.opened and number > self.order.index(self.view.selected or "")
        return line + (self.opened if after else 0)

    @property
    def out_of_view(self) -> dict[str, float]:
        """Those that sound and whose rows are above or below what is seen, the surest first."""
        seen = range(self.scroll_offset.y, self.scroll_offset.y + self.size.height)
        if not self.size.height:
            return {}  # before the first layout
        hidden = [n for n in self.state.sounding(self.predictor) if n in self.order and self.line_of(n) not in seen]
        found = {name: self.state.decision(name, self.predictor).probability for name in hidden}
        return dict(sorted(found.items(), key=lambda each: -each[1]))

    def neighbour(self, steps: int) -> str:
        """The instrument so many rows below the selected one; where none is, the first or last."""
        if self.view.selected not in self.order:
            return self.order[0 if steps > 0 else -1]
        number = self.order.index(self.view.selected) + steps
        return self.order[min(len(self.order) - 1, max(0, number))]

    def drawn(self, width: int) -> list[Strip]:
        cells = columns(width, len(self.state.info.models))
        bars = self.state.bars(self.since)
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
        """One instrument's row; `bars` float32 [predictors, n]."""
        shown = row(self.state, self.view, name, bars, cells, self.glyphs)
        minute = self.minutes(cells.minute)[self.state.info.classes.index(name)]
        line = Strip([*self.front(shown, cells), *self.past(shown, minute)])
        return line.adjust_cell_length(width, self.look("cursor" if shown.selected else ""))

    def front(self, shown: Row, cells: Columns) -> list[Segment]:
        """A row up to its last minute; what looks as it did is not drawn again."""
        if (found := self.seen.get(shown)) is None:
            found = self.styled(row_runs(shown, cells, self.glyphs), shown.activity, shown.selected)
        self.kept[shown] = found
        return found

    def past(self, shown: Row, minute: NDArray[np.float32]) -> list[Segment]:
        """A row's last minute, drawn once per update."""
        key = (minute.tobytes(), shown.threshold, self.view.minute, shown.activity, shown.selected)
        if (found := self.seen.get(key)) is None:
            runs = minute_runs(minute, shown.threshold, self.view.minute, self.glyphs)
            found = self.styled(runs, shown.activity, shown.selected)
        self.kept[key] = found
        return found

    def minutes(self, width: int) -> NDArray[np.float32]:
        """The last minute of every row, float32 [n, width]; computed once per update."""
        key = (id(self.state.trail), width, self.predictor)
        if self.minute is None or self.minute[0] != key:
            self.minute = (key, np.ascontiguousarray(self.state.columns(width, self.predictor)))
        return self.minute[1]

    def networks(self, name: str, cells: Columns, bars: NDArray[np.float32], width: int) -> list[Strip]:
        """Every network's probability of the selected instrument, one line each."""
        strips = []
        for predictor, (model, (p, threshold)) in enumerate(
            zip(self.state.info.models, self.state.opinions(name), strict=True), start=1
        ):
            value = float(bars[predictor, self.state.info.classes.index(name)]) if predictor < len(bars) else 0.0
            activity = Activity.ON if p is not None and p >= threshold else Activity.OFF
            segments = self.styled(model_runs(model, value, p, threshold, cells, self.glyphs), activity, True)
            strips.append(Strip(segments).adjust_cell_length(width, self.look("cursor")))
        return strips

    def styled(self, runs: list[Run], activity: Activity, selected: bool) -> list[Segment]:
        """A row's runs in the colours of the style sheet."""
        paper = Style(bgcolor=self.look("cursor" if selected else "").bgcolor)
        segments = []
        for part, text in runs:
            if activity is Activity.ON and part in BRIGHTER:
                style = self.look(f"{part}-on")
            else:
                style = self.look(f"{part}-held" if activity is Activity.HELD and part in DIMMED else part)
            segments.append(Segment(text, style if part in ON_TRACK else style + paper))
        return segments

    def redraw(self) -> None:
        self.shape = self.fitting
        super().redraw()

    def redraw_all(self) -> None:
        self.kept, self.shape = {}, None
        self.put_in_order()
        super().redraw_all()

    def on_click(self, event: events.Click) -> None:
        line = event.y + self.scroll_offset.y
        name = next((name for name in self.order if self.line_of(name) == line), None)
        self.post_message(RowChosen(name))
