"""Many lines that scroll; only those that changed are drawn again."""

from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from instrec_live.realtime.tui.line import Palette


class Strips(ScrollView, Palette, can_focus=False):
    """A widget of lines. Subclasses say in `drawn` what they are."""

    def __init__(self) -> None:
        super().__init__()
        self.strips: list[Strip] = []

    def drawn(self, width: int) -> list[Strip]:
        """Every line of the widget, `width` cells wide."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw again the lines that are not as they were."""
        width = self.scrollable_content_region.width
        strips = self.drawn(width)
        old, self.strips = self.strips, strips
        if len(old) != len(strips):
            self.virtual_size = Size(width, len(strips))
            self.refresh()
            return
        for line, (before, now) in enumerate(zip(old, strips, strict=True)):
            self.put(line, before, now)

    def put(self, line: int, before: Strip, now: Strip) -> None:
        """Let one strip take the place of another."""
        self.strips[line] = now
        at = line - self.scroll_offset.y
        if before is not now and before != now and 0 <= at < self.size.height:
            self.refresh(Region(0, at, now.cell_length, 1))

    def begin_anew(self) -> None:
        """Draw every line again."""
        self.strips = []
        self.redraw()

    def on_resize(self) -> None:
        self.begin_anew()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        if self.is_mounted:
            self.call_after_refresh(self.begin_anew)

    def render_line(self, y: int) -> Strip:
        line = y + self.scroll_offset.y
        if line < len(self.strips):
            return self.strips[line]
        return Strip.blank(self.size.width, self.paper)
