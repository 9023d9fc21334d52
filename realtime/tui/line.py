"""One line of the screen, drawn straight from runs: the base of every widget here."""

import re
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from instrec_live.realtime.tui.bar import Run


def printable(text: str) -> str:
    """`text` without control characters: names of files and devices come from anywhere."""
    return re.sub(r"\s+", " ", "".join(sign if sign.isprintable() else "?" for sign in text))


def fitted(text: str, width: int, ellipsis: str) -> str:
    """`text` in exactly `width` cells (wide signs count two), shortened with an ellipsis where it must be."""
    if cell_len(text) > width > 0:
        text = set_cell_size(text, width - 1).rstrip() + ellipsis
    return set_cell_size(text, max(0, width))


def length(runs: Sequence[Run]) -> int:
    """How many cells the runs take."""
    return sum(cell_len(text) for _, text in runs)


def spread(left: Sequence[Run], right: Sequence[Run], width: int) -> list[Run]:
    """`left` and `right` at the two ends of `width` cells."""
    return [*left, ("space", " " * max(0, width - length(left) - length(right))), *right]


class Line(Widget):
    """A widget of one line. Subclasses say in `runs` what stands on it; component classes style the parts."""

    def runs(self, width: int) -> list[Run]:
        """What to draw on `width` cells; what is too long is cropped."""
        raise NotImplementedError

    def part_style(self, part: str) -> Style:
        """The style of a part: its component class, or the line's own style where it has none."""
        return self.get_component_rich_style(part, default=self.rich_style)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y > 0:
            return Strip.blank(width, self.rich_style)
        segments = [Segment(text, self.part_style(part)) for part, text in self.runs(width)]
        return Strip(segments).adjust_cell_length(width, self.rich_style)
