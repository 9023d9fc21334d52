"""The list of sources: its rows, lines, keys and help."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.screen import Screen
from textual.strip import Strip

from instrec_live.realtime.stream.activity import Activity
from instrec_live.realtime.tui.device_picker import Prompt
from instrec_live.realtime.tui.drawing import (
    Glyphs,
    Line,
    Run,
    Strips,
    bar,
    fitted,
    length,
    level,
    printable,
    probability,
    spread,
)
from instrec_live.realtime.tui.help import Chapter, Entry, Help, Keys
from instrec_live.realtime.tui.messages import RowChosen
from instrec_live.realtime.tui.stream_view import LEAST_HEIGHT, LEAST_WIDTH, TooSmall
from instrec_live.realtime.tui.watch.source import SHOWN, Health, ListView, Order, WatchedSource

WORD = 11  # cells of a state word

METER, WIDE_METER = 6, 10  # cells of the level meter, and two for its ends

AGE, SKIP = 5, 5

LEAST_NAME = 6

AGE_FROM, METER_FROM, SKIP_FROM, WIDE_FROM = 54, 70, 76, 100  # columns from which there is room for each


class Cells(NamedTuple):
    """Cells of each part of a row; 0: it is not shown."""

    name: int
    word: int
    meter: int
    sounds: int
    skip: int
    age: int


def cells_of(width: int, names: Iterable[str]) -> Cells:
    """The parts of a row of `width` cells: a narrow one loses the skipped count, the meter, then the age."""
    longest = max((cell_len(printable(name)) for name in names), default=LEAST_NAME)
    name = max(LEAST_NAME, min(longest, max(10, width // 5)))
    meter = WIDE_METER if width >= WIDE_FROM else METER if width >= METER_FROM else 0
    skip = SKIP if width >= SKIP_FROM else 0
    age = AGE if width >= AGE_FROM else 0
    taken = 2 + name + 1 + WORD + 1 + (meter + 3 if meter else 0) + skip + (age + 2 if age else 1)
    return Cells(name, WORD, meter, max(0, width - taken), skip, age)


class Row(NamedTuple):
    """All that a row shows; equal rows look equal."""

    name: str
    word: Run
    level: float  # value of the meter, 0…1, to an eighth of its cells
    sounding: tuple[tuple[str, str, bool], ...]  # instrument, how sure, whether it is only held; the surest first
    why: str  # in their place
    skipped: int
    age: str
    selected: bool
    recording: bool = False


def row_of(source: WatchedSource, now: float, selected: bool) -> Row:
    """What a source's row shows `now`, s of the monotonic clock."""
    late = source.late(now)
    update, age = source.update, source.age(late)
    steps = 8 * WIDE_METER
    return Row(
        name=source.name,
        word=source.word(late),
        level=round(level(source.level_db) * steps) / steps,
        sounding=tuple(
            (name, probability(each.probability), each.activity is Activity.HELD) for name, each in source.sounding
        ),
        why=source.why(late),
        skipped=update.skipped if update else 0,
        age="" if age is None else in_short(age),
        selected=selected,
        recording=source.recording,
    )


