"""Draws the pictures of measurements in docs/pictures, from the files in benchmarks/results.

python benchmarks/pictures.py
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from pages import DOCS, RESULTS, SOAK_NAMES, is_live

Record = Mapping[str, Any]
STYLE = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 6.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "instrec-live",
}
# Okabe and Ito's colours, which colour-blind people can distinguish.
BLACK, BLUE = "#000000", "#0072B2"
PANELS = {"hops": "hop, s", "spans": "short window, s", "streams": "streams in one process"}
COLOURS = (BLACK, BLUE)
TITLES = {"max": "as fast as possible, from a pipe", "live": "from a microphone"}


def cost(record: Record) -> Figure:
    """Three panels: the share of a core against each."""
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    for axes, (key, label) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        places = [float(x) for x in record[key]]
        axes.plot(places, [100 * share for share in record[key].values()], "o-", color=BLACK)
        axes.set_xscale("log")
        axes.set_xticks(places, list(record[key]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_ylim(0, 115 * max(record[key].values()))
        axes.set_xlabel(label)
    figure.axes[0].set_ylabel("% of a core, each stream")
    return figure


def streams(record: Record) -> Figure:
    """Three panels against the number of streams."""
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    cases = record["cases"]
    x = [case["streams"] for case in cases]
    each, ages, memory = figure.subplots(1, 3)
    each.plot(x, [100 * case["cpu_each"] for case in cases], "o-", color=BLACK)
    each.set_ylabel("% of a core, each stream")
    ages.plot(x, [case["age_p95_s"] for case in cases], "o-", color=BLACK, label="p95")
    ages.plot(x, [case["age_p50_s"] for case in cases], "o--", color=BLACK, label="median")
    ages.set_ylabel("age of an update, s")
    ages.legend()
    memory.plot(x, [case["memory_mb"] for case in cases], "o-", color=BLACK)
    memory.set_ylabel("memory of all, MB")
    for axes in (each, ages, memory):
        axes.set_xscale("log", base=2)
        axes.set_xticks(x, list(map(str, x)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_ylim(bottom=0)
        axes.set_xlabel("streams in one process")
    return figure


def soak(records: Mapping[str, Record]) -> Figure:
    """The runs of each file: memory; files and threads; how old updates are, or how fast it goes."""
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    grid = figure.subplots(3, len(records), squeeze=False, sharex="col")
    for column, (name, runs) in zip(grid.T, records.items(), strict=True):
        column[0].set_title(TITLES[name])
        for colour, (run_name, run) in zip(COLOURS, runs.items(), strict=False):
            _run(column, run["curves"], colour, SOAK_NAMES[run_name].replace("`", ""))
        live = any(is_live(run) for run in runs.values())
        column[0].set_ylabel("memory, MB")
        column[1].set_ylabel("open files (–), threads (··)")
        column[2].set_ylabel("greatest age, s" if live else "times real time")
        column[2].set_xlabel("hours of sound")
        for axes in column:
            axes.set_ylim(bottom=0)
        column[1].yaxis.set_major_locator(MaxNLocator(integer=True))
        if len(runs) > 1:
            column[0].legend(loc="lower right")
    return figure


def _run(column: Sequence[Axes], curves: Mapping[str, Sequence[float]], colour: str, label: str) -> None:
    hours = np.asarray(curves["heard_h"])
    memory, counts, last = column
    memory.plot(hours, curves["memory_mb"], color=colour, label=label)
    counts.plot(hours, curves["files"], color=colour)
    counts.plot(hours, curves["threads"], ":", color=colour)
    if any(curves["age_s"]):
        last.plot(hours, curves["age_s"], color=colour, linewidth=1)
    else:
        last.plot(hours[1:], np.diff(hours) / np.diff(curves["wall_h"]), color=colour, linewidth=1)


def main() -> None:
    def read(name: str) -> Record:
        record: Record = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        return record

    runs = {name: read(f"soak_{name}")["runs"] for name in TITLES if (RESULTS / f"soak_{name}.json").exists()}
    with rc_context(STYLE):
        for name, figure in (("cost", cost(read("cost"))), ("streams", streams(read("streams"))), ("soak", soak(runs))):
            figure.savefig(DOCS / "pictures" / f"{name}.svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
