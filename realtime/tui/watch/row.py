"""One source's row as runs of text: pure functions, no Textual."""

from collections.abc import Iterable
from typing import NamedTuple

from rich.cells import cell_len

from instrec_live.realtime.tui.bar import Run, bar, level, probability
from instrec_live.realtime.tui.fitting import fitted, printable
from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.watch.source import Source

WORD = 11  # cells of a state word
METER, WIDE_METER = 6, 10  # cells of the level meter, and two for its ends
AGE, SKIP = 5, 5
LEAST_NAME = 6
AGE_FROM, METER_FROM, SKIP_FROM, WIDE_FROM = 54, 70, 76, 100  # columns from which there is room for each


class Cells(NamedTuple):
    """How many cells each part of a row gets; 0: it is left out."""

    name: int
    word: int
    meter: int
    sounds: int
    skip: int
    age: int


def cells_of(width: int, names: Iterable[str]) -> Cells:
    """The parts of a row of `width` cells: a narrow one loses what was skipped, the meter, then the age."""
    longest = max((cell_len(printable(name)) for name in names), default=LEAST_NAME)
    name = max(LEAST_NAME, min(longest, max(10, width // 5)))
    meter = WIDE_METER if width >= WIDE_FROM else METER if width >= METER_FROM else 0
    skip = SKIP if width >= SKIP_FROM else 0
    age = AGE if width >= AGE_FROM else 0
    taken = 2 + name + 1 + WORD + 1 + (meter + 3 if meter else 0) + skip + (age + 2 if age else 1)
    return Cells(name, WORD, meter, max(0, width - taken), skip, age)


class Row(NamedTuple):
    """All that a row shows; two that are equal look equal."""

    name: str
    word: Run
    level: float  # where the meter stands, 0…1, to an eighth of its cells
    sounding: tuple[tuple[str, str], ...]  # instrument, how sure; the surest first
    why: str  # in their place
    skipped: int
    age: str
    selected: bool
    recording: bool = False


def row_of(source: Source, now: float, selected: bool) -> Row:
    """What a source's row shows `now`, s of the monotonic clock."""
    late = source.late(now)
    update, age = source.update, source.age(late)
    steps = 8 * WIDE_METER
    return Row(
        name=source.name,
        word=source.word(late),
        level=round(level(source.level_db) * steps) / steps,
        sounding=tuple((name, probability(p)) for name, p in source.sounding),
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
    """The instruments that sound, as many as fit into `width` cells, and how many more; or why there are none."""
    if row.why:
        return [("why", fitted(printable(row.why), width, glyphs.ellipsis))]
    runs: list[Run] = []
    left = width
    for number, (name, p) in enumerate(row.sounding):
        gap = "  " if number else ""
        others = len(row.sounding) - number
        room = left - (len(f" +{others - 1}") if others > 1 else 0)
        if len(gap) + len(name) + 1 + len(p) > room:
            if number == 0 and left >= 4:  # its name alone, rather than nothing
                runs, left = [("sound", fitted(name, left, glyphs.ellipsis))], 0
            elif left >= len(more := f" +{others}"):
                runs, left = [*runs, ("more", more)], left - len(more)
            break
        runs += [("sound", f"{gap}{name} "), ("number", p)]
        left -= len(gap) + len(name) + 1 + len(p)
    return [*runs, ("sound", " " * left)]


def row_runs(row: Row, cells: Cells, glyphs: Glyphs) -> list[Run]:
    """The row as it stands in `cells`."""
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
    if row.why and not row.age:  # it has ended: nothing stands right of it
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
