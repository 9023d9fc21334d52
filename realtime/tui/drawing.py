"""Bars, sparklines, dots and numbers as runs of text, the characters they use, and the widgets that draw runs.

A run is (part, text); the part names what is drawn ("fill", "track", …) and a style sheet has its style.
"""

import locale
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from unicodedata import category

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One character per sign, except the scales, which run from empty to full, and names of keys."""

    eighths: str = " ▏▎▍▌▋▊▉█"  # one cell of a bar
    spark: str = "▁▂▃▄▅▆▇█"  # one moment of the last minute
    left: str = " "  # the bar's ends
    right: str = " "
    track: str = " "  # the unlit part of a bar; a tinted background shows it
    threshold: str = "┊"
    peak: str = "│"
    active: str = "▸"
    held: str = "▹"  # still active, below the threshold that switches on
    leaving: str = "◃"  # still active, below the one that switches off
    cursor: str = "▌"
    dot: str = "●"
    ring: str = "○"
    gone: str = "–"  # a network that gives no numbers
    arrow: str = "→"
    ellipsis: str = "…"
    up_down: str = "↑↓"
    left_right: str = "←→"
    play: str = "▶"
    pause: str = "❚❚"
    label: str = "◆"
    rule: str = "─"
    knob: str = "●"
    shades: str = " ░▒▓█"  # from nothing to everything, where there is no colour
    tinted: bool = True  # colours show the value, in addition to the shape


UNICODE = Glyphs()

PLAIN = replace(UNICODE, left="▕", right="▏", track="·", tinted=False)  # no colour: the track must be drawn

ASCII = Glyphs(
    eighths=" #", spark="_.:-=+*#", left="[", right="]", track=" ", threshold=":", peak="|", active=">", held=")",
    leaving="(", cursor="|", dot="o", ring=".", gone="-", arrow=">", ellipsis="~", up_down="up/down",
    left_right="left/right", play=">", pause="||", label="*", rule="-", knob="o", shades=" .:*#", tinted=False,
)  # fmt: skip


def for_terminal() -> Glyphs:
    """The richest set that this process's locale, TERM and NO_COLOR allow."""
    # The Linux console has no eighth blocks; an ASCII locale has none of these characters.
    if os.environ.get("TERM") in {"linux", "dumb"} or "UTF" not in locale.getencoding().upper():
        return ASCII
    return PLAIN if "NO_COLOR" in os.environ else UNICODE


Run = tuple[str, str]

DB_FLOOR = -60.0  # the level meter's left end, dBFS


def unit(value: float) -> float:
    """`value` clipped to 0…1; 0 for NaN."""
    return min(1.0, max(0.0, value)) if math.isfinite(value) else 0.0


def merged(cells: Iterable[Run]) -> list[Run]:
    """Neighbouring runs of one part joined."""
    return [(part, "".join(text for _, text in run)) for part, run in groupby(cells, key=lambda cell: cell[0])]


def bar(
    value: float, width: int, glyphs: Glyphs, threshold: float | None = None, peak: float | None = None
) -> list[Run]:
    """A horizontal bar of `width` cells with an eighth of a cell's resolution (a whole cell's in ASCII).

    `value`, `threshold` and `peak` are 0…1. Parts: "fill" (lit), "track" (unlit), "mark" (threshold on the
    track), "notch" (the threshold inside the lit part), "peak" (the peak hold, right of the lit part).
    """
    if width <= 0:
        return []
    steps = len(glyphs.eighths) - 1
    whole, rest = divmod(round(unit(value) * width * steps), steps)
    cells = [("fill", glyphs.eighths[-1])] * whole
    if rest:
        cells.append(("fill", glyphs.eighths[rest]))
    lit = len(cells)
    cells += [("track", glyphs.track)] * (width - lit)
    if threshold is not None:
        cell = cell_of(threshold, width)
        cells[cell] = ("notch" if cell < whole else "mark", glyphs.threshold)
    if peak is not None and (cell := cell_of(peak, width)) >= max(1, lit):  # in the first cell it says nothing
        cells[cell] = ("peak", glyphs.peak)
    return merged(cells)


def cell_of(value: float, width: int) -> int:
    """The cell of `value` (0…1) in a bar of `width` cells."""
    return min(width - 1, int(unit(value) * width))