def in_short(seconds: float) -> str:
    """ "0.3s", "12s", "5m", "3h", "2d"."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    for unit, size, most in (("s", 1, 100), ("m", 60, 100), ("h", 3600, 48)):
        if seconds < size * most:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds / 86400:.0f}d"


def sound_runs(row: Row, width: int, glyphs: Glyphs) -> list[Run]:
    """The active instruments that fit into `width` cells and how many more, or why there are none."""
    if row.why:
        return [("why", fitted(printable(row.why), width, glyphs.ellipsis))]
    runs: list[Run] = []
    left = width
    for number, (name, p, held) in enumerate(row.sounding):
        gap = "  " if number else ""
        others = len(row.sounding) - number
        room = left - (len(f" +{others - 1}") if others > 1 else 0)
        if len(gap) + len(name) + 1 + len(p) > room:
            if number == 0 and left >= 4:  # its name alone, rather than nothing
                runs, left = [("sound", fitted(name, left, glyphs.ellipsis))], 0
            elif left >= len(more := f" +{others}"):
                runs, left = [*runs, ("more", more)], left - len(more)
            break
        runs += [("held" if held else "sound", f"{gap}{name} "), ("held" if held else "number", p)]
        left -= len(gap) + len(name) + 1 + len(p)
    return [*runs, ("sound", " " * left)]


def row_runs(row: Row, cells: Cells, glyphs: Glyphs) -> list[Run]:
    """The row, laid out in `cells`."""
    part, word = row.word
    runs: list[Run] = [
        ("marker", glyphs.cursor if row.selected else " "),
        ("recording", glyphs.dot if row.recording else " "),
        ("name", fitted(printable(row.name), cells.name, glyphs.ellipsis) + " "),
        (part, word),
        ("name", " " * (cells.word - len(word) + 1)),
    ]
    room = cells.sounds
    if cells.meter and row.why:
        room += cells.meter + 3
    elif cells.meter:
        meter = bar(row.level, cells.meter, glyphs)
        runs += [("end", glyphs.left), *meter, ("end", glyphs.right + " ")]
    if row.why and not row.age:  # it has ended: there is nothing to the right of it
        return [*runs, *sound_runs(row, room + cells.skip + (cells.age + 1 if cells.age else 0), glyphs), ("age", " ")]
    runs += sound_runs(row, room, glyphs)
    if cells.skip:
        runs.append(("skip", f"{count(row.skipped):>{cells.skip}}"))
    if cells.age:
        runs.append(("age", f" {row.age:>{cells.age}}"))
    return [*runs, ("age", " ")]


def count(skipped: int) -> str:
    """ "12", "54k"; nothing where it is none."""
    if skipped < 10_000:
        return str(skipped) if skipped else ""
    return f"{skipped / 1000:.0f}k" if skipped < 999_500 else f"{skipped / 1e6:.0f}M"


def title_runs(cells: Cells) -> list[Run]:
    """The columns' names, standing where `row_runs` puts them."""
    text = f"  {fitted('source', cells.name, '')} {'state':<{cells.word}} "
    if cells.meter:
        text += f" {'level':<{cells.meter}}  "
    text += f"{'sounds now':<{cells.sounds}.{cells.sounds}}"
    if cells.skip:
        text += f"{'skip':>{cells.skip}}"
    if cells.age:
        text += f" {'age':>{cells.age}}"
    return [("label", text)]


PARTS = {
    Health.WELL: "state-ok",
    Health.LATE: "state-warn",
    Health.LOST: "state-bad",
    Health.FAILED: "state-bad",
    Health.OPENING: "state-calm",
    Health.ENDED: "state-ended",
}


def plural(number: int) -> str:
    """ "1 source", "60 sources"."""
    return f"{number} source{'s' * (number != 1)}"


class Overview(Line):
    """The first line: program, number of sources, their worst age, and the engine."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"title", "live", "source", "clock", "detail"}

    def __init__(self, engine: str, glyphs: Glyphs) -> None:
        super().__init__()
        self.engine, self.glyphs = engine, glyphs
        self.number = 0
        self.worst: float | None = None

    def show(self, sources: Mapping[str, WatchedSource], now: float) -> None:
        """Of those sources, `now`. What is lost has no age that could be the worst."""
        waits = [(each, each.late(now)) for each in sources.values()]
        ages = [each.age(late) for each, late in waits if each.health(late) in (Health.WELL, Health.LATE)]
        self.number, self.worst = len(sources), max((age for age in ages if age is not None), default=None)
        self.redraw()

    def runs(self, width: int) -> list[Run]:
        number = f"{self.glyphs.dot} {plural(self.number)}"
        left: list[Run] = [("title", " instrec-live"), ("space", "  "), ("live", number), ("space", "  ")]
        right: list[Run] = []
        if self.worst is not None:
            label = "worst age " if width >= AGE_FROM else "age "
            right = [("detail", label), ("clock", in_short(self.worst))]
        engine = printable(self.engine)
        if length(left) + length(right) + len(engine) + 4 <= width:
            right = [("detail", f"{engine}  "), *right]
        return spread(left, [*right, ("space", " ")], width)


class Counts(Line):
    """The second line: how many sources are in which state; whether the list is frozen or everything has ended."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"label", "value", *PARTS.values(), "state-frozen"}

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self.glyphs = glyphs
        self.counts: Counter[Health] = Counter()
        self.shown, self.view = 0, ListView()

    def show(self, sources: Mapping[str, WatchedSource], shown: int, view: ListView, now: float) -> None:
        """Of those sources, so many of which are `shown`."""
        self.counts = Counter(each.health(each.late(now)) for each in sources.values())
        self.shown, self.view = shown, view
        self.redraw()

    def runs(self, width: int) -> list[Run]:
        whole = self.counts.total()
        over = self.counts[Health.ENDED] + self.counts[Health.FAILED] == whole
        right: list[Run] = [("state-ended", "ALL ENDED")] if whole and over else []
        if self.view.frozen:
            right = [("state-frozen", "FROZEN")]
        right = [*right, ("space", " ")]
        runs: list[Run] = []
        fields = [(PARTS[each], f"{self.counts[each]} {each.value}") for each in SHOWN if self.counts[each]]
        if self.shown < whole:
            fields.append(
                ("label", f"{self.shown} shown ({fitted(self.view.words, 12, self.glyphs.ellipsis).strip()})")
            )
        for field in fields:
            added: list[Run] = [("space", "  " if runs else " "), field]
            if length(runs) + length(added) + length(right) <= width:
                runs += added
        return spread(runs, right, width)


