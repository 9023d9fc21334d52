"""One instrument's row as runs of text: pure functions, no Textual."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.realtime.tui.bar import Run, bar, cell_of, dots, heat, probability, sparkline
from instrec_live.realtime.tui.fitting import fitted
from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.picture import ENSEMBLE, Picture
from instrec_live.realtime.tui.view import Minute, View

NAME = max(map(len, DISPLAY_NAMES.values()))
FIXED = 3 + NAME + 1 + 3 + 1 + 2 + 1  # cursor, marker, name, number, the bar's ends, the right margin
MIN_BAR, MIN_MINUTE, MAX_MINUTE = 8, 10, 120
HEAT_FROM = 34  # cells for the last minute from which it is a heat map, if nobody chose

FloatArray = NDArray[np.float32]


class Columns(NamedTuple):
    """How many cells each elastic part of a row gets."""

    name: int
    bar: int
    dots: int
    minute: int


def columns(width: int, models: int) -> Columns:
    """The parts of a row of `width` cells: a narrow one loses the last minute, then dots, then of its name.

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
    """All that a row shows, but for its last minute; two that are equal look equal."""

    name: str
    value: float  # where the bar stands, 0…1, to an eighth of a cell
    number: str  # how sure
    peak: float
    threshold: float
    active: bool
    selected: bool
    dots: tuple[Run, ...]


def row(picture: Picture, view: View, name: str, bars: FloatArray, cells: Columns, glyphs: Glyphs) -> Row:
    """What an instrument's row shows. `bars` float32 [voices, 20]: where they stand."""
    voice, number = picture.voice_of(view.solo), INSTRUMENTS.index(name)
    threshold = picture.threshold(name, voice)
    heard = float(picture.of(voice)[number])
    steps = max(1, 8 * cells.bar)
    peak = float(picture.peaks[voice, number]) if voice < len(picture.peaks) else 0.0
    return Row(
        name=name,
        value=round(float(bars[voice, number]) * steps) / steps if voice < len(bars) else 0.0,
        number=glyphs.gone.rjust(3) if math.isnan(heard) else probability(heard),
        peak=(cell_of(peak, cells.bar) + 0.5) / max(1, cells.bar),
        threshold=threshold,
        active=name in picture.active if voice == ENSEMBLE else heard >= threshold,
        selected=name == view.selected,
        dots=tuple(dots(picture.opinions(name), glyphs)),
    )


def row_runs(row: Row, cells: Columns, glyphs: Glyphs) -> list[Run]:
    """The row as it stands in `cells`, up to its last minute."""
    runs: list[Run] = [
        ("marker", glyphs.cursor if row.selected else " "),
        ("marker", f"{glyphs.active} " if row.active else "  "),
        ("name", fitted(DISPLAY_NAMES[row.name], cells.name, glyphs.ellipsis) + " "),
        ("number", row.number + " "),
        ("end", glyphs.left),
        *bar(row.value, cells.bar, glyphs, row.threshold, row.peak),
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
    """One network's own bar, below the selected row: `value` is where it stands, `number` what it says."""
    says = glyphs.gone.rjust(3) if number is None else probability(number)
    return [
        ("end", "     "),
        ("name", fitted(model, max(0, cells.name - 2), glyphs.ellipsis) + " "),
        ("number", f"{says} "),
        ("end", glyphs.left),
        *bar(value, cells.bar, glyphs, threshold),
        ("end", glyphs.right),
    ]
