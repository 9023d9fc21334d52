"""The whole screen: its parts, where they stand, and how a picture is shown on all of them."""

import math

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from instrec_live.realtime.tui.bar import Run
from instrec_live.realtime.tui.deck import Deck
from instrec_live.realtime.tui.events import Events
from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.header import Header
from instrec_live.realtime.tui.heading import Heading
from instrec_live.realtime.tui.keys import Keys
from instrec_live.realtime.tui.layout import SIDE, stack
from instrec_live.realtime.tui.line import Line
from instrec_live.realtime.tui.mel_strip import MelStrip
from instrec_live.realtime.tui.picture import Picture
from instrec_live.realtime.tui.prompt import Prompt
from instrec_live.realtime.tui.rows import Rows
from instrec_live.realtime.tui.seekbar import Seekbar
from instrec_live.realtime.tui.status import Status
from instrec_live.realtime.tui.view import View

LEAST_WIDTH, LEAST_HEIGHT = 32, 7  # below this nothing could be read


class TooSmall(Line):
    """What stands on a terminal that is too small for all else."""

    def runs(self, width: int) -> list[Run]:
        return [("", f"too small: {LEAST_WIDTH} x {LEAST_HEIGHT} at least")]


class Board(Vertical, can_focus=False):
    """Header, status, rows and what a larger terminal has room for. `name`: of one source among several in a list."""

    def __init__(self, picture: Picture, glyphs: Glyphs, name: str | None = None) -> None:
        super().__init__()
        self.listed = name is not None
        self.header = Header(picture, glyphs) if name is None else Header(picture, glyphs, name)
        self.status = Status(picture, glyphs)
        self.seekbar = Seekbar(glyphs)
        self.heading = Heading(picture, glyphs)
        self.rows = Rows(picture, glyphs)
        self.mel = MelStrip(picture, glyphs)
        self.below, self.beside = Events(picture, glyphs), Events(picture, glyphs)
        self.prompt = Prompt()
        self.keys = Keys(picture.info.live, glyphs, self.listed)
        self.too_small = TooSmall()
        self.middle = Horizontal()

    def compose(self) -> ComposeResult:
        yield from (self.too_small, self.header, self.status, self.seekbar)
        with self.middle:
            with Vertical():
                yield from (self.heading, self.rows, self.mel, self.below)
            yield self.beside
        yield from (self.prompt, self.keys)

    def show(self, picture: Picture, view: View, deck: Deck, late: float = 0.0, since: float = math.inf) -> None:
        """Draw a picture as it is looked at, `since` seconds after its update came."""
        self.header.show(picture, deck)
        self.status.show(picture, False, late, deck.paused, since)
        self.seekbar.show(deck)
        self.heading.show(picture, view)
        self.rows.show(picture, view, since)
        self.mel.show(picture)
        self.below.show(picture)
        self.beside.show(picture)
        self.keys.show(view, deck)

    def on_resize(self, event: events.Resize) -> None:
        """Share the terminal out anew."""
        small = event.size.width < LEAST_WIDTH or event.size.height < LEAST_HEIGHT
        self.too_small.display = small
        for whole in (self.header, self.status, self.middle, self.keys):
            whole.display = not small
        lines = stack(event.size.width, event.size.height)
        self.heading.display = lines.heading > 0
        self.seekbar.display = lines.blank > 0 and not small
        self.rows.group = lines.group
        self.rows.styles.height = lines.rows if lines.mel or lines.events else "1fr"
        for part, height in ((self.mel, lines.mel), (self.below, lines.events)):
            part.display = height > 0
            part.styles.height = max(1, height - 1)
        self.beside.display = lines.side > 0
        self.beside.styles.width = SIDE
