"""The pictures of a report, as PNG files 1200 pixels wide. Information shown by colour is also shown by shape or
text."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.training.evaluation.metrics import calibration_error
from instrec_live.training.evaluation.scorecard import THRESHOLDS, Comparison, Scorecard

FloatArray = NDArray[np.floating]

_INCHES, _DPI = 10.0, 120
# Okabe and Ito's colours, which colour-blind people can distinguish.
_BLUE, _ORANGE, _GREEN, _PURPLE, _GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C8C8C"
_SERIES = ((_BLUE, "o"), (_ORANGE, "s"), (_GREEN, "^"), (_PURPLE, "D"), ("#56B4E9", "v"), ("#E69F00", "P"))
_TICKS = (0, 0.02, 0.1, 0.25, 0.5, 0.75, 1)
_LEAST = 0.05  # a probability worth showing


def draw_gain(path: Path, found: Comparison, title: str, name: str = "F1@0.5") -> None:
    """Bars of every instrument's gain in F1, the largest on top, with their intervals."""
    each = found.each[name]
    order = [c for c in np.argsort(each) if np.isfinite(each[c])]
    figure, axes = _sheet(1.6 + 0.27 * len(order))
    low, high = found.each_low[name], found.each_high[name]
    for place, c in enumerate(order):
        gained = each[c] >= 0
        axes.barh(place, each[c], color=_BLUE if gained else _ORANGE, hatch="" if gained else "////",
                  edgecolor="white", height=0.72)  # fmt: skip
        if np.isfinite(low[c]):
            axes.plot([low[c], high[c]], [place, place], color="black", linewidth=1.2, marker="|", markersize=6)
        edge = np.nanmax([each[c], high[c], 0])
        axes.annotate(f"{each[c]:+.2f}", (edge, place), (6, 0), textcoords="offset points", va="center", fontsize=9)
    _instrument_rows(axes, order)
    axes.axvline(0, color="black", linewidth=0.8)
    mean, middle = found.value[name], found.value[f"median {name}"]
    axes.set_xlabel(f"difference in {name}; mean {mean:+.3f}, median {middle:+.3f}, "
                    f"{found.up(name)} up, {found.down(name)} down; lines: 95 % intervals")  # fmt: skip
    axes.margins(x=0.12)
    axes.set_title(title, loc="left")
    figure.savefig(path, dpi=_DPI)


