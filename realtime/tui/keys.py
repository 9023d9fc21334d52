"""The last line: the keys. Each can be clicked."""

from typing import ClassVar

from rich.style import Style

from instrec_live.realtime.tui.bar import Run
from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.line import Line
from instrec_live.realtime.tui.picture import Sorting


def entries(sorting: Sorting, frozen: bool, glyphs: Glyphs) -> list[tuple[str, str, str]]:
    """(key, what it does, Textual action), the most needed first."""
    return [
        ("q", "quit", "app.quit"),
        ("?", "help", "app.help"),
        ("space", "resume" if frozen else "freeze", "app.freeze"),
        ("s", f"sort:{sorting.value}", "app.sort"),
        ("0", "clear peaks", "app.clear_peaks"),
        (glyphs.up_down, "select", "app.move(1)"),
        ("t", "theme", "app.light_or_dark"),
        ("ctrl+p", "more", "app.command_palette"),
    ]


class Keys(Line):
    """Keys and what they do; as many as fit."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"key", "label"}

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self.glyphs = glyphs
        self.sorting = Sorting.FIXED
        self.frozen = False

    def show(self, sorting: Sorting, frozen: bool) -> None:
        """Show the present order and whether the display is frozen."""
        self.sorting, self.frozen = sorting, frozen
        self.refresh()

    def runs(self, width: int) -> list[Run]:
        runs: list[Run] = []
        taken = 0
        for key, label, action in entries(self.sorting, self.frozen, self.glyphs):
            taken += len(key) + len(label) + 3
            if taken > width + 1:
                break
            runs += [(f"key:{action}", f" {key}"), (f"label:{action}", f" {label} ")]
        return runs

    def part_style(self, part: str) -> Style:
        name, _, action = part.partition(":")
        return super().part_style(name) + Style(meta={"@click": action})
