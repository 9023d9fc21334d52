"""The help screen and the line of keys."""

import math
from collections.abc import Callable, Mapping
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from instrec_live.models.audioset import OTHER_NAMES
from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.realtime.stream.update import StreamInfo
from instrec_live.realtime.tui.device_picker import ClosesOnce
from instrec_live.realtime.tui.drawing import Glyphs, Line, Run, length, probability, spread
from instrec_live.realtime.tui.state import PlaybackState, ScreenState, View

Entry = tuple[str, str, str]  # key, what it does, Textual action


def entries(
    view: View, playback: PlaybackState, live: bool, glyphs: Glyphs, listed: bool = False, at_end: bool = False
) -> list[Entry]:
    """The keys, the most needed first; `listed`: there is a list of sources to go back to; `at_end`: of the file."""
    frozen = "resume" if view.frozen else "freeze"
    found = [
        ("q", "quit", "app.quit"),
        *([("esc", "list", "app.to_list")] if listed else []),
        ("?", "help", "app.help"),
    ]
    if playback.playable:
        found += [
            ("home", "play it again", "app.seek(-1e9)")
            if at_end
            else ("space", "play" if playback.paused else "pause", "app.hold"),
            (glyphs.left_right, "seek", "app.seek(10)"),
            ("f", frozen, "app.freeze"),
        ]
    else:
        found.append(("space", frozen, "app.hold"))
    found += [
        ("s", f"sort:{view.sorting.value}", "app.sort"),
        ("+-", "threshold", "app.threshold(1)"),
        ("r", "stop rec" if playback.recording else "rec", "app.record"),
        *([("d", "device", "app.devices")] if live else []),
        ("m", "nets", "app.networks"),
        ("v", "view", "app.minute"),
        ("/", "filter", "app.filter"),
        ("l", "label", "app.label"),
        ("e", "events", "app.export_events"),
        ("i", "picture", "app.picture"),
        ("w", "keep thresholds", "app.keep_thresholds"),
        ("0", "clear peaks", "app.clear_peaks"),
        (glyphs.up_down, "select", "app.move(1)"),
        ("t", "theme", "app.light_or_dark"),
        ("ctrl+p", "more", "app.command_palette"),
    ]
    return found


def also_runs(hidden: Mapping[str, float], others: Mapping[str, float], width: int) -> list[Run]:
    """Active instruments whose row is not visible: "also voice .99  harp .62"; as many as fit.

    `hidden`: instruments whose rows are out of view; `others`: likely ones other than the 20. Both with probabilities.
    """
    named = [(DISPLAY_NAMES[name], p) for name, p in hidden.items()]
    named += [(OTHER_NAMES.get(name, name), p) for name, p in sorted(others.items(), key=lambda each: -each[1])]
    text = ""
    for name, p in named:
        added = f"{text or 'also:'} {name} {probability(p)}"
        if len(added) + 1 > width:
            break
        text = added
    return [("also", f"{text} ")] if text else []


