"""The first line: the program, what it listens to, and how."""

from typing import ClassVar

from rich.cells import cell_len

from instrec_live.realtime.tui.bar import Run, clock
from instrec_live.realtime.tui.deck import Deck
from instrec_live.realtime.tui.fitting import fitted, length, printable
from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.line import Line
from instrec_live.realtime.tui.picture import Picture
from instrec_live.realtime.update import StreamInfo

DECK = Deck()
TITLE = "instrec-live"


def rates(info: StreamInfo, arrow: str) -> str:
    """ "48→32k": the source's rate and the networks'."""
    own = f"{info.source_rate / 1000:g}"
    return "32k" if own == "32" else f"{own}{arrow}32k"


def elapsed(picture: Picture, deck: Deck) -> str:
    """The source's clock, and its length where that is known."""
    newest = picture.update.time if picture.update else 0.0
    time = newest if deck.position is None or picture.ended else deck.position
    duration = deck.duration if deck.playable else picture.info.duration
    if duration is None:
        return clock(time)
    hours = duration >= 3600
    return f"{clock(time, hours)}/{clock(duration, hours)}"


def source_run(info: StreamInfo, deck: Deck, glyphs: Glyphs) -> Run:
    """Whether it is live, and if not, how it is played."""
    if info.live:
        return "live", f"{glyphs.dot} LIVE"
    if not deck.playable:
        return "file", f"{glyphs.active} FILE"
    if deck.paused:
        return "file", f"{glyphs.pause} PAUSED"
    speed = "" if deck.speed == 1 else f" {deck.speed:g}x"
    return "file", f"{glyphs.play} {'PLAY' if deck.audible else 'FILE'}{speed}"


def header_runs(picture: Picture, width: int, glyphs: Glyphs, deck: Deck = DECK, title: str = TITLE) -> list[Run]:
    """The whole line; a narrow one loses the engine, then the rates; the source takes what is left."""
    info = picture.info
    name = printable(title)
    if cell_len(name) > width // 3:
        name = fitted(name, width // 3, glyphs.ellipsis)
    left: list[Run] = [("title", f" {name}"), ("space", "  "), source_run(info, deck, glyphs), ("space", "  ")]
    right: list[Run] = [("clock", elapsed(picture, deck))]
    if deck.recording:
        right.insert(0, ("live", f"{glyphs.dot} REC  "))
    pace = " max pace" if info.pace == "max" else ""
    for detail in (rates(info, glyphs.arrow) + pace, printable(info.engine)):
        if length(left) + length(right) + len(detail) + 16 <= width:
            right += [("detail", f"  {detail}")]
    room = width - length(left) - length(right) - 3
    source = fitted(printable(info.source), room, glyphs.ellipsis)
    return [*left, ("source", source), ("space", "  "), *right, ("space", " ")]


class Header(Line):
    """Program (or the name of a source among several), LIVE or FILE, source, clock, rates, engine."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"title", "live", "file", "source", "clock", "detail"}

    def __init__(self, picture: Picture, glyphs: Glyphs, title: str = TITLE) -> None:
        super().__init__()
        self.picture, self.title = picture, title
        self.deck = DECK
        self.glyphs = glyphs

    def show(self, picture: Picture, deck: Deck) -> None:
        """Draw another picture."""
        self.picture, self.deck = picture, deck
        self.redraw()

    def runs(self, width: int) -> list[Run]:
        return header_runs(self.picture, width, self.glyphs, self.deck, self.title)
