"""The picture of a run: instruments by time, as PNG or SVG. The only file of `realtime` that loads matplotlib."""

import textwrap
import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator
from numpy.typing import NDArray

from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.realtime.errors import printable
from instrec_live.realtime.outputs.history import MOST_EVENTS, History
from instrec_live.realtime.outputs.sink import Summary, day_of
from instrec_live.realtime.outputs.tables import moment

_INCHES, _DPI = (14.0, 6.6), 120

_INK, _EVENT, _UNHEARD = "#1b1b1b", "#D55E00", "#d9d9d9"

_MOST_LABELS = 40  # texts side by side in one picture

_STEPS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400)  # s


_TITLE_CELLS = 95  # characters of a line of the title that fit above the rows


def draw(history: History, head: Mapping[str, Any], summary: Summary, kind: str) -> bytes:
    """The timeline: the darker, the higher the probability; a bar where an instrument is active, a mark at its onset.

    `kind` is "png" or "svg". The same run gives the same bytes.
    """
    content = BytesIO()
    own: dict[Any, Any] = {**matplotlib.rcParamsDefault, "backend": "agg"}  # no matplotlibrc of the current folder
    own |= {"svg.fonttype": "none", "svg.hashsalt": "instrec-live"}
    with matplotlib.rc_context(own), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a label in a script the font lacks: boxes
        figure = Figure(figsize=_INCHES, layout="constrained")
        axes = figure.subplots()
        _rows(axes, history.instruments)
        if history.end > history.origin:
            _shades(figure, axes, history)
            _bars(axes, history)
            _labels(axes, history)
            _time_axis(axes, history)
        else:
            axes.set(xticks=[], xlabel="no sound")
        axes.set_title(_title(head, summary), loc="left", fontsize=12, parse_math=False)
        figure.savefig(content, format=kind, dpi=_DPI, metadata=_metadata(kind))
    return content.getvalue()


def _metadata(kind: str) -> dict[str, Any]:
    return {"Creator": "instrec-live", "Date": None} if kind == "svg" else {"Software": "instrec-live"}


def _title(head: Mapping[str, Any], summary: Summary) -> str:
    source, created = printable(str(head.get("source", ""))), printable(day_of(head))
    source = source if len(source) <= 60 else source[:59] + "…"
    words = summary.in_words
    lines = textwrap.wrap(words, _TITLE_CELLS, max_lines=2, placeholder=" …")
    return "\n".join([f"{source}   {created}", *lines])


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [DISPLAY_NAMES[name] for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.set_facecolor(_UNHEARD)
    for place in range(1, len(names)):
        axes.axhline(place - 0.5, color="white", linewidth=0.8)


def _shades(figure: Figure, axes: Axes, history: History) -> None:
    extent = (history.origin, history.end, len(history.instruments) - 0.5, -0.5)
    image = axes.imshow(
        np.ma.masked_invalid(history.probabilities.T),
        aspect="auto", extent=extent, vmin=0, vmax=1, cmap="Blues", interpolation="nearest", zorder=0,
    )  # fmt: skip
    bar = figure.colorbar(image, ax=axes, pad=0.01, fraction=0.02, aspect=40)
    bar.set_label("probability (grey: no sound)")


def _bars(axes: Axes, history: History) -> None:
    """A bar while the instrument is active, and a triangle at its onset."""
    segments = spells(history)
    bars = [[(start, row + 0.36), (stop, row + 0.36)] for row, start, stop in segments]
    axes.add_collection(LineCollection(bars, colors=_INK, linewidths=3.0, capstyle="butt"))
    onsets, rows = [start for _, start, _ in segments], [row + 0.18 for row, _, _ in segments]
    axes.plot(onsets, rows, linestyle="", marker=">", markersize=4.0, color=_EVENT, markeredgewidth=0)


def spells(history: History) -> list[tuple[int, float, float]]:
    """(row, onset, offset) of each segment, s; beyond the first 2000, at the grid's resolution."""
    if len(history.segments) < MOST_EVENTS:
        return [(history.instruments.index(each.name), each.onset, each.offset) for each in history.segments]
    return [
        (row, history.origin + history.cell * first, history.origin + history.cell * last)
        for row in range(len(history.instruments))
        for first, last in runs(history.active[:, row])
    ]


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """[first, last) of each run of true ones."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]


def _labels(axes: Axes, history: History) -> None:
    for number, (time, text) in enumerate(history.labels):
        axes.axvline(time, color=_EVENT, linewidth=1.0, linestyle="--")
        if number < _MOST_LABELS:
            words = text if len(text) <= 40 else text[:39] + "…"
            axes.annotate(words, (time, 0), (3, -4), xycoords=("data", "axes fraction"), textcoords="offset points",
                          rotation=90, fontsize=8, va="bottom", annotation_clip=False, parse_math=False,
                          bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1})  # fmt: skip


def _time_axis(axes: Axes, history: History) -> None:
    # A label may be where nothing was heard: of a file that was paused and sought in.
    times = [time for time, _ in history.labels]
    begins, ends = min([history.origin, *times]), max([history.end, *times])
    length = ends - begins
    step = next((step for step in _STEPS if length / step <= 14), _STEPS[-1] * np.ceil(length / _STEPS[-1] / 14))
    axes.set_xlim(begins, ends)
    axes.xaxis.set_major_locator(MultipleLocator(float(step)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: moment(seconds, step < 1)))
    axes.set_xlabel("time; bar: active, triangle: entry" + ("; dashed: a label" if history.labels else ""))
