"""Puts the figures of benchmarks/results/ring_race.json into docs/reliability.md.

python benchmarks/ring_page.py            # write
python benchmarks/ring_page.py --check    # exit 1 if the page is out of date
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from page import keep
from recognition_page import CHECKOUT, RESULTS, filled

PAGE = CHECKOUT / "docs" / "reliability.md"
BEGIN, END = "<!-- ring -->", "<!-- end of ring -->"


def figures(record: Mapping[str, Any]) -> str:
    """Two tables, in Markdown."""
    races = {name.removeprefix("race "): race for name, race in record.items() if name.startswith("race ")}
    callback = record["callback"]
    return "\n".join(
        [
            "| a writer and a reader | for | windows read | torn | overtaken, and said so | indices that went back |",
            "|---|---|---|---|---|---|",
            *(
                f"| {name} | {race['seconds']:.0f} s | {race['windows']:,} | {race['torn']} | {race['overtaken']} "
                f"| {race['indices that went back']} |"
                for name, race in races.items()
            ),
            "",
            f"The microphone's callback, {callback['calls']:,} times beside a thread that computes: "
            f"median {callback['median ms']:.3f} ms, p99.9 {callback['p99.9 ms']:.2f} ms, "
            f"slowest {callback['slowest ms']:.1f} ms; {callback['bytes kept']} bytes kept. "
            f"`{record['command']}`, {record['date'][:10]}, {record['machine']}.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    record = json.loads((RESULTS / "ring_race.json").read_text(encoding="utf-8"))
    return keep(PAGE, lambda page: filled(page, figures(record), BEGIN, END), argv, __doc__)


if __name__ == "__main__":
    raise SystemExit(main())