def sparkline(values: NDArray[np.float32], threshold: float, glyphs: Glyphs) -> list[Run]:
    """One character a value (float32 [n], 0…1; NaN: blank).

    Parts: "high" (≥ threshold), "low", "base" (next to nothing).
    """
    levels = len(glyphs.spark)

    def cell(value: float) -> Run:
        if math.isnan(value):
            return "base", " "
        step = min(levels - 1, int(unit(value) * levels))
        return ("high" if value >= threshold else "low" if step else "base"), glyphs.spark[step]

    return merged(map(cell, values.tolist()))


def heat(values: NDArray[np.float32], threshold: float, glyphs: Glyphs) -> list[Run]:
    """One strip of a heat map: a cell a value (float32 [n], 0…1; NaN: blank).

    Parts: "cold-0" … "cold-4" below the threshold, the nearer the higher; "warm-0" … "warm-2" from it on, which
    are full blocks with any colours. Without colours, shades show how near the cold ones are.
    """

    def cell(value: float) -> Run:
        if math.isnan(value):
            return "cold-0", " "
        if value >= threshold:
            step = min(2, int(3 * (unit(value) - threshold) / max(1e-6, 1 - threshold)))
            return f"warm-{step}", glyphs.shades[-1]
        part = unit(value) / threshold
        return f"cold-{int(5 * part)}", " " if glyphs.tinted else glyphs.shades[int((len(glyphs.shades) - 1) * part)]

    return merged(map(cell, values.tolist()))


def dots(opinions: Iterable[tuple[float | None, float]], glyphs: Glyphs) -> list[Run]:
    """One sign for each network's (probability, threshold): "dot" from the threshold on, "ring" below it.

    "gone" where the probability is None: the network gives no numbers.
    """

    def sign(value: float | None, threshold: float) -> Run:
        if value is None:
            return "gone", glyphs.gone
        return ("dot", glyphs.dot) if value >= threshold else ("ring", glyphs.ring)

    return [sign(value, threshold) for value, threshold in opinions]


def decay(peak: float, value: float, seconds: float, fall: float) -> float:
    """The peak hold after `seconds`: it sinks by `fall` a second, but never below `value`."""
    return max(value, peak - fall * max(0.0, seconds))


def probability(value: float) -> str:
    """Three characters: ".83", "1.0"."""
    hundredths = round(unit(value) * 100)
    return "1.0" if hundredths == 100 else f".{hundredths:02d}"


def level(db: float) -> float:
    """dBFS as a part (0…1) of the level meter."""
    return unit(1 - db / DB_FLOOR)


def clock(seconds: float, hours: bool = True) -> str:
    """ "01:02:03", or "02:03" where hours are not wanted and there are none."""
    minutes, second = divmod(int(max(0.0, seconds)), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02d}:{minute:02d}:{second:02d}" if hours or hour else f"{minute:02d}:{second:02d}"


def printable(text: str) -> str:
    """`text` without control characters: names of files and devices come from anywhere.

    Format characters, as the joiners within emoji, are left out: terminals differ in how many cells such signs take.
    """
    line = re.sub(r"\s+", " ", text)
    return "".join(c if c.isprintable() else "" if category(c) == "Cf" else "?" for c in line)


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


class Palette(Widget):
    """A widget whose component classes style the parts of its runs.

    Textual computes a style whenever it is asked for; that is slow ten times a second, so styles are cached.
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
    """A widget of one line, whose content subclasses give in `runs`."""

    drawn: list[Run] | None = None

    def runs(self, width: int) -> list[Run]:
        """What to draw on `width` cells; what is too long is cropped."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw again if the content has changed."""
        if self.drawn is None or self.runs(self.size.width) != self.drawn:
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y > 0:
            return Strip.blank(width, self.paper)
        self.drawn = self.runs(width)
        return self.strip(self.drawn, width)


class Strips(ScrollView, Palette, can_focus=False):
    """A widget of lines, which subclasses give in `drawn`."""

    def __init__(self) -> None:
        super().__init__()
        self.strips: list[Strip] = []

    def drawn(self, width: int) -> list[Strip]:
        """Every line of the widget, `width` cells wide."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw the changed lines again."""
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

    def redraw_all(self) -> None:
        """Draw every line again."""
        self.strips = []
        self.redraw()

    def on_resize(self) -> None:
        self.redraw_all()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        if self.is_mounted:
            self.call_after_refresh(self.redraw_all)

    def render_line(self, y: int) -> Strip:
        line = y + self.scroll_offset.y
        if line < len(self.strips):
            return self.strips[line]
        return Strip.blank(self.size.width, self.paper)
