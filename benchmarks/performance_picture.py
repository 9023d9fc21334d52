"""Draws docs/pictures/cost.svg from benchmarks/results/cost.json, written by cost.py.

python benchmarks/performance_picture.py
"""

import json
from collections.abc import Mapping

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from recognition_page import RESULTS
from recognition_pictures import BLACK, FOLDER, STYLE

PANELS = {"hops": "hop, s", "spans": "short window, s", "streams": "streams in one process"}


def draw(record: Mapping[str, Mapping[str, float]]) -> Figure:
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


def main() -> None:
    record = json.loads((RESULTS / "cost.json").read_text(encoding="utf-8"))
    with rc_context(STYLE):
        draw(record).savefig(FOLDER / "cost.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
