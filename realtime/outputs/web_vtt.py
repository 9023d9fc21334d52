"""WebVTT: subtitles that say what sounds, for any video player."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.realtime.outputs.sink import Sink, Summary
from instrec_live.realtime.outputs.stretches import goes_on
from instrec_live.realtime.update import Update

_LABEL_SECONDS = 2.0  # a cue must last


class Subtitles(Sink):
    """A cue for each stretch in which the same instruments sound, and one for each label."""

    def __init__(self, file: TextIO, head: Mapping[str, Any]) -> None:
        self._file, self._hop = file, float(head.get("hop", 0.5))
        self._shown: tuple[str, ...] = ()
        self._since = self._latest = 0.0
        self._time: float | None = None
        self._labels: list[tuple[float, str]] = []  # set during the cue that is not written yet
        self._in_order = True
        source = _escaped(str(head.get("source", "")))
        file.write(f"WEBVTT\n\nNOTE\ninstrec-live: {source}\n\n")
        file.flush()

    def write(self, update: Update) -> None:
        flows = goes_on(update, self._time)
        if not flows or update.active != self._shown:
            self._end(update.time if flows or self._time is None else self._time)
            self._shown, self._since = update.active, update.time
        self._time = update.time

    def label(self, time: float, text: str) -> None:
        self._labels.append((time, text))
        if not self._shown:
            self._end(time)

    def close(self, summary: Summary) -> None:
        self._end(summary.time)
        if not self._in_order:
            _put_in_order(Path(self._file.name))

    def _end(self, time: float) -> None:
        if self._shown:
            text = ", ".join(DISPLAY_NAMES[name] for name in self._shown)
            # An update at the very end, or before a jump, has no next one: it is shown for a hop.
            self._cue(self._since, time if time > self._since else self._since + self._hop, text)
        for moment, text in self._labels:
            self._cue(moment, moment + _LABEL_SECONDS, text)
        self._shown, self._labels = (), []

    def _cue(self, start: float, end: float, text: str) -> None:
        self._in_order = self._in_order and start >= self._latest
        self._latest = max(self._latest, start)
        self._file.write(f"{_stamp(start)} --> {_stamp(end)}\n{_escaped(text)}\n\n")
        self._file.flush()


def _stamp(seconds: float) -> str:
    """3723.5 -> 01:02:03.500."""
    minutes, thousandths = divmod(round(seconds * 1000), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{thousandths // 1000:02d}.{thousandths % 1000:03d}"


def _escaped(text: str) -> str:
    # Without ">" no text can hold "-->", which would end its block.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _put_in_order(path: Path) -> None:
    """Sort the cues by their start, as the format wants them: after a seek backwards they are not."""
    if not path.is_file():
        return
    head, note, *cues = path.read_text(encoding="utf-8").removesuffix("\n\n").split("\n\n")
    cues.sort(key=_start)
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write("\n\n".join([head, note, *cues]) + "\n\n")


def _start(cue: str) -> float:
    hours, minutes, seconds = cue.partition(" ")[0].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
