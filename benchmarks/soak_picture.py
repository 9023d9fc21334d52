"""Draws docs/pictures/soak.svg from the files that soak.py wrote: a column a file, over hours of sound.

python benchmarks/soak_picture.py
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from recognition_page import RESULTS
from recognition_pictures import BLACK, BLUE, FOLDER, STYLE
from soak_page import NAMES, is_live

Runs = Mapping[str, Mapping[str, Any]]
COLOURS = (BLACK, BLUE)
TITLES = {"max": "as fast as it goes, from a pipe", "live": "from a microphone"}


def draw(records: Mapping[str, Runs]) -> Figure:
    """The runs of each file: memory; files and threads; how old updates are, or how fast it goes."""
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    grid = figure.subplots(3, len(records), squeeze=False, sharex="col")
    for column, (name, runs) in zip(grid.T, records.items(), strict=True):
        column[0].set_title(TITLES[name])
        for colour, (run_name, run) in zip(COLOURS, runs.items(), strict=False):
            _run(column, run["curves"], colour, NAMES[run_name].replace("`", ""))
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
    paths = {name: RESULTS / f"soak_{name}.json" for name in TITLES}
    records = {
        name: json.loads(path.read_text(encoding="utf-8"))["runs"] for name, path in paths.items() if path.exists()
    }
    with rc_context(STYLE):
        draw(records).savefig(FOLDER / "soak.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
