"""Puts the figures of benchmarks/results/fuzz.json into docs/reliability.md.

python benchmarks/fuzz_page.py            # write
python benchmarks/fuzz_page.py --check    # exit 1 if the page is out of date
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from page import keep
from recognition_page import CHECKOUT, RESULTS, filled

RESULT = RESULTS / "fuzz.json"
PAGE = CHECKOUT / "docs" / "reliability.md"
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
    return "\n".join(lines)


def _row(name: str, kind: Mapping[str, Any]) -> str:
    counts = (f"{kind[key]:,}" for key in ("inputs", "fine", "refused", "defects", "distinct"))
    return f"| {name} | {' | '.join(counts)} | {kind['slowest']['seconds']:.2f} | {kind['greatest']['grown_mb']:.0f} |"


def main(argv: Sequence[str] | None = None) -> int:
    table = figures(json.loads(RESULT.read_text(encoding="utf-8")))
    return keep(PAGE, lambda page: filled(page, table), argv, __doc__)


if __name__ == "__main__":
    raise SystemExit(main())
