"""The sources: a row each."""

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.strip import Strip

from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.messages import RowChosen
from instrec_live.realtime.tui.strips import Strips
from instrec_live.realtime.tui.watch.head import PARTS as STATES
from instrec_live.realtime.tui.watch.row import Cells, Row, cells_of, row_runs

ON_TRACK = {"fill", "track"}
OWN_PAPER = {"state-frozen", "state-warn", "state-bad", *ON_TRACK}  # parts that the cursor's colour is not laid under


class SourceRows(Strips, can_focus=False):
    """All rows in one widget; only those that changed are drawn again."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "cursor", "marker", "recording", "name", "end", "sound", "number", "more", "why", "skip", "age", "state-frozen",
        *STATES.values(), *ON_TRACK,
    }  # fmt: skip

    def __init__(self, names: list[str], glyphs: Glyphs) -> None:
        super().__init__()
        self.names, self.glyphs = names, glyphs
        self.rows: list[Row] = []
        self.kept: dict[Row, Strip] = {}  # what is drawn now
        self.selected: str | None = None

    @property
    def cells(self) -> Cells:
        """The columns at the present width."""
        return cells_of(self.scrollable_content_region.width, self.names)

    def show(self, rows: list[Row]) -> None:
        """Draw other rows, from the top down."""
        before, self.rows = self.selected, rows
        at = next((number for number, row in enumerate(rows) if row.selected), None)
        self.selected = None if at is None else rows[at].name
        self.redraw()
        if at is not None and self.selected != before:
            self.scroll_to_region(Region(0, at, 1, 1), animate=False, force=True)

    def drawn(self, width: int) -> list[Strip]:
        cells = self.cells
        seen, self.kept = self.kept, {}
        for row in self.rows:
            self.kept[row] = seen.get(row) or self.strip_of(row, cells, width)
        return [self.kept[row] for row in self.rows]

    def strip_of(self, row: Row, cells: Cells, width: int) -> Strip:
        """A row in the colours of the style sheet."""
        ground = self.look("cursor" if row.selected else "")
        paper = Style(bgcolor=ground.bgcolor)
        segments = [Segment(text, self.styled(part, paper)) for part, text in row_runs(row, cells, self.glyphs)]
        return Strip(segments).adjust_cell_length(width, ground)

    def styled(self, part: str, paper: Style) -> Style:
        """How a part looks on the row's ground."""
        return self.look(part) if part in OWN_PAPER else self.look(part) + paper

    def begin_anew(self) -> None:
        self.kept = {}
        super().begin_anew()

    def on_click(self, event: events.Click) -> None:
        line = event.y + self.scroll_offset.y
        self.post_message(RowChosen(self.rows[line].name if line < len(self.rows) else None))
