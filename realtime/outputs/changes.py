"""Plain lines to read: who comes, who goes."""

from typing import TextIO

from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.realtime.outputs.sink import Sink, Summary
from instrec_live.realtime.update import Update


class Changes(Sink):
    """One line each time that an instrument comes or goes, for people: `00:12.5  + piano .83`.

    `channel`, if given, stands in each line: the name of this source among others.
    """

    def __init__(self, file: TextIO, channel: str | None = None) -> None:
        self._file = file
        self._gap = "  " if channel is None else f"  {channel}  "
        self._active: tuple[str, ...] = ()

    def write(self, update: Update) -> None:
        time = clock(update.time)
        for name in self._active:
            if name not in update.active:
                self._file.write(f"{time}{self._gap}- {DISPLAY_NAMES[name]}\n")
        for name in update.active:
            if name not in self._active:
                p = float(update.probabilities[INSTRUMENTS.index(name)])
                self._file.write(f"{time}{self._gap}+ {DISPLAY_NAMES[name]} {min(p, 0.99):.2f}\n".replace(" 0.", " ."))
        if update.active != self._active:
            self._file.flush()
        self._active = update.active

    def label(self, time: float, text: str) -> None:
        self._file.write(f"{clock(time)}{self._gap}* {text}\n")
        self._file.flush()

    def close(self, summary: Summary) -> None:
        self._file.flush()


def clock(seconds: float) -> str:
    """12.5 -> 00:12.5, 3723 -> 1:02:03.0."""
    minutes, tenths = divmod(round(seconds * 10), 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:" if hours else "") + f"{minutes:02d}:{tenths / 10:04.1f}"
