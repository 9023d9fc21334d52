"""A run as a picture, drawn at its end."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from instrec_live.realtime.outputs.files import check_whole, write_whole
from instrec_live.realtime.outputs.history import History
from instrec_live.realtime.outputs.sink import Sink, Summary
from instrec_live.realtime.update import Update


class Picture(Sink):
    """The timeline as PNG or SVG, by the name of the file.

    Raises:
        UsageError: the file could not be written at the end.
    """

    def __init__(self, path: Path, head: Mapping[str, Any], force: bool) -> None:
        check_whole(path, force)
        self._path, self._head, self._force = path, head, force
        self._history = History(float(head["hop"]))

    def write(self, update: Update) -> None:
        self._history.write(update)

    def label(self, time: float, text: str) -> None:
        self._history.label(time, text)

    def close(self, summary: Summary) -> None:
        self._history.finish()
        write_whole(self._path, self._drawn(self._history, summary), self._force)

    def _drawn(self, history: History, summary: Summary) -> bytes:
        from instrec_live.realtime.outputs.timeline import draw  # matplotlib is slow to come

        return draw(history, self._head, summary, self._path.suffix.lower()[1:])


class Page(Picture):
    """The timeline, totals and parameters as one HTML page."""

    def _drawn(self, history: History, summary: Summary) -> bytes:
        from instrec_live.realtime.outputs.page import page
        from instrec_live.realtime.outputs.timeline import draw

        picture = draw(history, self._head, summary, "svg").decode()
        return page(picture, history, self._head, summary).encode()
