"""How the terminal's cells are shared out."""

from typing import NamedTuple

from instrec_live.models.instruments import INSTRUMENTS

ROWS = len(INSTRUMENTS)
SIDE = 46  # cells of the list of entries and exits, where it stands beside the rows
SIDE_FROM = 160  # columns from which it does


class Stack(NamedTuple):
    """Lines from the top down, after header and status and before the keys; and the cells of the right side."""

    blank: int  # above the heading
    heading: int
    rows: int
    group: int  # a blank line after so many rows; 0: none
    mel: int  # the log-mel strip, with the blank line above it
    events: int  # entries and exits below the rows, with the blank line above them
    side: int  # cells of entries and exits beside the rows


def stack(width: int, height: int) -> Stack:
    """Share out a screen: 24 lines fit exactly, fewer lose the heading and scroll, more show more and breathe."""
    side = SIDE if width >= SIDE_FROM else 0
    room = height - 3
    if room <= ROWS:
        return Stack(0, 0, max(0, room), 0, 0, 0, side)
    room -= 1
    blank = 1 if room > ROWS else 0
    room -= blank + ROWS
    below = 5 if room >= 8 and not side else 0  # at least, if there is something below the rows at all
    group = 1 if room - 2 * below >= ROWS - 1 else 5 if room >= 3 else 0
    gaps = (ROWS - 1) // group if group else 0
    room -= gaps
    if room < 5:
        return Stack(blank, 1, ROWS + gaps + room, group, 0, 0, side)
    mel = min(17, room if side else max(5, room // 2) if room >= 10 else 0)
    events = 0 if side else room - mel
    return Stack(blank, 1, ROWS + gaps + room - mel - events, group, mel, events, side)
