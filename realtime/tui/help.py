"""The help screen: how to read the picture, and the keys."""

from typing import ClassVar

from rich.console import Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.update import StreamInfo

Chapter = tuple[str, list[tuple[str, str]]]  # title, [(sign, meaning)]
SIGN = 15  # cells for a sign and the blanks around it


def chapters(glyphs: Glyphs, info: StreamInfo, playable: bool, listed: bool = False) -> list[Chapter]:
    """What there is to say of a stream's screen, in reading order; `listed`: a list of sources is behind it."""
    models = info.models
    dots = glyphs.dot * max(1, len(models) - 1) + glyphs.ring
    chosen = [
        ("space", "freeze and resume the picture; listening goes on"),
        (f"{glyphs.up_down} j k", "select a row, to read its numbers above; esc lets go"),
        ("+ -", "threshold of the selected row, or of all"),
        ("m", "a bar for every network, below the selected row"),
        (" ".join(str(n + 1) for n in range(len(models))), f"one network alone: {', '.join(models)}"),
        ("s", "sort: fixed order, by score, by latest entry"),
        ("/", "show some instruments only"),
        ("v", "the last minute as a line, or as a heat map"),
        ("0", "clear the peaks"),
        ("l", "write a label into the outputs, at this moment"),
        ("r", "record the sound, with the seconds before; again ends it"),
    ]
    if info.live:
        chosen.append(("d", "listen to another microphone"))
    if playable:
        chosen += [
            ("p", "pause and play the file"),
            (glyphs.left_right, "10 s back and on, a minute with shift; home: to the beginning"),
            ("< >", "slower, faster"),
        ]
    if listed:
        chosen.append(("esc", "lets go of a row; again: back to the list"))
    chosen += [("t", "dark or light; more themes and commands with ctrl+p"), ("q", "quit")]
    return [
        (
            "A row",
            [
                (glyphs.active, "sounds now (also: bold, and a brighter bar)"),
                (".83", "how sure: about 83 of 100 such answers are right"),
                (glyphs.threshold, "its threshold: from here on it counts as sounding"),
                (glyphs.peak, "the highest of the last seconds; falls slowly"),
                (dots, f"what {', '.join(models)} say alone ({glyphs.gone}: nothing)"),
                (glyphs.spark, "the last minute, the present at the right"),
                (glyphs.shades[1:], "the same as a heat map; full: over the threshold"),
            ],
        ),
        (
            "The line above",
            [
                ("in", "level of the newest sound; CLIP: too loud, turn it down"),
                ("age, net", "age of the newest sound, and the time the networks took"),
                ("xrun, skip", "sound lost on the way in; windows left out, being late"),
                ("GAP", "xrun, while some of the last 10 s is missing"),
            ],
        ),
        (
            "The word at the right",
            [
                ("WARMING", "less than 10 s heard so far: answers are still rough"),
                ("QUIET", "too soft to judge: nothing is shown as sounding"),
                ("CATCHING UP", "too slow for this machine: share of windows left out"),
                ("DEVICE LOST", "the microphone gives no sound any more; it is looked for"),
                ("NO UPDATE", "nothing new has come for longer than it should take"),
                ("FROZEN", "the picture is held; listening goes on"),
                ("ENDED", "the sound is over"),
            ],
        ),
        ("Keys", chosen),
    ]


class Help(ModalScreen[None]):
    """Explains the screen; any of its keys, or a click, closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,f1,q,space,enter", "dismiss", "close"),
        Binding("down,j", "scroll(1)", "down"),
        Binding("up,k", "scroll(-1)", "up"),
    ]

    def __init__(self, told: list[Chapter], title: str = "How to read the screen") -> None:
        super().__init__()
        self.told, self.heading = told, title

    def compose(self) -> ComposeResult:
        page: list[RenderableType] = [
            Text.assemble((self.heading, Style(bold=True)), ("   esc closes this page", Style(dim=True)))
        ]
        airy = self.app.size.height >= 30
        for title, entries in self.told:
            page += [Text("\n" * airy + title, Style(italic=True)), _beside(entries)]
        with VerticalScroll():
            yield Static(Group(*page))

    def action_scroll(self, lines: int) -> None:
        """Scroll a line down (1) or up (-1)."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def on_click(self) -> None:
        self.dismiss()


def _beside(entries: list[tuple[str, str]]) -> Table:
    """Signs, and their meanings beside them, which a narrow page breaks into lines of their own column."""
    table = Table.grid()
    table.add_column(width=SIGN, style=Style(bold=True))
    table.add_column()
    for sign, meaning in entries:
        table.add_row(Text(f"  {sign}"), Text(meaning))
    return table