class Titles(Line):
    """The line above the rows: what the columns mean."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"label"}

    def __init__(self, cells: Cells) -> None:
        super().__init__()
        self.cells = cells

    def show(self, cells: Cells) -> None:
        """Of other columns."""
        self.cells = cells
        self.redraw()

    def runs(self, width: int) -> list[Run]:
        return title_runs(self.cells)


class ListKeys(Keys):
    """The list's keys and what they do; as many as fit."""

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(False, glyphs)
        self.list_view = ListView()

    def show_list(self, view: ListView) -> None:
        """Show what the keys do now."""
        self.list_view = view
        self.redraw()

    def entries(self) -> list[Entry]:
        view = self.list_view
        return [
            ("q", "quit", "app.quit"),
            ("?", "help", "screen.help"),
            ("enter", "open", "screen.open"),
            ("space", "resume" if view.frozen else "freeze", "screen.freeze"),
            ("s", f"sort:{view.order.value}", "screen.sort"),
            ("/", "filter", "screen.filter"),
            (self.glyphs.up_down, "select", "screen.move(1)"),
            ("t", "theme", "app.light_or_dark"),
            ("ctrl+p", "more", "app.command_palette"),
        ]


ON_TRACK = {"fill", "track"}

OWN_PAPER = {"state-frozen", "state-warn", "state-bad", *ON_TRACK}  # parts that the cursor's colour is not laid under


class SourceRows(Strips, can_focus=False):
    """All rows in one widget; only changed ones are drawn again."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "cursor", "marker", "recording", "name", "end", "sound", "held", "number", "more", "why", "skip", "age",
        "state-frozen", *PARTS.values(), *ON_TRACK,
    }  # fmt: skip

    def __init__(self, names: list[str], glyphs: Glyphs) -> None:
        super().__init__()
        self.names, self.glyphs = names, glyphs
        self.rows: list[Row] = []
        self.kept: dict[Row, Strip] = {}  # what is drawn now
        self.selected: str | None = None

    @property
    def cells(self) -> Cells:
        """The columns at the present width."""
        return cells_of(self.scrollable_content_region.width, self.names)

    def show(self, rows: list[Row]) -> None:
        """Draw other rows, from the top down."""
        before, self.rows = self.selected, rows
        at = next((number for number, row in enumerate(rows) if row.selected), None)
        self.selected = None if at is None else rows[at].name
        self.redraw()
        if at is not None and self.selected != before:
            self.scroll_to_region(Region(0, at, 1, 1), animate=False, force=True)

    def drawn(self, width: int) -> list[Strip]:
        cells = self.cells
        seen, self.kept = self.kept, {}
        for row in self.rows:
            self.kept[row] = seen.get(row) or self.strip_of(row, cells, width)
        return [self.kept[row] for row in self.rows]

    def strip_of(self, row: Row, cells: Cells, width: int) -> Strip:
        """A row in the colours of the style sheet."""
        ground = self.look("cursor" if row.selected else "")
        paper = Style(bgcolor=ground.bgcolor)
        segments = [Segment(text, self.styled(part, paper)) for part, text in row_runs(row, cells, self.glyphs)]
        return Strip(segments).adjust_cell_length(width, ground)

    def styled(self, part: str, paper: Style) -> Style:
        """How a part looks on the row's ground."""
        return self.look(part) if part in OWN_PAPER else self.look(part) + paper

    def redraw_all(self) -> None:
        self.kept = {}
        super().redraw_all()

    def on_click(self, event: events.Click) -> None:
        line = event.y + self.scroll_offset.y
        self.post_message(RowChosen(self.rows[line].name if line < len(self.rows) else None))