class Keys(Line):
    """Keys and what they do, as many as fit; at the right, what sounds and has no row to be seen."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"key", "label", "also"}

    def __init__(self, live: bool, glyphs: Glyphs, listed: bool = False) -> None:
        super().__init__()
        self.live, self.listed = live, listed
        self.glyphs = glyphs
        self.view, self.playback = View(), PlaybackState()
        self.at_end = False
        self.hidden: Mapping[str, float] = {}
        self.others: Mapping[str, float] = {}

    def show(
        self,
        view: View,
        playback: PlaybackState,
        state: ScreenState | None = None,
        hidden: Mapping[str, float] | None = None,
    ) -> None:
        """Show what the keys do now; `hidden`: those that sound and whose rows are out of view."""
        self.view, self.playback = view, playback
        if state is not None:
            self.at_end, self.hidden = state.at_end, hidden or {}
            self.others = state.update.also if state.update and not state.at_end else {}
        self.redraw()

    def entries(self) -> list[Entry]:
        """The entries of the line, the most needed first."""
        return entries(self.view, self.playback, self.live, self.glyphs, self.listed, self.at_end)

    def runs(self, width: int) -> list[Run]:
        runs: list[Run] = []
        also = also_runs(self.hidden, self.others, width - LEAST_KEYS)
        width -= length(also)
        taken = 0
        for key, label, action in self.entries():
            taken += len(key) + len(label) + 3
            if taken > width + 1:
                break
            runs += [(f"key:{action}", f" {key}"), (f"label:{action}", f" {label} ")]
        return spread(runs, also, width + length(also)) if also else runs

    def look(self, part: str) -> Style:
        name, _, action = part.partition(":")
        return super().look(name) + Style(meta={"@click": action}) if action else super().look(name)


LEAST_KEYS = 15  # cells for the first two keys

Chapter = tuple[str, list[tuple[str, str]]]  # title, [(sign, meaning)]

SIGN = 15  # cells for a sign and the blanks around it


def chapters(glyphs: Glyphs, info: StreamInfo, playable: bool, listed: bool = False) -> list[Chapter]:
    """The help of a stream's screen, in reading order; `listed`: a list of sources is behind it."""
    models = info.models
    dots = glyphs.dot * max(1, len(models) - 1) + glyphs.ring
    chosen = [
        *(
            [
                ("space", "pause and play the file; at its end: play it again"),
                (glyphs.left_right, "back or forward 10 s, with shift 1 min; home: to the start"),
                ("< >", "slower, faster"),
                ("f", "freeze or resume the screen; listening continues"),
            ]
            if playable
            else [("space", "freeze or resume the screen; listening continues")]
        ),
        (f"{glyphs.up_down} j k", "select a row and show its numbers above; esc deselects"),
        ("+ -", "threshold of the selected row, or of all; w saves the changes"),
        ("m", "a bar for every network, below the selected row"),
        (" ".join(str(n + 1) for n in range(len(models))), f"one network alone: {', '.join(models)}"),
        ("s", "sort: fixed order, by score, by latest entry"),
        ("/", "show some instruments only (--only listens for some only)"),
        ("v", "the last minute as a line, or as a heat map"),
        ("0", "clear the peaks"),
        ("l", "write a label into the outputs, at this moment"),
        ("e", "write the entries and exits so far, and the labels, to a file"),
        ("i", "save a picture of the screen"),
        ("r", "record the sound, including the last seconds; again: stop"),
    ]
    if info.live:
        chosen.append(("d", "listen to another microphone"))
    if listed:
        chosen.append(("esc", "deselect the row; again: back to the list"))
    chosen += [("t", "dark or light; more themes and commands with ctrl+p"), ("q", "quit")]
    return [
        ("Keys", chosen),
        (
            "A row",
            [
                (glyphs.active, "sounds now: its bar has reached its threshold (also: bold)"),
                (glyphs.held, "held: below its on-threshold, not below its off-threshold"),
                (glyphs.leaving, "leaving: below its off-threshold; off soon unless it rises"),
                (".83", "probability: about 83 of 100 such answers are right"),
                (glyphs.threshold, "on-threshold; of a held or leaving instrument, its off-threshold"),
                (glyphs.peak, "peak of the last seconds; falls slowly"),
                (f"net {dots}", f"each network alone: {', '.join(models)} ({glyphs.gone}: no result)"),
                (glyphs.spark, "the last minute; now is at the right"),
                (glyphs.shades[1:], "the same as a heat map; full: above the threshold"),
                ("also:", "sounds, but its row is out of view, or it is not one of the 20"),
            ],
        ),
        (
            "The line at the top",
            [
                ("in", "level of the newest sound; CLIP: too loud, turn it down"),
                ("age", "age of the newest sound shown"),
                ("took", "time that the networks needed for it"),
                ("xrun", "how often sound was lost before it arrived here"),
                ("skip", "windows skipped because inference was late; one window per --hop"),
                ("GAP", "in place of xrun while some of the last 10 s is missing"),
                ("music", "the kind of sound: music, speech, applause or noise"),
            ],
        ),
        (
            "The state word at the right",
            [
                ("WARMING", "less than 10 s of sound so far: results are still rough"),
                ("QUIET", "too quiet to judge (--gate): nothing is shown as sounding"),
                ("CATCHING UP", "this machine is too slow: share of windows skipped"),
                ("DEVICE LOST", "the microphone gives no sound; reconnecting"),
                ("NO UPDATE", "no update for more than 2 s beyond the hop"),
                ("PAUSED, FROZEN", "the file is paused; the screen is frozen, listening continues"),
                ("ENDED", "the sound has ended"),
            ],
        ),
        (
            "On a large screen",
            [("log-mel", "input of the networks: time to the right, pitch upwards, bright is loud")],
        ),
    ]


