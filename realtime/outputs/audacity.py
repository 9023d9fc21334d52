"""A label track for Audacity: start, end and text of each label, between tabs."""

from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.realtime.outputs.sink import Sink, Summary
from instrec_live.realtime.outputs.stretches import Stretch, Stretches
from instrec_live.realtime.update import Update


class Labels(Sink):
    """Onset, offset and name of each time that an instrument sounds; labels as points."""

    def __init__(self, file: TextIO, head: Mapping[str, Any]) -> None:
        self._file = file
        self._stretches = Stretches()

    def write(self, update: Update) -> None:
        self._lines(self._stretches.after(update))

    def label(self, time: float, text: str) -> None:
        self._line(time, time, text)

    def close(self, summary: Summary) -> None:
        self._lines(self._stretches.rest())

    def _lines(self, ended: Iterable[Stretch]) -> None:
        for each in ended:
            self._line(each.onset, each.offset, DISPLAY_NAMES[each.name])

    def _line(self, onset: float, offset: float, text: str) -> None:
        self._file.write(f"{onset:.3f}\t{offset:.3f}\t{text}\n")
        self._file.flush()
