"""A run as one HTML page that needs nothing else: no script, no other file. It is well-formed XML too."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.realtime.outputs.changes import clock
from instrec_live.realtime.outputs.head import day_of
from instrec_live.realtime.outputs.history import MOST_EVENTS, History
from instrec_live.realtime.outputs.sink import Summary

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem;
       color: #1b1b1b; background: #fff; }
svg { width: 100%; height: auto; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
td code { word-break: break-all; }
"""
_ENDED = {"end": "at the end of the sound", "stopped": "stopped by the user", "failed": "broken off"}


def page(picture: str, history: History, head: Mapping[str, Any], summary: Summary) -> str:
    """The page; `picture` is an SVG document."""
    title = f"{head.get('source', '')}: which instruments sounded"
    parts = [
        f"<h1>{escape(str(head.get('source', '')))}</h1>",
        f"<p>{escape(_in_short(head, summary))}</p>",
        picture[picture.index("<svg") :],
        "<h2>How long each sounded</h2>",
        _totals(history, summary),
        "<h2>What came when</h2>",
        _events(history),
        "<h2>How it was made</h2>",
        _parameters(head),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _in_short(head: Mapping[str, Any], summary: Summary) -> str:
    ended = _ENDED.get(summary.ended, summary.ended)
    return (
        f"{day_of(head)}; {summary.updates} updates, the last at {clock(summary.time)}; {ended}; "
        f"{summary.skipped} windows skipped, {summary.xruns} xruns, {summary.bad_samples} bad samples."
    )


def _totals(history: History, summary: Summary) -> str:
    rows = []
    for name in sorted(INSTRUMENTS, key=lambda name: -summary.active_seconds.get(name, 0.0)):
        row, seconds = INSTRUMENTS.index(name), summary.active_seconds.get(name, 0.0)
        share = f"{100 * seconds / history.heard:.0f} %" if history.heard else ""
        entries, highest = int(history.entries[row]), float(history.highest[row])
        rows.append([DISPLAY_NAMES[name], f"{seconds:.1f}", share, str(entries), f"{highest:.2f}"])
    return _table(["instrument", "seconds", "share", "entries", "highest probability"], rows, numbers=True)


def _events(history: History) -> str:
    events = [(each.onset, each.offset, DISPLAY_NAMES[each.name]) for each in history.stretches]
    events += [(time, time, f"“{text}”") for time, text in history.labels]
    if not events:
        return "<p>Nothing.</p>"
    rows = [
        [clock(onset), clock(offset), f"{offset - onset:.1f}", what]
        for onset, offset, what in sorted(events, key=lambda event: event[:2])
    ]
    rest = int(history.entries.sum()) - len(history.stretches)
    more = f"<p>The first {MOST_EVENTS} of them; {rest} more are in the data.</p>" if rest > 0 else ""
    return _table(["from", "to", "seconds", "what"], rows) + more


def _parameters(head: Mapping[str, Any]) -> str:
    rows = [[key, _said(value)] for key, value in head.items() if key not in ("type", "instruments")]
    return _table(["parameter", "value"], rows)


def _said(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} ({_said(each)})" if isinstance(each, Mapping) else f"{key} {_said(each)}"
                         for key, each in value.items())  # fmt: skip
    return "unknown" if value is None else str(value)


def _table(names: list[str], rows: Iterable[list[str]], numbers: bool = False) -> str:
    """`numbers`: all columns but the first are."""

    def cells(tag: str, row: list[str]) -> str:
        opening = [f"<{tag} class='n'>" if numbers and place else f"<{tag}>" for place in range(len(row))]
        return "".join(f"{begin}{escape(cell)}</{tag}>" for begin, cell in zip(opening, row, strict=True))

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table>\n<thead><tr>{cells('th', names)}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