class Help(ClosesOnce, ModalScreen[None]):
    """Explains the screen, page by page; its keys, or a click, close it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,f1,q,enter", "dismiss", "close"),
        Binding("space,pagedown", "page(1)", "on"),
        Binding("pageup,b", "page(-1)", "back"),
        Binding("down,j", "scroll(1)", "down"),
        Binding("up,k", "scroll(-1)", "up"),
        Binding("home", "page(-99)", "to the top"),
        Binding("end", "page(99)", "to the end"),
    ]

    def __init__(self, chapters: list[Chapter], title: str = "How to read the screen") -> None:
        super().__init__()
        self.chapters, self.heading = chapters, title

    def compose(self) -> ComposeResult:
        page: list[RenderableType] = []
        airy = self.app.size.height >= 30
        for number, (title, entries) in enumerate(self.chapters):
            page += [Text("\n" * (airy and number > 0) + title, Style(italic=True)), _beside(entries)]
        with Vertical():
            yield Static(self.heading, id="title")
            with VerticalScroll(can_focus=False):
                yield Static(Group(*page), id="page")
            yield Static("esc closes", id="where")

    def on_mount(self) -> None:
        self.call_after_refresh(self.tell_where)

    @property
    def pages(self) -> VerticalScroll:
        return self.query_one(VerticalScroll)

    def on_resize(self) -> None:
        """Leave room for the title and the last line."""
        self.pages.styles.max_height = max(1, self.app.size.height - 2)
        self.call_after_refresh(self.tell_where)

    def tell_where(self) -> None:
        """Show which page of the help is visible, and the keys for the others; nothing once it is closed."""
        if not self.query(VerticalScroll):
            return
        height, whole = self.pages.size.height, self.pages.virtual_size.height
        if whole <= height or height <= 0:
            self.query_one("#where", Static).update("esc closes")
            return
        page, pages = round(self.pages.scroll_y / max(1, height)) + 1, math.ceil(whole / height)
        on = "space: more" if self.pages.scroll_y < whole - height else "b: back"
        self.query_one("#where", Static).update(f"page {min(page, pages)}/{pages}  {on}  esc closes")

    def action_scroll(self, lines: int) -> None:
        """Scroll a line down (1) or up (-1)."""
        self.call_after_refresh(self.scroll_on, lambda: lines)

    def action_page(self, pages: int) -> None:
        """Scroll a page on (1) or back (-1)."""
        self.call_after_refresh(self.scroll_on, lambda: pages * max(1, self.pages.size.height - 1))

    def scroll_on(self, lines: Callable[[], int]) -> None:
        """Scroll, once the page is laid out: a key may arrive before it is."""
        if self.query(VerticalScroll):
            self.pages.scroll_relative(y=lines(), animate=False, immediate=True)
            self.call_after_refresh(self.tell_where)

    def on_click(self) -> None:
        self.dismiss()


def _beside(entries: list[tuple[str, str]]) -> Table:
    """Signs and, to the right of them, their meanings, which are wrapped within their column on a narrow page."""
    table = Table.grid()
    table.add_column(width=SIGN, style=Style(bold=True))
    table.add_column()
    for sign, meaning in entries:
        table.add_row(Text(f"  {sign}"), Text(meaning))
    return table
