"""What came in and what stopped, newest first: fills the room that a tall terminal has to spare."""

from typing import ClassVar

from rich.segment import Segment
from textual.strip import Strip

from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.realtime.tui.bar import Run, clock
from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.line import Line
from instrec_live.realtime.tui.picture import Event, Picture

COLUMN = 38  # cells for one entry


def event_runs(event: Event, glyphs: Glyphs) -> list[Run]:
    """ "00:42.5  ▸ in   piano", COLUMN cells wide."""
    when = f"   {clock(event.time, hours=False)}.{int(event.time * 10) % 10}  "
    what = f"{glyphs.active} in   " if event.entered else "  out  "
    text = f"{what}{DISPLAY_NAMES[event.name]}"
    return [("label", when), ("entered" if event.entered else "left", f"{text:<{COLUMN - len(when)}}")]


class Events(Line):
    """Entries and exits, column by column."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"label", "entered", "left"}

    def __init__(self, picture: Picture, glyphs: Glyphs) -> None:
        super().__init__()
        self.glyphs = glyphs
        self.events = picture.events

    def show(self, picture: Picture) -> None:
        """Draw another picture's events."""
        if picture.events != self.events:
            self.events = picture.events
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width, lines = self.size.width, self.size.height - 1
        runs: list[Run] = []
        if y == 0:
            runs = [("label", "   entries and exits, newest first")]
        else:
            for column in range(max(1, width // COLUMN)):
                number = column * lines + y - 1
                if number < len(self.events):
                    runs += event_runs(self.events[number], self.glyphs)
        segments = [Segment(text, self.part_style(part)) for part, text in runs]
        return Strip(segments).adjust_cell_length(width, self.rich_style)
