"""Draws the pictures of docs/recognition.md from the files in benchmarks/results.

    python benchmarks/recognition_pictures.py
    python benchmarks/recognition_pictures.py --reliability runs/cross_validated CLIPS    # reliability.json first

Draws what is there, to docs/pictures:
    spans.svg        of spans.json, written by spans.py
    timing.svg       of timing_sweep.json, written by timing.py --sweep
    reliability.svg  of reliability.json, made here of what training.ensemble said of each clip when it was left out of
                     the fit, a csv file a network, and of the clips' labels.csv; bins a tenth wide. The ECE is that of
                     training.evaluate, of bins of equal mass.
The same files give the same pictures, byte for byte, as long as matplotlib stays the same.
"""

import argparse
import datetime
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray
from recognition_page import CHECKOUT, RESULTS

from instrec_live.models.errors import InputFileError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.command import entry
from instrec_live.training.datasets.clips import read_clip_table
from instrec_live.training.datasets.rows import read_rows
from instrec_live.training.evaluation import metrics

FloatArray = NDArray[np.floating]
Record = Mapping[str, Any]

FOLDER = CHECKOUT / "docs" / "pictures"
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
# Okabe and Ito's colours, which colour-blind people can tell apart; a marker for each too.
BLACK, BLUE, ORANGE, GREEN, GREY = "#000000", "#0072B2", "#D55E00", "#009E73", "0.55"
NETWORKS = {
    "ensemble": ("ensemble", BLACK, "o"),
    "cbam_cnn": ("CBAM-CNN", BLUE, "s"),
    "ms_crnn": ("MS-CRNN", ORANGE, "^"),
    "passt": ("PaSST", GREEN, "D"),
}
PARAMETERS = {
    "short_seconds": "recent window, s",
    "long_weight": "say of the 10 s window",
    "live_margin": "surer than in a clip, logits",
    "tau_up": "time constant of rising, s",
    "tau_down": "time constant of falling, s",
    "on_seconds": "over the threshold, s",
    "off_seconds": "under the threshold, s",
    "off_margin": "depth of hysteresis, logits",
}
DELAYS = {"median_detection_s": ("shown after", ORANGE, "s"), "median_release_s": ("let go after", GREEN, "^")}
ABREAST = 4
BINS, FEW = 10, 20


def reliability(folder: Path, clips: Path) -> dict[str, Any]:
    """Told against true, over labelled cells, of each network's csv file in `folder`.

    Raises:
        InputFileError: a file or column is missing, or a clip in one.
    """
    table, networks = read_clip_table(clips), {}
    for name in NETWORKS:
        path = folder / f"{name}.csv"
        rows = {row["file"]: row for _, row in read_rows(path, ("file", *INSTRUMENTS))[1]}
        if missing := [clip.name for clip in table.paths if clip.name not in rows]:
            raise InputFileError(f"{path}: {missing[0]} is missing", "give the clips that it was made of")
        p = np.array([[float(rows[clip.name][instrument]) for instrument in INSTRUMENTS] for clip in table.paths])
        error = metrics.calibration_error(metrics.reliability(table.labels, p, table.mask))
        known = table.mask > 0
        networks[name] = {"ECE": round(float(error), 4), "bins": bins(p[known], table.labels[known] > 0.5)}
    return {"clips": len(table), "labels": int((table.mask > 0).sum()), "networks": networks}


def bins(told: FloatArray, true: NDArray[np.bool_]) -> list[dict[str, float | None]]:
    """Ten bins of probabilities [n], a tenth wide each: mean probability, share that came true, and how many."""
    place = np.minimum((told * BINS).astype(int), BINS - 1)
    return [
        {
            "told": round(float(told[place == k].mean()), 4) if (place == k).any() else None,
            "true": round(float(true[place == k].mean()), 4) if (place == k).any() else None,
            "count": int((place == k).sum()),
        }
        for k in range(BINS)
    ]


