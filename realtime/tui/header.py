"""The first line: the program, what it listens to, and how."""

from typing import ClassVar

from instrec_live.realtime.tui.bar import Run, clock
from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.line import Line, fitted, length, printable
from instrec_live.realtime.tui.picture import Picture
from instrec_live.realtime.update import StreamInfo


def rates(info: StreamInfo, arrow: str) -> str:
    """ "48→32k": the source's rate and the networks'."""
    own = f"{info.source_rate / 1000:g}"
    return "32k" if own == "32" else f"{own}{arrow}32k"


def elapsed(picture: Picture) -> str:
    """The source's clock, and its length where that is known."""
    time = picture.update.time if picture.update else 0.0
    if picture.info.duration is None:
        return clock(time)
    hours = picture.info.duration >= 3600
    return f"{clock(time, hours)}/{clock(picture.info.duration, hours)}"


def header_runs(picture: Picture, width: int, glyphs: Glyphs) -> list[Run]:
    """The whole line; a narrow one loses the engine, then the rates; the source takes what is left."""
    info = picture.info
    live = ("live", f"{glyphs.dot} LIVE") if info.live else ("file", f"{glyphs.active} FILE")
    left: list[Run] = [("title", " instrec-live"), ("space", "  "), live, ("space", "  ")]
    right: list[Run] = [("clock", elapsed(picture))]
    pace = " max pace" if info.pace == "max" else ""
    for detail in (rates(info, glyphs.arrow) + pace, printable(info.engine)):
        if length(left) + length(right) + len(detail) + 16 <= width:
            right += [("detail", f"  {detail}")]
    room = width - length(left) - length(right) - 3
    source = fitted(printable(info.source), room, glyphs.ellipsis)
    return [*left, ("source", source), ("space", "  "), *right, ("space", " ")]


class Header(Line):
    """Program, LIVE or FILE, source, clock, rates, engine."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"title", "live", "file", "source", "clock", "detail"}

    def __init__(self, picture: Picture, glyphs: Glyphs) -> None:
        super().__init__()
        self.picture = picture
        self.glyphs = glyphs

    def show(self, picture: Picture) -> None:
        """Draw another picture."""
        self.picture = picture
        self.refresh()

    def runs(self, width: int) -> list[Run]:
        return header_runs(self.picture, width, self.glyphs)
