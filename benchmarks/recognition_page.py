"""Writes the figures of docs/recognition.md from the files in benchmarks/results.

    python benchmarks/recognition_page.py            # write
    python benchmarks/recognition_page.py --check    # exit 1 if the page is out of date

Reads what is there (tagging.json is what a scorer says of the cross-validated csv files of training.ensemble):
    tagging.json        {network: {"all" | "solo" | "poly": {"clips", "mAP", "top-1", "F1 shown", "ECE",
                        "interval": {figure: [low, high]}, "AP": {instrument: average precision}}}}
    demo_timeline.json  written by demo_timeline.py
    timing.json         written by timing.py
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
    ]


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


def figures_of(results: Path) -> str:
    blocks = []
    for name, table in (("tagging.json", tagging), ("timing.json", timing), ("demo_timeline.json", following)):
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
