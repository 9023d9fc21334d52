"""The benchmark's rows as plain text of 100 columns."""

from collections.abc import Sequence
from textwrap import fill, wrap

from instrec_live.realtime.benchmark.verdict import Figures, Row, percent
from instrec_live.realtime.errors import printable

COLUMNS = 100
_NAME = 13  # of an engine or a network; longer ones are cut

_HEAD = f"{'p50':>5} {'p95':>5} {'core':>5} {'+MB':>4} {'|Δp|':>5} {'hop':>6}  verdict"


def lines(rows: Sequence[Row], unusable: Sequence[tuple[str, str]], hop: float) -> list[str]:
    """The table, the engines that cannot be used and why, and what the columns mean."""
    engine = _width("engine", [row.engine for row in rows] + [name for name, _ in unusable])
    network = _width("network", [row.network for row in rows])
    out = [f"{'engine':{engine}} {'network':{network}} {_HEAD}"] if rows else []
    for row in rows:
        names = f"{_cut(row.engine):{engine}} {_cut(row.network):{network}} "
        if row.figures is None:
            out += _hanging(names, row.verdict)
        else:
            out.append(f"{names}{_numbers(row.figures)}  {row.verdict}")
    for name, reason in unusable:
        out += _hanging(f"{_cut(name):{engine}} ", f"cannot be used: {printable(reason)}")
    legend = (
        f"p50, p95: ms from new sound to an update, at a hop of {hop:g} s. core: CPU seconds a second of sound. +MB: "
        "memory that it adds. |Δp|: greatest difference of a probability from onnx in fp32. hop: the smallest that "
        "keeps up. together: all of them, as the program runs them."
    )
    return [*out, "", *wrap(legend, COLUMNS)] if rows else out


def _numbers(it: Figures) -> str:
    hop = "-" if it.smallest_hop is None else f"{it.smallest_hop:g} s"
    added = "-" if it.added_mb is None else f"{it.added_mb:.0f}"
    return (
        f"{milliseconds(it.p50_ms):>5} {milliseconds(it.p95_ms):>5} {percent(it.core):>5} {added:>4} "
        f"{_small(it.difference):>5} {hop:>6}"
    )


def milliseconds(ms: float) -> str:
    """Three digits, or more where there are more before the point."""
    return f"{ms:.{2 if ms < 9.995 else 1 if ms < 99.95 else 0}f}"


def _small(difference: float | None) -> str:
    if difference is None:
        return "-"
    return "0" if difference == 0 else f"{difference:.0e}"


def _hanging(start: str, text: str) -> list[str]:
    return fill(start + text, COLUMNS, subsequent_indent=" " * len(start), drop_whitespace=True).splitlines()


def _width(title: str, names: Sequence[str]) -> int:
    return max(map(len, [title, *map(_cut, names)]))


def _cut(name: str) -> str:
    name = printable(name)
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