def draw_spans(record: Record) -> Figure:
    """mAP and top-1 against the seconds heard, a line a network."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    seconds = [span["seconds"] for span in record["spans"]]
    titles = {"mAP": "mAP", "top-1": "top-1 of solos"}
    for panel, (key, title) in zip(figure.subplots(1, 2, sharey=True), titles.items(), strict=True):
        for name, (label, colour, marker) in NETWORKS.items():
            values = _floats(span["networks"][name][key] for span in record["spans"])
            bold = {"linewidth": 3.6, "markersize": 10.0} if name == "ensemble" else {}  # seen behind its members
            panel.plot(seconds, values, marker=marker, color=colour, label=label, **bold)
        panel.set_xscale("log")
        panel.set_xticks(seconds, [f"{s:g}" for s in seconds])
        panel.xaxis.set_minor_locator(NullLocator())
        panel.tick_params(labelleft=True)
        panel.set(title=title, xlabel="seconds heard")
    _legend(figure, panel)
    return figure


def draw_timing(record: Record) -> Figure:
    """For every parameter F1, and below it the delays, against its value; the program's own value dashed."""
    sweep = record["sweep"]
    blocks = -(-len(sweep) // ABREAST)
    figure = Figure(figsize=(11, 0.4 + 4.4 * blocks), layout="constrained")
    axes = figure.subplots(2 * blocks, ABREAST, squeeze=False, sharey="row")
    pairs = axes.reshape(blocks, 2, ABREAST).transpose(0, 2, 1).reshape(-1, 2)
    for panel in pairs[len(sweep) :].ravel():
        panel.set_visible(False)
    every = [row for rows in sweep.values() for row in rows]
    scores = [row["tolerant"]["f1"] for row in every]
    longest = max(row[key] or 0.0 for row in every for key in DELAYS)
    for (upper, lower), (name, rows) in zip(pairs, sweep.items(), strict=False):
        values = [row["value"] for row in rows]
        forgiving = [row["tolerant"]["f1"] for row in rows]
        upper.plot(values, forgiving, "o-", color=BLUE, label="F1, 3 s to let go forgiven")
        for key, (label, colour, marker) in DELAYS.items():
            lower.plot(values, _floats(row[key] for row in rows), marker=marker, color=colour, label=label)
        for panel in (upper, lower):
            panel.axvline(record["smoothing"][name], color=GREY, linestyle="--", linewidth=1.4, label="default")
            panel.set_xticks(values, [f"{value:g}" for value in values])
            panel.margins(x=0.12)
        upper.sharex(lower)
        upper.tick_params(labelbottom=False)
        upper.set(title=name, ylim=(min(scores) - 0.02, max(scores) + 0.02))
        lower.set(xlabel=PARAMETERS[name], ylim=(0, 1.12 * longest))
    for upper, lower in pairs[::ABREAST]:
        upper.set_ylabel("F1")
        lower.set_ylabel("seconds")
    figure.align_ylabels()
    _legend(figure, *pairs[0], last="default")
    return figure


def draw_reliability(record: Record) -> Figure:
    """What came true against what was told, and how often it was told, a column a network."""
    networks = record["networks"]
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    axes = figure.subplots(2, len(networks), squeeze=False, sharex=True, sharey="row", height_ratios=(3, 1))
    for (upper, lower), (name, found) in zip(axes.T, networks.items(), strict=True):
        label, colour, marker = NETWORKS[name]
        told, true, count = (_floats(b[key] for b in found["bins"]) for key in ("told", "true", "count"))
        some, many = count > 0, count >= FEW
        upper.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1.4, label="as it should be")
        upper.vlines(told[some], told[some], true[some], color=colour, alpha=0.35, linewidth=3)
        upper.plot(told[some], true[some], color=colour, linewidth=1.2)
        filled = (many, colour, f"bins of {FEW} labels or more")
        for chosen, face, words in (filled, (some & ~many, "white", "of fewer")):
            upper.plot(told[chosen], true[chosen], marker, color=colour, markerfacecolor=face, label=words)
        upper.set_title(f"{label}\nECE {found['ECE']:.3f}: {100 * found['ECE']:.1f} points off")
        upper.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), box_aspect=1)
        lower.bar((np.arange(len(count)) + 0.5) / len(count), count, width=0.9 / len(count), color=colour, alpha=0.75)
        lower.set(yscale="log", xlabel="probability told", ylim=(0.7, None))
        lower.set_yticks([1, 10, 100, 1000], ["1", "10", "100", "1000"])
        lower.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
        lower.yaxis.set_minor_locator(NullLocator())
    axes[0, 0].set_ylabel("share that came true")
    axes[1, 0].set_ylabel("labels")
    _legend(figure, axes[0, 0])
    return figure


PICTURES: dict[str, tuple[str, Callable[[Record], Figure]]] = {
    "spans.svg": ("spans.json", draw_spans),
    "timing.svg": ("timing_sweep.json", draw_timing),
    "reliability.svg": ("reliability.json", draw_reliability),
}


def _floats(values: Iterable[float | None]) -> FloatArray:
    """None becomes NaN, which is not drawn."""
    return np.array(list(values), np.float64)


def _legend(figure: Figure, *panels: Axes, last: str = "") -> None:
    """One for all panels, each label once."""
    named: dict[str, Any] = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    order = sorted(named, key=lambda label: label == last)
    figure.legend([named[label] for label in order], order, loc="outside upper center", ncols=len(order))


def draw(results: Path, folder: Path) -> list[Path]:
    """Draw the picture of every result file there is; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, (source, of) in PICTURES.items():
        if (results / source).exists():
            with rc_context(STYLE):
                figure = of(json.loads((results / source).read_text(encoding="utf-8")))
                figure.savefig(folder / name, metadata={"Date": None, "Creator": None})
            drawn.append(folder / name)
    return drawn


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--reliability",
        type=Path,
        nargs=2,
        metavar=("CSV_FOLDER", "CLIPS"),
        help="first write reliability.json, of training.ensemble's csv files and the clips with labels.csv",
    )
    args = parser.parse_args(argv)
    if args.reliability:
        names = " ".join(path.resolve().name for path in args.reliability)
        record = {
            "command": f"python benchmarks/recognition_pictures.py --reliability {names}",
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            **reliability(*args.reliability),
        }
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "reliability.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for path in draw(RESULTS, FOLDER):
        print(path.relative_to(CHECKOUT))


if __name__ == "__main__":
    entry(main)
