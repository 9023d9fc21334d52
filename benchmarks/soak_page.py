"""Puts the figures of benchmarks/results/soak_max.json and soak_live.json into docs/reliability.md.

    python benchmarks/soak_page.py            # write
    python benchmarks/soak_page.py --check    # exit 1 if the page is out of date

Both are written by soak.py; the picture is drawn by soak_picture.py.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from page import keep
from recognition_page import CHECKOUT, RESULTS, filled
from vitals import slope

PAGE = CHECKOUT / "docs" / "reliability.md"
BEGIN, END = "<!-- soak -->", "<!-- end of soak -->"
LIMIT = 1.0  # MB an hour of sound
QUARTER = 0.25
PICTURE = """![Memory, open files and threads over hours of sound; below, how fast the pipe went and how old the
microphone's updates were](pictures/soak.svg)"""
Run = Mapping[str, Any]
NAMES = {"max": "a pipe, `--pace max`", "lines": "microphone, JSON", "screen": "microphone, the screen"}


def _span(run: Run, key: str, digits: int = 0) -> str:
    least, most = (f"{value:.{digits}f}" for value in run["ranges"][key])
    return least if least == most else f"{least}…{most}"


def growth(run: Run) -> float:
    """MB of memory an hour of sound, after the first quarter: by then there were silences of all kinds."""
    return slope(run["curves"]["heard_h"], run["curves"]["memory_mb"], QUARTER)


def _growth(run: Run) -> str:
    return f"{growth(run):+.2f}" + " **(too much)**" * (growth(run) > LIMIT)


def _ages(run: Run) -> str:
    return " / ".join(f"{run['age_s'][key]:.2f}" for key in ("p50", "p95", "p99", "max"))


def is_live(run: Run) -> bool:
    """Whether its sound came at its own speed."""
    return bool(run["age_s"]["max"])


ROWS: Mapping[str, Callable[[Run], str]] = {
    "sound heard, h": lambda run: f"{run['heard_h']:.2f}",
    "wall clock, h": lambda run: f"{run['wall_h']:.2f}",
    "updates": lambda run: f"{run['updates']:,}",
    "of them at another time than hop × number": lambda run: f"{run['wrong_times']}",
    "windows skipped": lambda run: f"{run['skipped']}",
    "overflows of the driver": lambda run: f"{run['xruns']}",
    "age p50 / p95 / p99 / greatest, s": lambda run: _ages(run) if is_live(run) else "–",
    "arrival against the wall clock, ppm": lambda run: f"{run['slopes']['drift_ppm']:+.0f}" if is_live(run) else "–",
    "memory, MB": lambda run: _span(run, "memory_mb"),
    "memory grows after the first tenth, MB an hour of sound": lambda run: (
        f"{run['slopes']['memory_mb_per_heard_hour']:+.2f}"
    ),
    "memory grows after the first quarter, MB an hour of sound": _growth,
    "open files": lambda run: _span(run, "files"),
    "threads": lambda run: _span(run, "threads"),
    "CPU time, of one core": lambda run: f"{run['cpu_s'] / run['wall_h'] / 36:.0f} %",
    "exit": lambda run: f"{run['exit']}",
}


def measured() -> list[Path]:
    """The files that are there."""
    return [path for path in (RESULTS / "soak_max.json", RESULTS / "soak_live.json") if path.exists()]


def figures() -> str:
    """The table and the picture, in Markdown, of the files that are there."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in measured()]
    runs = {name: run for record in records for name, run in record["runs"].items()}
    if not runs:
        return "No figures yet."
    return "\n".join(
        [
            f"| | {' | '.join(NAMES[name] for name in runs)} |",
            "|---|" + "---|" * len(runs),
            *(f"| {what} | {' | '.join(tell(run) for run in runs.values())} |" for what, tell in ROWS.items()),
            "",
            "Memory, files and threads are those after the first tenth; growth is the slope of the least squares.",
            "",
            *(_source(record) for record in records),
            "",
            PICTURE,
        ]
    )


def _source(record: Mapping[str, Any]) -> str:
    machine = record["machine"]
    load = f"load {machine['load']:.1f} at the beginning, {record['load_at_end']:.1f} at the end"
    return (
        f"- `{record['command']}`, {record['date'][:10]}, instrec-live {machine['instrec_live']}, "
        f"{record['recordings']} recordings; "
        f"{machine['processor']}, {machine['cores']} cores, which had other work as well ({load})"
    )


def main(argv: Sequence[str] | None = None) -> int:
    return keep(PAGE, lambda page: filled(page, figures(), BEGIN, END), argv, __doc__)


if __name__ == "__main__":
    raise SystemExit(main())
