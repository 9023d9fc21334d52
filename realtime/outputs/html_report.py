"""A run as one self-contained HTML page, well-formed XML too, without scripts unless it is to play the sound."""

import logging
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.realtime.errors import printable
from instrec_live.realtime.outputs.files import check_whole, write_whole
from instrec_live.realtime.outputs.history import MOST_EVENTS, History
from instrec_live.realtime.outputs.sink import Sink, Summary, day_of
from instrec_live.realtime.outputs.tables import clock, instruments_of
from instrec_live.realtime.stream.update import Update


class TimelineImage(Sink):
    """The timeline as PNG or SVG, by the name of the file.

    Raises:
        UsageError: the file could not be written at the end.
    """

    keeps_labels = True

    def __init__(self, path: Path, head: Mapping[str, Any], force: bool) -> None:
        check_whole(path, force)
        self._path, self._head, self._force = path, head, force
        self._history = History(float(head["hop"]), instruments_of(head), head)

    def write(self, update: Update) -> None:
        self._history.write(update)

    def label(self, time: float, text: str) -> None:
        self._history.label(time, text)

    def close(self, summary: Summary) -> None:
        self._history.finish()
        write_whole(self._path, self._drawn(self._history, summary), self._force)

    def _drawn(self, history: History, summary: Summary) -> bytes:
        _silence_matplotlib()
        from instrec_live.realtime.outputs.timeline import draw  # matplotlib is slow to import

        return draw(history, self._head, summary, self._path.suffix.lower()[1:])


class HtmlReport(TimelineImage):
    """The timeline, totals and parameters as one HTML page."""

    def _drawn(self, history: History, summary: Summary) -> bytes:
        _silence_matplotlib()
        from instrec_live.realtime.outputs.timeline import draw

        picture = draw(history, self._head, summary, "svg").decode()
        return page(picture, history, self._head, summary).encode()


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
        f"<h1>{_text(str(head.get('source', '')))}</h1>",
        f"<p>{_text(_in_short(head, summary))}</p>",
        _played(history, head),
        picture[picture.index("<svg") :],
        "<h2>Total time of each instrument</h2>",
        _totals(history, summary, instruments_of(head)),
        "<h2>Entries and exits</h2>",
        _events(history),
        "<h2>Parameters</h2>",
        _parameters(head),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


_PLAYER_STYLE = """
audio { width: 100%; position: sticky; top: 0; }
.lane { display: flex; align-items: center; height: 1.6rem; }
.lane span { flex: 0 0 9rem; }
.lane div { position: relative; flex: 1; height: 1.2rem; background: #eee; }
.lane button { position: absolute; top: 0; height: 100%; min-width: 4px; padding: 0; border: 0; background: #2171b5;
               cursor: pointer; }
.lane button:hover, .lane button:focus-visible, .lane button.now { background: #D55E00; }
"""

_PLAYER_SCRIPT = """
const sound = document.querySelector("audio");
let until = null, now = null;
const stop = () => { until = null; if (now) now.classList.remove("now"); now = null; };
for (const button of document.querySelectorAll("button[data-from]")) {
  button.addEventListener("click", () => {
    stop();
    now = button; now.classList.add("now");
    until = Number(button.dataset.to);
    sound.currentTime = Number(button.dataset.from);
    sound.play();
  });
}
sound.addEventListener("timeupdate", () => {
  if (until === null) return;
  if (sound.currentTime >= until) { sound.pause(); stop(); }
});
"""


def _played(history: History, head: Mapping[str, Any]) -> str:
    """A player, and below it a lane for each instrument whose segments play when they are clicked; nothing where the
    sound is not given as "sound" in the header: its address as seen from the page."""
    if "sound" not in head or not history.segments:
        return ""
    length = max(history.end, max(each.offset for each in history.segments), 0.001)
    lanes = []
    for name in dict.fromkeys(each.name for each in sorted(history.segments, key=lambda each: each.onset)):
        buttons = []
        for each in history.segments:
            if each.name == name:
                words = (
                    f"{DISPLAY_NAMES[name]}, {clock(each.onset)} to {clock(each.offset)}, probability {each.mean:.2f}"
                )
                place = f"left:{100 * each.onset / length:.3f}%;width:{100 * (each.offset - each.onset) / length:.3f}%"
                buttons.append(
                    f'<button type="button" style="{place}" title="{words}" aria-label="{words}" '
                    f'data-from="{each.onset:.3f}" data-to="{each.offset:.3f}"></button>'
                )
        lanes.append(f'<div class="lane"><span>{DISPLAY_NAMES[name]}</span><div>{"".join(buttons)}</div></div>')
    return (
        f"<style>{_PLAYER_STYLE}</style>\n<p>A click on a segment plays it.</p>\n"
        f'<audio controls="controls" preload="metadata" src="{escape(str(head["sound"]))}"></audio>\n'
        + "\n".join(lanes)
        + f"\n<script>{_PLAYER_SCRIPT}</script>"
    )


def _in_short(head: Mapping[str, Any], summary: Summary) -> str:
    """When, how long, and what was lost on the way, if anything was."""
    ended = _ENDED.get(summary.ended, summary.ended)
    lost = {
        "windows skipped because the machine was too slow": summary.skipped,
        "losses of sound before the analysis": summary.xruns,
        "samples that were not numbers": summary.bad_samples,
    }
    troubles = [f"{count} {what}" for what, count in lost.items() if count]
    return f"{day_of(head)}; {clock(summary.heard_s)} of sound, {ended}; {', '.join(troubles) or 'nothing was lost'}."


def _totals(history: History, summary: Summary, names: Iterable[str]) -> str:
    rows = []
    for name in sorted(names, key=lambda name: -summary.active_seconds.get(name, 0.0)):
        row, seconds = history.instruments.index(name), summary.active_seconds.get(name, 0.0)
        share = f"{100 * seconds / history.heard:.0f} %" if history.heard else ""
        entries, highest = int(history.entries[row]), float(history.highest[row])
        rows.append([DISPLAY_NAMES[name], f"{seconds:.1f}", share, str(entries), f"{highest:.2f}"])
    return _table(["instrument", "seconds", "share", "entries", "highest probability"], rows, numbers=True)


def _events(history: History) -> str:
    events = [(each.onset, each.offset, DISPLAY_NAMES[each.name], f"{each.mean:.2f}") for each in history.segments]
    events += [(time, time, f"“{text}”", "") for time, text in history.labels]
    if not events:
        return "<p>Nothing.</p>"
    rows = [
        [clock(onset), clock(offset), f"{offset - onset:.1f}", what, mean]
        for onset, offset, what, mean in sorted(events, key=lambda event: event[:2])
    ]
    rest = int(history.entries.sum()) - len(history.segments)
    more = f"<p>The first {MOST_EVENTS} of them; {rest} more are in the data.</p>" if rest > 0 else ""
    return _table(["from", "to", "seconds", "what", "mean probability"], rows) + more


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
        return "".join(f"{begin}{_text(cell)}</{tag}>" for begin, cell in zip(opening, row, strict=True))

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table>\n<thead><tr>{cells('th', names)}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _text(text: str) -> str:
    """As HTML and XML can hold it, which no control character is."""
    return escape(printable(text))


def _silence_matplotlib() -> None:
    """Before it is imported: it warns if it has no writable cache, and a picture needs none."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
