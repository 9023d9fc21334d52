"""The last line: the keys. Each can be clicked."""

from typing import ClassVar

from rich.style import Style

from instrec_live.realtime.tui.bar import Run
from instrec_live.realtime.tui.deck import Deck
from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.line import Line
from instrec_live.realtime.tui.view import View

Entry = tuple[str, str, str]  # key, what it does, Textual action


def entries(view: View, deck: Deck, live: bool, glyphs: Glyphs, listed: bool = False) -> list[Entry]:
    """The keys, the most needed first; `listed`: there is a list of sources to go back to."""
    found = [
        ("q", "quit", "app.quit"),
        *([("esc", "list", "app.to_list")] if listed else []),
        ("?", "help", "app.help"),
        ("space", "resume" if view.frozen else "freeze", "app.freeze"),
    ]
    if deck.playable:
        found += [("p", "play" if deck.paused else "pause", "app.pause"), (glyphs.left_right, "seek", "app.seek(10)")]
    found += [
        ("s", f"sort:{view.sorting.value}", "app.sort"),
        ("+-", "threshold", "app.threshold(1)"),
        ("r", "stop rec" if deck.recording else "rec", "app.record"),
        *([("d", "device", "app.devices")] if live else []),
        ("m", "nets", "app.networks"),
        ("v", "view", "app.minute"),
        ("/", "filter", "app.filter"),
        ("l", "label", "app.label"),
        ("0", "clear peaks", "app.clear_peaks"),
        (glyphs.up_down, "select", "app.move(1)"),
        ("t", "theme", "app.light_or_dark"),
        ("ctrl+p", "more", "app.command_palette"),
    ]
    return found


class Keys(Line):
    """Keys and what they do; as many as fit."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"key", "label"}

    def __init__(self, live: bool, glyphs: Glyphs, listed: bool = False) -> None:
        super().__init__()
        self.live, self.listed = live, listed
        self.glyphs = glyphs
        self.view, self.deck = View(), Deck()

    def show(self, view: View, deck: Deck) -> None:
        """Show what the keys do now."""
        self.view, self.deck = view, deck
        self.redraw()

    def entries(self) -> list[Entry]:
        """What stands on the line, the most needed first."""
        return entries(self.view, self.deck, self.live, self.glyphs, self.listed)

    def runs(self, width: int) -> list[Run]:
        runs: list[Run] = []
        taken = 0
        for key, label, action in self.entries():
            taken += len(key) + len(label) + 3
            if taken > width + 1:
                break
            runs += [(f"key:{action}", f" {key}"), (f"label:{action}", f" {label} ")]
        return runs

    def look(self, part: str) -> Style:
        name, _, action = part.partition(":")
        return super().look(name) + Style(meta={"@click": action}) if action else super().look(name)
