"""Bars, sparklines, dots and numbers as runs of text: pure functions, no Textual.

A run is (part, text); the part names what is drawn ("fill", "track", …) and a style sheet says how it looks.
"""

import math
from collections.abc import Iterable
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from instrec_live.realtime.tui.glyphs import Glyphs

Run = tuple[str, str]
DB_FLOOR = -60.0  # the level meter's left end, dBFS


def unit(value: float) -> float:
    """`value` clipped to 0…1; 0 for what is no number."""
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
    """The cell of a bar of `width` cells that `value` (0…1) falls into."""
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
    are full blocks whatever the colours. Where there are none, shades say how near the cold ones are.
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
