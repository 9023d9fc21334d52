"""The line above the rows: what the columns mean, or the selected instrument in numbers."""

from typing import ClassVar

from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.realtime.tui.bar import Run, clock, probability
from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.line import Line, length
from instrec_live.realtime.tui.picture import Picture
from instrec_live.realtime.tui.rows import columns


def axis(width: int) -> str:
    """A bar's scale: 0, a half, 1, over `width` cells."""
    if width < 8:
        return " " * width
    line = [" "] * width
    line[0], line[width - 1] = "0", "1"
    line[width // 2 - 1 : width // 2 + 1] = ".5"
    return "".join(line)


def titles(picture: Picture, width: int) -> list[Run]:
    """The columns' names, standing where `rows.columns` puts them."""
    cells = columns(width, len(picture.info.models))
    text = f"   {'instrument':<{cells.name}.{cells.name}}  p   {axis(cells.bar)}  "
    if cells.dots:
        text += f"{'net':<{cells.dots}.{cells.dots}}"
    if cells.spark:
        text += (
            f"  {'last minute':<{cells.spark}.{cells.spark}}"
            if cells.spark < 16
            else (f"  {'last minute':<{cells.spark - 3}}now")
        )
    return [("label", text)]


def detail(picture: Picture, name: str, width: int, glyphs: Glyphs) -> list[Run]:
    """The selected instrument: its threshold, every network's probability, and since when it sounds."""
    number = INSTRUMENTS.index(name)
    runs: list[Run] = [("label", "   "), ("value", DISPLAY_NAMES[name])]
    fields = [("now", probability(float(picture.probabilities[number])))]
    fields.append(("threshold", probability(picture.info.thresholds.get(name, 0.5))))
    if picture.update is not None:
        opinions = zip(picture.info.models, picture.opinions(name), strict=True)
        fields += [(model, glyphs.gone if p is None else probability(p)) for model, (p, _) in opinions]
    if name in picture.active:
        fields.append(("since", clock(float(picture.entered[number]), hours=False)))
    for label, value in fields:
        added: list[Run] = [("label", f"  {label} "), ("value", value)]
        if length(runs) + length(added) < width:
            runs += added
    return runs


class Heading(Line):
    """Titles of the columns, or the selected row's numbers."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"label", "value"}

    def __init__(self, picture: Picture, glyphs: Glyphs) -> None:
        super().__init__()
        self.picture = picture
        self.glyphs = glyphs
        self.selected: str | None = None

    def show(self, picture: Picture, selected: str | None) -> None:
        """Draw another picture."""
        if selected is None and self.selected is None and self.size.height:
            self.picture = picture
            return  # the titles stay as they are
        self.picture, self.selected = picture, selected
        self.refresh()

    def runs(self, width: int) -> list[Run]:
        if self.selected is None:
            return titles(self.picture, width)
        return detail(self.picture, self.selected, width, self.glyphs)
