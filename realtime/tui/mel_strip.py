"""The last minute: a log-mel strip, low bands at the bottom, and the list of events."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from instrec_live.models.arrays import FloatArray
from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.realtime.tui.drawing import Glyphs, Palette, Run, clock, fitted
from instrec_live.realtime.tui.state import FRAMES, SPAN, ScreenState, SoundEvent

NAME = 21

COLUMN = NAME + 25  # cells for one entry: also of an evening, whose times are "in 01:02:03 out 01:02:45"


def event_runs(event: SoundEvent, glyphs: Glyphs) -> list[Run]:
    """ "▸ piano   in 00:41 out 01:12", COLUMN cells wide; without "out" while it sounds."""
    if event.label:
        time = f" at {clock(event.start, hours=False)}  "
        text = fitted(event.name, COLUMN - 3 - len(time), glyphs.ellipsis)
        return [("entered", f" {glyphs.label} {text}"), ("label", time)]
    sounds = event.stop is None
    name = f" {glyphs.active if sounds else ' '} {DISPLAY_NAMES[event.name]}"
    times = f"in {clock(event.start, hours=False)}"
    if event.stop is not None:
        times += f" out {clock(event.stop, hours=False)}"
    return [
        ("entered" if sounds else "left", f"{name:<{NAME}}"),
        ("label", fitted(times, COLUMN - NAME, glyphs.ellipsis)),
    ]


class Events(Palette):
    """Onsets and offsets, column by column."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"label", "entered", "left"}

    def __init__(self, state: ScreenState, glyphs: Glyphs) -> None:
        super().__init__()
        self.glyphs = glyphs
        self.events = state.events

    def show(self, state: ScreenState) -> None:
        """Draw a state."""
        if state.events != self.events:
            self.events = state.events
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width, lines = self.size.width, self.size.height - 1
        runs: list[Run] = []
        if y == 0:
            runs = [("label", "   entries and exits, newest first")]
        else:
            for column in range(max(1, width // COLUMN)):
                number = column * lines + y - 1
                if number < len(self.events):
                    runs += event_runs(self.events[number], self.glyphs)
        return self.strip(runs, width)


STEPS = 12

LOW, HIGH = -1.1, 1.9  # of the networks' own scale, (ln(power + 1e-5) + 4.5) / 5: silence and a loud band


def mel_cells(mel: FloatArray, width: int, bands: int) -> NDArray[np.int64]:
    """How bright each cell is, int [bands, width], 0…11, -1 where there was no sound; the highest band first.

    `mel`: float32 [frames, 32], ending now; `bands`: at most 32. A cell shows the loudest of its frames, and the mean
    of its bands.
    """
    cells = np.full((bands, width), -1, np.int64)
    if not len(mel) or not width or not bands:
        return cells
    per_cell = SPAN * FRAMES / width
    at = width - 1 - np.floor((len(mel) - 1 - np.arange(len(mel))) / per_cell).astype(np.int64)
    seen, first = np.unique(np.maximum(at, 0), return_index=True)
    rows = np.stack([part.mean(axis=1) for part in np.array_split(mel, bands, axis=1)])
    loudest = np.maximum.reduceat(rows, first, axis=1)
    cells[:, seen] = np.clip((loudest - LOW) / (HIGH - LOW) * STEPS, 0, STEPS - 1).astype(np.int64)
    return cells[::-1]


class MelStrip(Palette):
    """The log-mel of the last minute, two bands a line where there are colours."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"label", *(f"shade-{step}" for step in range(STEPS))}

    def __init__(self, state: ScreenState, glyphs: Glyphs) -> None:
        super().__init__()
        self.glyphs = glyphs
        self.mel = state.mel
        self.cells: tuple[object, NDArray[np.int64]] = (None, np.empty((0, 0), np.int64))
        self.pairs: dict[tuple[int, int], Style] = {}

    def show(self, state: ScreenState) -> None:
        """Draw a state."""
        if state.mel is not self.mel:
            self.mel = state.mel
            self.refresh()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self.pairs = {}

    def pair(self, upper: int, lower: int) -> Style:
        """The upper half of a cell in one shade and the lower in another."""
        if (upper, lower) not in self.pairs:
            one, other = (self.look(f"shade-{max(0, step)}").bgcolor for step in (upper, lower))
            self.pairs[upper, lower] = Style(color=one, bgcolor=other)
        return self.pairs[upper, lower]

    def line(self, upper: NDArray[np.int64], lower: NDArray[np.int64]) -> list[Segment]:
        """One line of the strip."""
        if self.glyphs.tinted:
            return [Segment("▀", self.pair(u, v)) for u, v in zip(upper.tolist(), lower.tolist(), strict=True)]
        shades, both = self.glyphs.shades, np.maximum(upper, lower)
        signs = "".join(shades[max(0, step) * len(shades) // STEPS] for step in both.tolist())
        return [Segment(signs, self.paper)]

    def render_line(self, y: int) -> Strip:
        width, lines = self.size.width, self.size.height - 1
        if y == 0:
            return self.strip([("label", "   input of the networks: 60 s of log-mel, low bands below")], width)
        room = max(0, width - 4)
        key = (id(self.mel), room, lines)
        if self.cells[0] != key:
            self.cells = (key, mel_cells(self.mel, room, 2 * lines))
        upper, lower = self.cells[1][2 * y - 2], self.cells[1][2 * y - 1]
        margin = Segment("   ", self.paper)
        return Strip([margin, *self.line(upper, lower)]).adjust_cell_length(width, self.paper)
