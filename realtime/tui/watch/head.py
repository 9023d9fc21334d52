"""The lines above and below the list: how many sources there are, how they are, what the columns mean, and the keys."""

from collections import Counter
from collections.abc import Mapping
from typing import ClassVar

from instrec_live.realtime.tui.bar import Run
from instrec_live.realtime.tui.fitting import fitted, length, printable, spread
from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.keys import Entry, Keys
from instrec_live.realtime.tui.line import Line
from instrec_live.realtime.tui.watch.row import AGE_FROM, Cells, in_short, title_runs
from instrec_live.realtime.tui.watch.source import SHOWN, Health, Source
from instrec_live.realtime.tui.watch.view import ListView

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
    """The first line: program, how many sources, their worst age, and what runs the networks."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"title", "live", "source", "clock", "detail"}

    def __init__(self, engine: str, glyphs: Glyphs) -> None:
        super().__init__()
        self.engine, self.glyphs = engine, glyphs
        self.number = 0
        self.worst: float | None = None

    def show(self, sources: Mapping[str, Source], now: float) -> None:
        """Of those sources, `now`. What is lost has no age that could be the worst."""
        heard = [(each, each.late(now)) for each in sources.values()]
        ages = [each.age(late) for each, late in heard if each.health(late) in (Health.WELL, Health.LATE)]
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
    """The second line: how many sources are well, and how many are not; whether the list is held, or all is over."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"label", "value", *PARTS.values(), "state-frozen"}

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self.glyphs = glyphs
        self.counts: Counter[Health] = Counter()
        self.shown, self.view = 0, ListView()

    def show(self, sources: Mapping[str, Source], shown: int, view: ListView, now: float) -> None:
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
