"""The whole screen of a stream: its parts, their layout, and drawing a state on all of them."""

import math
from typing import NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.tui.device_picker import Prompt
from instrec_live.realtime.tui.drawing import Glyphs, Line, Run
from instrec_live.realtime.tui.header import Header, Heading, Seekbar, Status
from instrec_live.realtime.tui.help import Keys
from instrec_live.realtime.tui.mel_strip import Events, MelStrip
from instrec_live.realtime.tui.rows import Rows
from instrec_live.realtime.tui.state import PlaybackState, ScreenState, View

ROWS = len(INSTRUMENTS)

SIDE = 46  # cells of the list of entries and exits, if it is next to the rows

SIDE_FROM = 160  # columns from which it does


class Stack(NamedTuple):
    """Lines from the top down, after header and status and before the keys; and the cells of the right side."""

    blank: int  # above the heading
    heading: int
    rows: int
    group: int  # a blank line after so many rows; 0: none
    mel: int  # the log-mel strip, with the blank line above it
    events: int  # entries and exits below the rows, with the blank line above them
    side: int  # cells of the entries and exits next to the rows


def stack(width: int, height: int, instruments: int = ROWS) -> Stack:
    """Layout of a screen: 24 lines fit 20 instruments exactly, fewer lose the heading and scroll, more show more."""
    side = SIDE if width >= SIDE_FROM else 0
    room = height - 3
    if room <= instruments:
        return Stack(0, 0, max(0, room), 0, 0, 0, side)
    room -= 1
    blank = 1 if room > instruments else 0
    room -= blank + instruments
    lower_events = 5 if room >= 8 and not side else 0  # at least, if there is something below the rows at all
    group = 1 if room - 2 * lower_events >= instruments - 1 else 5 if room >= (instruments - 1) // 5 else 0
    gaps = (instruments - 1) // group if group else 0
    room -= gaps
    if room < 5:
        return Stack(blank, 1, instruments + gaps + room, group, 0, 0, side)
    mel = min(17, room if side else max(5, room // 2) if room >= 10 else 0)
    events = 0 if side else room - mel
    return Stack(blank, 1, instruments + gaps + room - mel - events, group, mel, events, side)


LEAST_WIDTH, LEAST_HEIGHT = 32, 7  # below this nothing could be read


class TooSmall(Line):
    """Shown on a terminal that is too small for everything else."""

    def runs(self, width: int) -> list[Run]:
        words = f"too small: {LEAST_WIDTH} x {LEAST_HEIGHT} at least"
        return [("", words if len(words) <= width else f"needs {LEAST_WIDTH} x {LEAST_HEIGHT}")]


class StreamView(Vertical, can_focus=False):
    """Header, status, rows, and more on a larger terminal. `name`: of one source among several in a list."""

    def __init__(self, state: ScreenState, glyphs: Glyphs, name: str | None = None) -> None:
        super().__init__()
        self.listed = name is not None
        self.header = Header(state, glyphs) if name is None else Header(state, glyphs, name)
        self.status = Status(state, glyphs)
        self.seekbar = Seekbar(glyphs)
        self.heading = Heading(state, glyphs)
        self.rows = Rows(state, glyphs)
        self.mel = MelStrip(state, glyphs)
        self.lower_events, self.side_events = Events(state, glyphs), Events(state, glyphs)
        self.prompt = Prompt()
        self.keys = Keys(state.info.live, glyphs, self.listed)
        self.too_small = TooSmall()
        self.middle = Horizontal()

    def compose(self) -> ComposeResult:
        yield from (self.too_small, self.header, self.status, self.seekbar)
        with self.middle:
            with Vertical():
                yield from (self.heading, self.rows, self.mel, self.lower_events)
            yield self.side_events
        yield from (self.prompt, self.keys)

    def show(
        self, state: ScreenState, view: View, playback: PlaybackState, late: float = 0.0, since: float = math.inf
    ) -> None:
        """Draw a state in a view, `since` seconds after its update."""
        self.header.show(state, playback, view.solo)
        self.status.show(state, False, late, playback.paused, since)
        self.seekbar.show(playback)
        self.heading.show(state, view)
        self.rows.show(state, view, since)
        self.mel.show(state)
        self.lower_events.show(state)
        self.side_events.show(state)
        self.keys.show(view, playback, state, self.rows.out_of_view)

    def show_hidden(self) -> None:
        """Show which active rows are out of view."""
        self.keys.show(self.rows.view, self.keys.playback, self.rows.state, self.rows.out_of_view)

    def on_resize(self, event: events.Resize) -> None:
        """Lay out the screen again."""
        small = event.size.width < LEAST_WIDTH or event.size.height < LEAST_HEIGHT
        self.too_small.display = small
        for whole in (self.header, self.status, self.middle, self.keys):
            whole.display = not small
        lines = stack(event.size.width, event.size.height, len(self.rows.state.info.instruments))
        self.heading.display = lines.heading > 0
        self.seekbar.display = lines.blank > 0 and not small
        self.rows.group, self.rows.room = lines.group, lines.rows
        self.rows.styles.height = lines.rows if lines.mel or lines.events else "1fr"
        for part, height in ((self.mel, lines.mel), (self.lower_events, lines.events)):
            part.display = height > 0
            part.styles.height = max(1, height - 1)
        self.side_events.display = lines.side > 0
        self.call_after_refresh(self.call_after_refresh, self.show_hidden)  # once the rows have been laid out too
        self.side_events.styles.width = SIDE
