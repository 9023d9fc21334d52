"""Writes the figures of docs/recognition.md from the files in benchmarks/results.

    python benchmarks/recognition_page.py            # write
    python benchmarks/recognition_page.py --check    # exit 1 if the page is out of date

Reads what is there (tagging.json is what a scorer says of the cross-validated csv files of training.ensemble):
    tagging.json        {network: {"all" | "solo" | "poly": {"clips", "mAP", "top-1", "F1 shown", "ECE",
                        "interval": {figure: [low, high]}, "AP": {instrument: average precision}}}}
    reliability.json    written by recognition_pictures.py --reliability
    spans.json          written by spans.py
    strangers.json      written by strangers.py
    timing.json         written by timing.py
    timing_sweep.json   written by timing.py --sweep
    demo_timeline.json  written by demo_timeline.py
The pictures of docs/pictures are drawn by recognition_pictures.py.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
PAGE = CHECKOUT / "docs" / "recognition.md"
RESULTS = CHECKOUT / "benchmarks" / "results"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
COLUMNS = ("mAP", "micro-AP", "top-1", "F1 shown", "ECE")


def tagging(report: Mapping[str, Any]) -> list[str]:
    """Tables of the labelled clips: every network on all, solo and mixed clips; then each instrument."""
    lines = [
        "### Tagging",
        "",
        f"| network | clips | {' | '.join(COLUMNS)} |",
        "|---|---|" + "---|" * len(COLUMNS),
    ]
    for name, parts in report.items():
        for part, figures in parts.items():
            cells = [_figure(figures, column) for column in COLUMNS]
            lines.append(f"| {Path(name).stem} | {part}, {figures['clips']} | {' | '.join(cells)} |")
    precisions = {Path(name).stem: parts.get("all", {}).get("AP", {}) for name, parts in report.items()}
    instruments = sorted({instrument for by_name in precisions.values() for instrument in by_name})
    if instruments:
        lines += ["", f"| average precision | {' | '.join(precisions)} |", "|---|" + "---|" * len(precisions)]
        for instrument in instruments:
            cells = [f"{by_name[instrument]:.2f}" if instrument in by_name else "–" for by_name in precisions.values()]
            lines.append(f"| {instrument} | {' | '.join(cells)} |")
    return lines


def _figure(figures: Mapping[str, Any], column: str) -> str:
    value = figures.get(column)
    if value is None or not math.isfinite(value):
        return "–"
    low, high = figures.get("interval", {}).get(column, (None, None))
    return f"{value:.2f}" + (f" [{low:.2f}–{high:.2f}]" if low is not None else "")


def reliability(record: Mapping[str, Any]) -> list[str]:
    """The picture of told against true."""
    errors = ", ".join(f"{name} {found['ECE']:.3f}" for name, found in record["networks"].items())
    return [
        f"What was told of {record['clips']} clips, cross-validated, against what came true of {record['labels']:,}"
        " labels; the ECE is how far these are apart on average, over bins of equal mass:",
        "",
        _picture("reliability", f"The share that came true against the probability told; ECE: {errors}"),
    ]


def spans(record: Mapping[str, Any]) -> list[str]:
    """How good every network is after some seconds."""
    heard = record["spans"]
    names = list(heard[0]["networks"])
    lines = ["### How much sound it takes", "", f"| mAP / top-1 | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for span in heard:
        cells = [f"{_figure(span['networks'][n], 'mAP')} / {_figure(span['networks'][n], 'top-1')}" for n in names]
        lines.append(f"| {span['seconds']:g} s | {' | '.join(cells)} |")
    return [
        *lines,
        "",
        f"`{Path(record['command'].split()[1]).name}`, {record['date'][:10]}: excerpts of {record['clips']} clips,"
        f" every clip counting once; {sum(span['left_out'] for span in heard)} of"
        f" {sum(span['left_out'] + span['excerpts'] for span in heard)} left out for being more than 20 dB quieter than"
        " their clip. The networks are as they ship, not cross-validated.",
        "",
        _picture("spans", "mAP and top-1 against the seconds heard, a line a network"),
    ]


def strangers(record: Mapping[str, Any]) -> list[str]:
    """What instruments beside the 20 were taken for."""
    lines = ["### Instruments it has no name for", ""]
    lines += ["| instrument | excerpts | given a name | highest probability | names |", "|---|---|---|---|---|"]
    for instrument, found in record["strangers"].items():
        names = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in found["names"].items()) or "–"
        cells = (instrument.replace("_", " "), found["excerpts"], found["named"], f"{found['highest']:.2f}", names)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    excerpts, named = (sum(found[key] for found in record["strangers"].values()) for key in ("excerpts", "named"))
    return [
        *lines,
        "",
        f"`strangers.py`, {record['date'][:10]}: 10 s each of a soundfont that no network has learnt from"
        f" ({', '.join(record['sources'])}); {named} of {excerpts} were given a name, which is wrong each time.",
    ]


def following(record: Mapping[str, Any]) -> list[str]:
    """The demo clip: one row an entry, then the figures of the whole."""
    lines = ["### Following the demo clip", "", f"`{record['command']}`, {record['date'][:10]}", ""]
    lines += ["| instrument | audible, s | shown after, s | let go after, s |", "|---|---|---|---|"]
    for entry in record["by_entry"]:
        delay, release = entry["detection_s"], entry["release_s"]
        shown = "never" if delay is None else f"{delay:.1f}"
        gone = "–" if release is None else f"{release:.1f}"
        span = f"{entry['onset']:.1f} – {entry['offset']:.1f}"
        lines.append(f"| {entry['instrument']} | {span} | {shown} | {gone} |")
    false = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in record["false_seconds"].items())
    strict, tolerant = record["strict"], record["tolerant"]
    in_time, entries = record["entries_in_time"], record["entries"]
    shown, gone = _seconds(record["median_detection_s"]), _seconds(record["median_release_s"])
    return [
        *lines,
        "",
        f"- shown within {record['within_s']:.0f} s: {in_time} of {entries} entries",
        f"- median delay: shown {shown}, let go {gone}",
        f"- of the instrument-seconds shown, {strict['precision']:.0%} were right"
        f" ({tolerant['precision']:.0%} if {record['release_tolerance_s']:.0f} s to let go are forgiven);"
        f" of those heard, {strict['recall']:.0%} were shown",
        f"- shown but not heard: {false or 'nothing'}",
    ]


def timing(record: Mapping[str, Any]) -> list[str]:
    """Timelines made of real solos: how soon and how rightly."""
    strict, tolerant = record["strict"], record["tolerant"]
    minutes = record["timelines"] * record["seconds"] / 60
    shown, gone = _seconds(record["median_detection_s"]), _seconds(record["median_release_s"])
    return [
        "### Following solos that come and go",
        "",
        f"`{Path(record['command'].split()[1]).name}`, {record['date'][:10]}: {record['timelines']} timelines,"
        f" {minutes:.0f} minutes, {record['entries']} entries, updates every {record['hop']:g} s.",
        "",
        f"- shown within 3 s: {record['share_in_time']:.0%} of the entries",
        f"- median delay: shown {shown}, let go {gone}",
        f"- of the instrument-seconds shown, {strict['precision']:.0%} were right ({tolerant['precision']:.0%} if 3 s"
        f" to let go are forgiven); of those heard, {strict['recall']:.0%} were shown",
        *(f"- {_calm(kind, figures)}" for kind, figures in record.get("calm", {}).items()),
    ]


def _calm(kind: str, figures: Mapping[str, float]) -> str:
    """What is shown of whole clips, in which nothing comes or goes."""
    return (
        f"of whole clips of {'one instrument' if kind == 'solo' else 'several instruments'}, in which nothing comes or"
        f" goes: {figures['precision']:.0%} of what is shown is right, {figures['recall']:.0%} of what sounds is shown,"
        f" and something changes {figures['changes_a_minute']:.0f} times a minute"
    )


def sweep(record: Mapping[str, Any]) -> list[str]:
    """The picture of what the smoothing's parameters do."""
    return [
        f"What each of the smoothing's parameters does, {record['date'][:10]}, seed {record['seed']},"
        f" {record['timelines']} timelines; one after another, each beside the best of those before it:",
        "",
        _picture("timing", "F1 and the median delays of showing and letting go against the value of each parameter, the"
                 " program's own marked"),
    ]  # fmt: skip


