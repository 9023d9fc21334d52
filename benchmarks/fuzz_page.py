"""Puts the figures of benchmarks/results/fuzz.json into docs/reliability.md.

python benchmarks/fuzz_page.py
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
RESULT = CHECKOUT / "benchmarks" / "results" / "fuzz.json"
PAGE = CHECKOUT / "docs" / "reliability.md"
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->"
WORDS = {
    "files": "sound files", "headers": "headers of sound files", "pipes": "pipes", "settings": "settings files",
    "thresholds": "files of thresholds", "command lines": "command lines, run", "bundles": "models, run",
    "reports": "runs, for `report`",
}  # fmt: skip


def figures(result: Mapping[str, Any]) -> str:
    """The table, in Markdown."""
    kinds = result["kinds"]
    sums = (f"{sum(kind[key] for kind in kinds.values()):,}" for key in ("inputs", "fine", "refused", "defects"))
    lines = [
        f"`{result['command']}`, {result['date'][:10]}, seed {result['seed']}, libsndfile {result['libsndfile']}",
        "",
        "| input | tried | fine | one line and its code | defects | ways to end | slowest, s | most memory, MB |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(WORDS[name], kind) for name, kind in kinds.items()),
        f"| all | {' | '.join(sums)} | | {result['slowest_s']:.1f} | {result['greatest_mb']:.0f} |",
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, kind: Mapping[str, Any]) -> str:
    counts = (f"{kind[key]:,}" for key in ("inputs", "fine", "refused", "defects", "distinct"))
    return f"| {name} | {' | '.join(counts)} | {kind['slowest']['seconds']:.2f} | {kind['greatest']['grown_mb']:.0f} |"


def filled(page: str, table: str) -> str:
    """The page with another table between its marks."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + table + END + rest.partition(END)[2]


def main() -> None:
    table = figures(json.loads(RESULT.read_text(encoding="utf-8")))
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), table), encoding="utf-8")


if __name__ == "__main__":
    main()
