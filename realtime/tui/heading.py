"""The line above the rows: what the columns mean, or the selected instrument in numbers."""

from typing import ClassVar

from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.realtime.health import reason
from instrec_live.realtime.tui.bar import Run, clock, probability
from instrec_live.realtime.tui.fitting import length
from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.line import Line
from instrec_live.realtime.tui.picture import Picture
from instrec_live.realtime.tui.row import columns
from instrec_live.realtime.tui.view import View


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
    if cells.minute:
        past = "last minute" if cells.minute < 16 else f"{'last minute':<{cells.minute - 3}}now"
        text += f"  {past:<{cells.minute}.{cells.minute}}"
    return [("label", text)]


def detail(picture: Picture, name: str, width: int, glyphs: Glyphs) -> list[Run]:
    """The selected instrument: its threshold, every network's probability, and since when it sounds."""
    number = INSTRUMENTS.index(name)
    runs: list[Run] = [("label", "   "), ("value", DISPLAY_NAMES[name])]
    fields = [("now", probability(float(picture.probabilities[number])))]
    fields.append(("threshold", probability(picture.threshold(name))))
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


def solo_runs(model: str) -> list[Run]:
    """Whose opinion is shown, where it is one network's alone."""
    return [
        ("label", "   "),
        ("value", model),
        ("label", " alone"),
        ("label", "  its key again, or esc, shows all together"),
    ]


class Heading(Line):
    """Titles of the columns; or the selected row's numbers, the network that is shown alone, the state's reason."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"label", "value", "reason"}

    def __init__(self, picture: Picture, glyphs: Glyphs) -> None:
        super().__init__()
        self.picture = picture
        self.view = View()
        self.glyphs = glyphs

    def show(self, picture: Picture, view: View) -> None:
        """Draw another picture."""
        self.picture, self.view = picture, view
        self.redraw()

    def runs(self, width: int) -> list[Run]:
        if self.view.selected is not None:
            return detail(self.picture, self.view.selected, width, self.glyphs)
        if self.view.solo is not None:
            return solo_runs(self.view.solo)
        update = self.picture.update
        if update is not None and not self.picture.ended and (words := reason(update)):
            return [("label", "   "), ("reason", words)]
        return titles(self.picture, width)
