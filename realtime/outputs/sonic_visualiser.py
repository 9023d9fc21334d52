"""A region layer for Sonic Visualiser, in the columns that it writes such a layer in itself.

It tells the columns by their names (since its version 5), and takes what has a duration for regions. Without the names
it would want start times that only increase; regions that end in another order than they begin cannot give that.
"""

import csv
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.realtime.outputs.sink import Sink, Summary
from instrec_live.realtime.outputs.stretches import Stretch, Stretches
from instrec_live.realtime.update import Update

# Its reader knows neither doubled quotes nor plain backslashes.
_SPELT_OTHERWISE = str.maketrans({'"': "'", "\\": "/"})


class Regions(Sink):
    """TIME, VALUE (the instrument's number, from 1), DURATION and LABEL; labels have the value 0 and no duration."""

    def __init__(self, file: TextIO, head: Mapping[str, Any]) -> None:
        self._file, self._csv = file, csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
        self._stretches = Stretches()
        self._row("TIME", "VALUE", "DURATION", "LABEL")

    def write(self, update: Update) -> None:
        self._regions(self._stretches.after(update))

    def label(self, time: float, text: str) -> None:
        self._row(f"{time:.3f}", 0, "0.000", text.translate(_SPELT_OTHERWISE))

    def close(self, summary: Summary) -> None:
        self._regions(self._stretches.rest())

    def _regions(self, ended: Iterable[Stretch]) -> None:
        for each in ended:
            value, duration = 1 + INSTRUMENTS.index(each.name), each.offset - each.onset
            self._row(f"{each.onset:.3f}", value, f"{duration:.3f}", DISPLAY_NAMES[each.name])

    def _row(self, *cells: object) -> None:
        self._csv.writerow(cells)
        self._file.flush()
