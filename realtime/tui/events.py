"""When each instrument sounded, newest first: fills the room that a large terminal has to spare."""

from typing import ClassVar

from textual.strip import Strip

from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.realtime.tui.bar import Run, clock
from instrec_live.realtime.tui.fitting import fitted
from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.line import Palette
from instrec_live.realtime.tui.picture import Picture, Stretch

NAME = 21
COLUMN = NAME + 25  # cells for one entry: also of an evening, whose times are "in 01:02:03 out 01:02:45"


def stretch_runs(stretch: Stretch, glyphs: Glyphs) -> list[Run]:
    """ "▸ piano   in 00:41 out 01:12", COLUMN cells wide; without "out" while it sounds."""
    if stretch.label:
        time = f" at {clock(stretch.start, hours=False)}  "
        text = fitted(stretch.name, COLUMN - 3 - len(time), glyphs.ellipsis)
        return [("entered", f" {glyphs.label} {text}"), ("label", time)]
    sounds = stretch.stop is None
    name = f" {glyphs.active if sounds else ' '} {DISPLAY_NAMES[stretch.name]}"
    times = f"in {clock(stretch.start, hours=False)}"
    if stretch.stop is not None:
        times += f" out {clock(stretch.stop, hours=False)}"
    return [
        ("entered" if sounds else "left", f"{name:<{NAME}}"),
        ("label", fitted(times, COLUMN - NAME, glyphs.ellipsis)),
    ]


class Events(Palette):
    """Entries and exits, column by column."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"label", "entered", "left"}

    def __init__(self, picture: Picture, glyphs: Glyphs) -> None:
        super().__init__()
        self.glyphs = glyphs
        self.stretches = picture.stretches

    def show(self, picture: Picture) -> None:
        """Draw another picture's."""
        if picture.stretches != self.stretches:
            self.stretches = picture.stretches
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width, lines = self.size.width, self.size.height - 1
        runs: list[Run] = []
        if y == 0:
            runs = [("label", "   what came in and went, newest first")]
        else:
            for column in range(max(1, width // COLUMN)):
                number = column * lines + y - 1
                if number < len(self.stretches):
                    runs += stretch_runs(self.stretches[number], self.glyphs)
        return self.strip(runs, width)