TITLE = "How to read the list"


def chapters(glyphs: Glyphs) -> list[Chapter]:
    """The help of the list, in reading order."""
    return [
        (
            "A row",
            [
                (glyphs.dot, "before the name: the sound is being recorded"),
                ("state", "the state of the source, see below"),
                ("level", "of the newest sound, from -60 dB to full scale"),
                ("piano .83", "sounds now: about 83 of 100 such answers are right; pale: only held"),
                ("+2", "this many more sound than fit"),
                ("skip", "windows skipped because the machine is too slow"),
                ("age", "of the newest sound shown; of a lost device: for how long"),
            ],
        ),
        (
            "The state",
            [
                ("OPENING", "no sound yet"),
                ("WARMING", "less than 10 s of sound so far: results are still rough"),
                ("QUIET", "too quiet to judge: nothing is shown as sounding"),
                ("GAP", "some of the last 10 s is missing: results may be wrong"),
                ("CATCHING UP", "this machine is too slow: windows are skipped"),
                ("PAUSED", "a file, paused"),
                ("NO UPDATE", "no update for more than 2 s beyond the hop"),
                ("DEVICE LOST", "the device gives no sound; reconnecting"),
                ("FAILED", "it ended with this error; the others continue"),
                ("ENDED", "its sound has ended; what sounded in it, the longest first"),
            ],
        ),
        (
            "Keys",
            [
                (f"{glyphs.up_down} j k", "select a source; also pages, home, end and clicks"),
                ("enter", "open it: all of its instruments; esc returns"),
                ("s", "sort: as named, problems first, the loudest first"),
                ("/", "show some sources only, by name; esc shows all"),
                ("space", "freeze or resume the list; listening continues"),
                ("t", "dark or light; more themes and commands with ctrl+p"),
                ("q", "quit"),
            ],
        ),
    ]


TITLES_FROM = 16  # lines from which the columns have titles


#: keys of the screen of one source that mean nothing in the list
_KEYS_OF_A_SOURCE = (
    "f,0,plus,equals_sign,minus,m,1,2,3,4,5,6,7,8,9,v,l,e,i,w,r,d,p,left,right,shift+left,shift+right,"
    "greater_than_sign,full_stop,less_than_sign,comma"
)


