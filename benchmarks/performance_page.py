"""Writes the figures of docs/performance.md from the files in benchmarks/results.

    python benchmarks/performance_page.py            # write
    python benchmarks/performance_page.py --check    # exit 1 if the page is out of date

Reads what is there: budgets.json, cost.json, peers.json and passt_s.json, written by the scripts of those names. The
picture is drawn by performance_picture.py.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from page import keep
from recognition_page import CHECKOUT, RESULTS, filled

PAGE = CHECKOUT / "docs" / "performance.md"
PEERS = {
    "ours": "instrec-live, the program's own analysis",
    "naive": "the same three networks the naive way",
    "passt_s": "hear21passt's PaSST-S as its README runs it, every 0.5 s",
    "yamnet": "YAMNet (int8, LiteRT), every 0.48 s, one network",
    "floor of ours": "floor: our multiplications at the speed of a matrix product",
    "floor of naive": "floor: those of the naive way",
}
Record = Mapping[str, Any]


def budgets(record: Record) -> list[str]:
    lines = ["### Budgets", "", "| what | budget | measured | command |", "|---|---|---|---|"]
    for what, each in record["budgets"].items():
        limit, measured = each["limit"], each["measured"]
        kept = measured >= limit if what.endswith("at least") else measured <= limit
        mark = "" if kept else " **(missed)**"
        lines.append(f"| {what} | {limit:.3g} | {measured:.3g}{mark} | `{each['command']}` |")
    return [*lines, "", _source(record)]


def cost(record: Record) -> list[str]:
    names = list(record["savings"])
    lines = [
        "### What each saving saves",
        "",
        f"| share of a core | {' | '.join(names)} |",
        "|---|" + "---|" * len(names),
    ]
    for step in record["savings"]["all"]:
        cells = [f"{100 * record['savings'][name][step]:.1f} %" for name in names]
        lines.append(f"| {step} | {' | '.join(cells)} |")
    return [
        *lines,
        "",
        _source(record),
        "",
        "### Against the hop, the window and the number of streams",
        "",
        *_row("hop, s", record["hops"]),
        "",
        *_row("short window, s", record["spans"]),
        "",
        *_row("streams in one process, share of each", record["streams"]),
        "",
        "![Share of a core against the hop, the length of the short window and the number of streams]"
        "(pictures/cost.svg)",
    ]


def _row(head: str, shares: Mapping[str, float]) -> list[str]:
    cells = [f"{100 * share:.1f} %" for share in shares.values()]
    return [
        f"| {head} | {' | '.join(shares)} |",
        "|---|" + "---|" * len(shares),
        f"| share of a core | {' | '.join(cells)} |",
    ]


def peers(record: Record) -> list[str]:
    lines = ["### Beside other ways", "", "| | CPU s a second of sound | times ours |", "|---|---|---|"]
    for name, seconds in record["cpu_seconds_per_second"].items():
        lines.append(f"| {PEERS[name]} | {seconds:.4f} | {record['ratio_to_ours'][name]:.2f} |")
    work, agreement = record["gflop_per_second_of_sound"], record["agreement"]
    said = "" if agreement is None else f" Their probabilities differ from ours by {agreement:.0e} at most."
    return [
        *lines,
        "",
        f"{_source(record)}; torch {record['torch']}. The naive way's networks do {work['naive']:.1f} GFLOP a second of"
        f" sound, ours {work['ours']:.2f}; a large matrix product runs at {record['peak_gflop_per_s']:.0f} GFLOP/s"
        f" here.{said}",
    ]


def passt_s(record: Record) -> list[str]:
    lines = ["### A network of 86 million weights", ""]
    lines += ["| engine | an update, p50, s | p95, s | resident, MB | verdict |", "|---|---|---|---|---|"]
    for each in record["engines"]:
        cells = [f"{each[name] / 1000:.2f}" if each["ok"] else "–" for name in ("p50_ms", "p95_ms")]
        size = f"{each['resident_mb']:.0f}" if each["ok"] and each["resident_mb"] else "–"
        lines.append(f"| {each['engine']}, {each['precision']} | {' | '.join(cells)} | {size} | {each['verdict']} |")
    asked = record["asked_for_less"]
    return [
        *lines,
        "",
        f"{_source(record)}. Asked for updates every {asked['hop']:g} s, the program says {asked['state']} by itself"
        f" and counts what it skips: {asked['skipped']} of {asked['hops']} hops, the audio never waiting.",
    ]


def screen(record: Record) -> list[str]:
    """What the screen alone costs."""
    kinds = list(dict.fromkeys(each["kind"] for each in record["screens"]))
    lines = ["### The screen alone", "", f"| share of a core | {' | '.join(kinds)} |", "|---|" + "---|" * len(kinds)]
    for size in dict.fromkeys(each["size"] for each in record["screens"]):
        shares = [each["share"] for each in record["screens"] if each["size"] == size]
        lines.append(f"| {size} | {' | '.join(f'{share:.1%}' for share in shares)} |")
    frames = max(each["frames"] for each in record["screens"])
    return [
        *lines,
        "",
        f"{_source(record)}. {frames:.0f} frames a second in a pseudo terminal, updates every 0.5 s.",
    ]


def many(record: Record) -> list[str]:
    """What the list of many sources costs."""
    shares = [f"{each['share']:.1%} of a core at {each['size']}" for each in record["screens"]]
    frames = max(each["frames"] for each in record["screens"])
    number = record["screens"][0]["kind"]
    return [
        f"The list of `instrec-live watch` with {number}, two updates a second of each: {', '.join(shares)}, at"
        f" {frames:.0f} frames a second. {_source(record)}."
    ]


def _source(record: Record) -> str:
    return f"`{record['command']}`, {record['date'][:10]}, {record['machine']}, one thread"


PARTS: dict[str, Callable[[Record], list[str]]] = {
    "budgets.json": budgets,
    "peers.json": peers,
    "cost.json": cost,
    "passt_s.json": passt_s,
    "screen_cost.json": screen,
    "list_cost.json": many,
}


def figures() -> str:
    found = {name: RESULTS / name for name in PARTS if (RESULTS / name).exists()}
    return "\n\n".join(
        "\n".join(PARTS[name](json.loads(path.read_text(encoding="utf-8")))) for name, path in found.items()
    )


def main(argv: Sequence[str] | None = None) -> int:
    return keep(PAGE, lambda page: filled(page, figures()), argv, __doc__)


if __name__ == "__main__":
    raise SystemExit(main())