def _picture(name: str, alt: str) -> str:
    return f"![{alt}](pictures/{name}.svg)"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"


def filled(page: str, figures: str, begin_mark: str = BEGIN, end_mark: str = END) -> str:
    """The page with what stands between two marks replaced.

    Raises:
        ValueError: a mark is missing.
    """
    before, begin, rest = page.partition(begin_mark)
    _, end, after = rest.partition(end_mark)
    if not begin or not end:
        raise ValueError(f"the page lacks {begin_mark} or {end_mark}")
    return f"{before}{begin_mark}\n{figures}\n{end_mark}{after}"


PARTS = {
    "tagging.json": tagging,
    "reliability.json": reliability,
    "spans.json": spans,
    "strangers.json": strangers,
    "timing.json": timing,
    "timing_sweep.json": sweep,
    "demo_timeline.json": following,
}


def figures_of(results: Path) -> str:
    blocks = []
    for name, table in PARTS.items():
        path = results / name
        if path.exists():
            blocks.append("\n".join(table(json.loads(path.read_text(encoding="utf-8")))))
    return "\n\n".join(blocks) or (
        "No result files yet. Run `python benchmarks/recognition_page.py` after the benchmarks."
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the page is out of date")
    args = parser.parse_args(argv)
    old = PAGE.read_text(encoding="utf-8")
    new = filled(old, figures_of(RESULTS))
    if args.check:
        return int(old != new)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