class Listing(Screen[None]):
    """All sources, a row each.

    Args:
        sources: their current states, by name; read whenever the list is shown.
        engine: what runs the networks.
        glyphs: the signs to draw with.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "Next source"),
        Binding("up,k", "move(-1)", "Previous source"),
        Binding("pagedown", "page(1)", "A page down"),
        Binding("pageup", "page(-1)", "A page up"),
        Binding("home", "move(-1_000_000)", "The first"),
        Binding("end", "move(1_000_000)", "The last"),
        Binding("enter", "open", "Open it"),
        Binding("s", "sort", "Sort"),
        Binding("slash", "filter", "Filter"),
        Binding("space", "freeze", "Freeze or resume the list"),
        Binding("escape", "unfilter", "Show all"),
        Binding("question_mark,f1", "help", "Help"),
        Binding(_KEYS_OF_A_SOURCE, "needs_source", "A key of one source", show=False),
    ]

    class Opened(Message):
        """A source is to be looked at alone."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, sources: Mapping[str, WatchedSource], engine: str, glyphs: Glyphs) -> None:
        super().__init__()
        self.live, self.glyphs = sources, glyphs
        self.sources = dict(sources)  # as they are shown
        self.order = list(sources)
        self.view = ListView(selected=self.order[0])
        self.now = time.monotonic()  # when the list was as it is shown
        self.overview, self.counts = Overview(engine, glyphs), Counts(glyphs)
        self.titles = Titles(cells_of(80, self.order))
        self.rows = SourceRows(self.order, glyphs)
        self.prompt, self.keys = Prompt(), ListKeys(glyphs)
        self.too_small = TooSmall()

    def compose(self) -> ComposeResult:
        yield from (self.too_small, self.overview, self.counts, self.titles, self.rows, self.prompt, self.keys)

    def show(self) -> None:
        """Draw the sources as they are now, unless the list is frozen."""
        if not self.view.frozen:
            self.sources, self.now = dict(self.live), time.monotonic()
            self.draw()

    def draw(self) -> None:
        """Draw the sources as they were when they were last shown."""
        view, now = self.view, self.now
        before = [*self.order, *(name for name in self.sources if name not in self.order)]
        self.order = view.arranged(self.sources, before, now)
        self.overview.show(self.sources, now)
        self.counts.show(self.sources, len(self.order), view, now)
        self.rows.show([row_of(self.sources[name], now, name == view.selected) for name in self.order])
        self.titles.show(self.rows.cells)
        self.keys.show_list(view)

    def look_at(self, view: ListView) -> None:
        """Change the view."""
        self.view = view
        self.draw()

    def on_resize(self, event: events.Resize) -> None:
        """Lay out the screen again."""
        small = event.size.width < LEAST_WIDTH or event.size.height < LEAST_HEIGHT
        self.too_small.display = small
        for part in (self.overview, self.counts, self.rows, self.keys):
            part.display = not small
        self.titles.display = not small and event.size.height >= TITLES_FROM
        self.call_after_refresh(self.draw)

    def action_move(self, steps: int) -> None:
        """Select another source."""
        at = self.order.index(self.view.selected) + steps if self.view.selected in self.order else 0
        self.look_at(replace(self.view, selected=self.order[min(len(self.order) - 1, max(0, at))]))

    def action_page(self, pages: int) -> None:
        """Select one that is so many pages below."""
        self.action_move(pages * max(1, self.rows.size.height - 1))

    def action_open(self) -> None:
        """Open the selected source."""
        if self.view.selected in self.order:
            self.post_message(self.Opened(self.view.selected))

    def on_row_chosen(self, message: RowChosen) -> None:
        """A click selects; on what is selected it opens."""
        message.stop()
        if message.name is not None and message.name == self.view.selected:
            self.action_open()
        elif message.name is not None:
            self.look_at(replace(self.view, selected=message.name))

    def action_sort(self) -> None:
        """The next order."""
        orders = list(Order)
        self.look_at(replace(self.view, order=orders[(orders.index(self.view.order) + 1) % len(orders)]))

    def action_freeze(self) -> None:
        """Freeze or unfreeze the list."""
        self.look_at(replace(self.view, frozen=not self.view.frozen))
        self.show()

    def action_filter(self) -> None:
        """Ask for filter words; sources that match none are hidden while they are typed."""
        self.prompt.ask("filter", "sources to show, by part of a name; enter confirms, esc shows all", self.view.words)

    def action_needs_source(self) -> None:
        """Say that the key is one of a single source."""
        self.notify("this key is for one source: enter opens the selected one", severity="warning", markup=False)

    def action_unfilter(self) -> None:
        """Show all."""
        self.look_at(replace(self.view, words=""))

    def on_prompt_typed(self, message: Prompt.Typed) -> None:
        message.stop()
        view = replace(self.view, words=message.text)
        if message.done and view.finds_nothing(self.sources):
            self.notify(f"no such source: {message.text}; all are shown", severity="warning", markup=False)
            view = replace(view, words="")
        names = view.admitted(self.sources)
        if view.selected not in names:
            view = replace(view, selected=names[0])
        self.look_at(view)

    def action_help(self) -> None:
        """Explain the list."""
        self.app.push_screen(Help(chapters(self.glyphs), TITLE))
