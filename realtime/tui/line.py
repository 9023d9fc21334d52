"""Widgets that are drawn straight from runs of text: the base of all on the screen."""

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from instrec_live.realtime.tui.bar import Run


class Palette(Widget):
    """A widget whose component classes style the parts of its runs.

    Textual works a style out anew whenever it is asked for it; ten times a second that is dear, so they are kept.
    """

    palette: dict[str, Style] | None = None

    @property
    def paper(self) -> Style:
        """The widget's own style."""
        return self.look("")

    def look(self, part: str) -> Style:
        """The style of a part: its component class, or the widget's own where it has none."""
        if self.palette is None:
            self.palette = {"": self.rich_style}
        if part not in self.palette:
            known = part in self.COMPONENT_CLASSES
            self.palette[part] = self.get_component_rich_style(part) if known else self.palette[""]
        return self.palette[part]

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self.palette = None

    def strip(self, runs: list[Run], width: int) -> Strip:
        """The runs in their styles, cropped or filled to `width` cells."""
        return Strip([Segment(text, self.look(part)) for part, text in runs]).adjust_cell_length(width, self.paper)


class Line(Palette):
    """A widget of one line. Subclasses say in `runs` what stands on it."""

    drawn: list[Run] | None = None

    def runs(self, width: int) -> list[Run]:
        """What to draw on `width` cells; what is too long is cropped."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw again, if something else is to be drawn."""
        if self.drawn is None or self.runs(self.size.width) != self.drawn:
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y > 0:
            return Strip.blank(width, self.paper)
        self.drawn = self.runs(width)
        return self.strip(self.drawn, width)
