"""Puts the figures of benchmarks/results/mutation.json into docs/reliability.md.

python benchmarks/mutation_page.py            # write
python benchmarks/mutation_page.py --check    # exit 1 if the page is out of date
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from page import keep
from recognition_page import CHECKOUT, RESULTS, filled

RESULT = RESULTS / "mutation.json"
PAGE = CHECKOUT / "docs" / "reliability.md"
COUNTS = ("mutants", "killed", "timeouts", "survived", "explained")
BEGIN, END = "<!-- mutation -->", "<!-- end of mutation -->"


def figures(result: Mapping[str, Any]) -> str:
    """The table, in Markdown."""
    modules = result["modules"]
    sums = {key: sum(module[key] for module in modules.values()) for key in COUNTS}
    sums["share"] = (sums["killed"] + sums["timeouts"]) / sums["mutants"]
    lines = [
        f"`{result['command']}`, {result['date'][:10]}, mutmut {result['mutmut']}",
        "",
        "| module | mutants | a test fails | tests hang | survive | of these explained | noticed |",
        "|---|---|---|---|---|---|---|",
        *(_row(f"`{name}`", module) for name, module in modules.items()),
        _row("all", sums),
    ]
    return "\n".join(lines)


def _row(name: str, module: Mapping[str, Any]) -> str:
    counts = (f"{module[key]:,}" for key in COUNTS)
    return f"| {name} | {' | '.join(counts)} | {100 * module['share']:.1f} % |"


def main(argv: Sequence[str] | None = None) -> int:
    table = figures(json.loads(RESULT.read_text(encoding="utf-8")))
    return keep(PAGE, lambda page: filled(page, table, BEGIN, END), argv, __doc__)


if __name__ == "__main__":
    raise SystemExit(main())
