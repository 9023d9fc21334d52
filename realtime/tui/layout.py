"""How the terminal's lines are shared out."""

from typing import NamedTuple

from instrec_live.models.instruments import INSTRUMENTS

ROWS = len(INSTRUMENTS)


class Stack(NamedTuple):
    """Lines from the top down, after header and status and before the keys."""

    blank: int  # above the heading
    heading: int
    rows: int
    group: int  # a blank line after so many rows; 0: none
    events: int  # with the blank line above them


def stack(height: int) -> Stack:
    """Share out `height` lines: 24 fit exactly, fewer lose the heading and scroll, more breathe."""
    room = height - 3
    if room <= ROWS:
        return Stack(0, 0, max(0, room), 0, 0)
    room -= 1
    blank = 1 if room > ROWS else 0
    room -= blank
    group = 1 if room >= 2 * ROWS - 1 else 5 if room >= ROWS + 3 else 0
    rows = ROWS + ((ROWS - 1) // group if group else 0)
    events = room - rows if room - rows >= 5 else 0
    return Stack(blank, 1, room - events, group, events)