def draw_precisions(path: Path, cards: Mapping[str, Scorecard], classes: NDArray[np.bool_], title: str) -> None:
    """Every instrument's average precision by each model, with intervals; the last model's order."""
    last = list(cards.values())[-1].value["AP"]
    order = [c for c in np.argsort(np.where(np.isfinite(last), last, -1)) if classes[c]]
    figure, axes = _sheet(1.9 + len(order) * (0.16 + 0.13 * len(cards)))
    for k, (label, card) in enumerate(cards.items()):
        colour, marker = _SERIES[k % len(_SERIES)]
        places = np.arange(len(order)) + 0.78 * ((len(cards) - 1 - k) - (len(cards) - 1) / 2) / max(len(cards), 2)
        low, high = card.interval("AP")
        axes.hlines(places, low[order], high[order], color=colour, linewidth=1.4, alpha=0.6)
        axes.plot(card.value["AP"][order], places, marker, color=colour, markersize=5.5,
                  label=f"{label}, mean {card.value['mAP']:.3f}")  # fmt: skip
    for place in range(1, len(order), 2):
        axes.axhspan(place - 0.5, place + 0.5, color="0.95", zorder=0)
    _instrument_rows(axes, order)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.set_xlabel("average precision, with 95 % intervals")
    abreast = max(1, 100 // (max(map(len, cards)) + 14))
    figure.legend(loc="outside lower center", ncols=min(len(cards), abreast), frameon=False)
    axes.set_title(title, loc="left")
    figure.savefig(path, dpi=_DPI)


def draw_reliability(path: Path, cards: Mapping[str, Scorecard], title: str) -> None:
    """Observed frequency against predicted probability, a panel per model; fifteen bins of equal mass.

    The axes are those of square roots: most probabilities are low.
    """
    across = 2 if len(cards) in (1, 2, 4) else 3
    down = -(-len(cards) // across)
    figure = Figure(figsize=(_INCHES, 0.7 + down * (_INCHES / across + 0.2)), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    for panel in panels[len(cards) :]:
        panel.set_visible(False)
    for panel, (label, card) in zip(panels, cards.items(), strict=False):
        told, true = card.reliability.told, card.reliability.true
        panel.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--", label="ideal")
        panel.vlines(told, told, true, color=_ORANGE, linewidth=2, alpha=0.7, label="gap")
        panel.plot(told, true, "o-", color=_BLUE, linewidth=1.2, markersize=4.5, label="bins of equal mass")
        panel.set_xscale("function", functions=(_root, np.square))
        panel.set_yscale("function", functions=(_root, np.square))
        panel.set(xlim=(0, 1), ylim=(0, 1), box_aspect=1)
        panel.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
        panel.set_yticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
        panel.set_title(f"{label}, ECE {calibration_error(card.reliability):.3f}", fontsize=10)
        panel.grid(color="0.92")
        panel.label_outer()
    panels[0].legend(loc="upper left", fontsize=8, frameon=False)
    figure.supxlabel("predicted probability", fontsize=10)
    figure.supylabel("observed frequency", fontsize=10)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    figure.savefig(path, dpi=_DPI)


def _root(x: FloatArray) -> FloatArray:
    return np.sqrt(np.maximum(x, 0.0))


def draw_clip(
    path: Path, samples: FloatArray, probabilities: FloatArray, truth: FloatArray, mask: FloatArray, title: str
) -> None:
    """A clip's waveform, and below it the probabilities with the marks of the thresholds.

    Args:
        samples: float32 [n] at 32 kHz.
        probabilities, truth, mask: [20].
    """
    sounds, known = truth > 0.5, mask > 0
    shown = [c for c in np.argsort(probabilities) if probabilities[c] >= _LEAST or (known[c] and sounds[c])]
    shown = shown or [int(np.argmax(probabilities))]
    height = 0.6 + 0.34 * max(len(shown), 2)
    figure = Figure(figsize=(_INCHES, 2.9 + height), layout="constrained")
    wave, bars = figure.subplots(2, 1, gridspec_kw={"height_ratios": [1.5, height]})
    _draw_wave(wave, samples)
    wave.set_title(title, loc="left")
    for place, c in enumerate(shown):
        colour, hatch = (_GREY, "....") if not known[c] else (_BLUE, "") if sounds[c] else (_ORANGE, "////")
        bars.barh(place, probabilities[c], color=colour, hatch=hatch, edgecolor="white", height=0.7,
                  alpha=1.0 if probabilities[c] >= THRESHOLDS[0] else 0.45)  # fmt: skip
        bars.annotate(_verdict(probabilities[c], bool(known[c]), bool(sounds[c])), (1, place), (8, 0),
                      xycoords=("axes fraction", "data"), textcoords="offset points", va="center", fontsize=9,
                      annotation_clip=False)  # fmt: skip
    for threshold in THRESHOLDS:
        bars.axvline(threshold, color="black", linewidth=0.9, linestyle=":")
        bars.annotate(f"{threshold:g}", (threshold, 1), (0, 3), xycoords=("data", "axes fraction"),
                      textcoords="offset points", ha="center", fontsize=8)  # fmt: skip
    _instrument_rows(bars, shown)
    bars.set(xlim=(0, 1), ylim=(-0.6, max(len(shown), 2) - 0.4))
    bars.set_xlabel("probability; plain: active, hatched: absent, dotted: unlabelled")
    figure.savefig(path, dpi=_DPI)


def _verdict(probability: float, known: bool, sounds: bool) -> str:
    over = ", ".join(f"{t:g}" for t in THRESHOLDS if probability >= t)
    if not known:
        return f"{probability:.2f}  " + (f"? detected at {over}" if over else "?")
    if sounds:
        return f"{probability:.2f}  " + (f"✓ hit at {over}" if over else "– missed")
    return f"{probability:.2f}  " + (f"✗ false at {over}" if over else "rightly left out")


def _draw_wave(axes: Axes, samples: FloatArray) -> None:
    """The lowest and highest sample of each of 1200 columns."""
    columns = np.array_split(samples, min(1200, max(1, len(samples))))
    times = np.linspace(0, len(samples) / SAMPLE_RATE, len(columns))
    axes.fill_between(times, _of_each(columns, np.min), _of_each(columns, np.max), color="0.35", linewidth=0.3)
    loudest = max(float(np.abs(samples).max()), 1e-4)
    axes.set(xlim=(0, times[-1] or 1), ylim=(-1.05 * loudest, 1.05 * loudest), yticks=[])
    axes.set_xlabel("seconds", fontsize=9)
    axes.tick_params(labelsize=8)


def _of_each(columns: list[FloatArray], extreme: Callable[[FloatArray], float]) -> list[float]:
    return [float(extreme(column)) for column in columns]


def _sheet(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_INCHES, height), layout="constrained")
    axes = figure.subplots()
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    return figure, axes


def _instrument_rows(axes: Axes, order: list[int]) -> None:
    axes.set_yticks(range(len(order)), [DISPLAY_NAMES[INSTRUMENTS[c]] for c in order])
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
