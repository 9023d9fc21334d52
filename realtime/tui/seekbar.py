"""Where in the file we are: a line that can be clicked."""

from typing import ClassVar

from textual import events

from instrec_live.realtime.tui.bar import Run, cell_of
from instrec_live.realtime.tui.deck import Deck
from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.line import Line
from instrec_live.realtime.tui.messages import Sought

MARGIN = 3


def seek_runs(deck: Deck, width: int, glyphs: Glyphs) -> list[Run]:
    """The line with its knob; nothing where the file's length is not known."""
    room = width - 2 * MARGIN
    if not deck.duration or deck.position is None or room < 4:
        return []
    knob = cell_of(deck.position / deck.duration, room)
    return [
        ("rest", " " * MARGIN),
        ("heard", glyphs.rule * knob),
        ("knob", glyphs.knob),
        ("rest", glyphs.rule * (room - knob - 1)),
    ]


class Seekbar(Line):
    """The position in a file."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"heard", "knob", "rest"}

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self.glyphs = glyphs
        self.deck = Deck()

    def show(self, deck: Deck) -> None:
        """Draw another position."""
        self.deck = deck
        self.redraw()

    def runs(self, width: int) -> list[Run]:
        return seek_runs(self.deck, width, self.glyphs)

    def on_click(self, event: events.Click) -> None:
        room = self.size.width - 2 * MARGIN
        if self.deck.duration and room > 0:
            part = min(1.0, max(0.0, (event.x - MARGIN + 0.5) / room))
            self.post_message(Sought(part * self.deck.duration))
