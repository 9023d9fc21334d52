"""The lines above the rows: source and clock, level and counters, column titles, seek bar."""

import math
from typing import ClassVar

from rich.cells import cell_len
from textual import events

from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.realtime.stream.health import reason
from instrec_live.realtime.stream.update import State, StreamInfo, Update
from instrec_live.realtime.tui.drawing import (
    Glyphs,
    Line,
    Run,
    bar,
    cell_of,
    clock,
    fitted,
    length,
    level,
    printable,
    probability,
    spread,
)
from instrec_live.realtime.tui.messages import SeekRequested
from instrec_live.realtime.tui.rows import columns
from instrec_live.realtime.tui.state import ENSEMBLE, PlaybackState, ScreenState, View


def axis(width: int) -> str:
    """A bar's scale: 0, a half, 1, over `width` cells."""
    if width < 8:
        return " " * width
    line = [" "] * width
    line[0], line[width - 1] = "0", "1"
    line[width // 2 - 1 : width // 2 + 1] = ".5"
    return "".join(line)


def titles(state: ScreenState, width: int) -> list[Run]:
    """The column titles, at the positions of `rows.columns`."""
    cells = columns(width, len(state.info.models))
    text = f"   {'instrument':<{cells.name}.{cells.name}} prob {axis(cells.bar)}  "
    if cells.dots:
        text += f"{'net':<{cells.dots}.{cells.dots}}"
    if cells.minute:
        past = "last minute" if cells.minute < 16 else f"{'last minute':<{cells.minute - 3}}now"
        text += f"  {past:<{cells.minute}.{cells.minute}}"
    return [("label", text)]


def detail(state: ScreenState, view: View, name: str, width: int, glyphs: Glyphs) -> list[Run]:
    """The selected instrument: its state and thresholds, every network's probability, and its onset."""
    number, predictor = state.info.classes.index(name), state.predictor_of(view.solo)
    decision = state.decision(name, predictor)
    p = glyphs.gone if math.isnan(decision.probability) else probability(decision.probability)
    runs: list[Run] = [("label", "   "), ("value", DISPLAY_NAMES[name])]
    fields = [(decision.activity.value, p), ("threshold", probability(decision.on_at))]
    if predictor == ENSEMBLE:
        fields.append(("off below", probability(decision.off_below)))
    if state.update is not None:
        opinions = zip(state.info.models, state.opinions(name), strict=True)
        fields += [(model, glyphs.gone if p is None else probability(p)) for model, (p, _) in opinions]
    if predictor == ENSEMBLE and name in state.active:
        fields.append(("since", clock(float(state.entered[number]), hours=False)))
    for label, value in fields:
        added: list[Run] = [("label", f"  {label} "), ("value", value)]
        if length(runs) + length(added) < width:
            runs += added
    return runs


class Heading(Line):
    """Column titles, or the selected row's numbers, or what is wrong with the sound."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"label", "value", "reason"}

    def __init__(self, state: ScreenState, glyphs: Glyphs) -> None:
        super().__init__()
        self.state = state
        self.view = View()
        self.glyphs = glyphs

    def show(self, state: ScreenState, view: View) -> None:
        """Draw a state."""
        self.state, self.view = state, view
        self.redraw()

    def runs(self, width: int) -> list[Run]:
        if self.view.selected is not None:
            return detail(self.state, self.view, self.view.selected, width, self.glyphs)
        update = self.state.update
        if update is not None and not self.state.ended and in_trouble(update) and (text := reason(update)):
            return [("label", "   "), ("reason", text)]
        return titles(self.state, width)


def in_trouble(update: Update) -> bool:
    """Whether something is wrong that the user can do something about; warming up and silence are not."""
    return update.no_signal or update.gap or update.state in (State.CATCHING_UP, State.DEVICE_LOST)


HOT_DB, CLIP_DB = -9.0, -0.1


def state_run(state: ScreenState, frozen: bool = False, late: float = 0.0, paused: bool = False) -> Run:
    """The state word. `late`: seconds by which an update is overdue, or 0."""
    update = state.update
    if frozen:
        return "state-frozen", "FROZEN"
    if state.ended:
        return "state-ended", "ENDED"
    if paused:
        return "state-frozen", "PAUSED"
    if late > 0:
        return "state-bad", f"NO UPDATE {late:.0f} s"
    if update is None:
        return "state-calm", "STARTING"
    word = update.state.value
    match update.state:
        case State.WARMING:
            return "state-calm", f"{word} {int(update.filled_s)}/10 s"
        case State.CATCHING_UP:
            return "state-warn", f"{word} {state.skipped_share():.0%}"
        case State.DEVICE_LOST:
            return "state-bad", word
        case State.ENDED:
            return "state-ended", word
        case State.QUIET:
            return "state-calm", word
        case _:
            return "state-ok", word


def milliseconds(seconds: float) -> str:
    """ "38ms", "1.2s"."""
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.1f}s"


def counters(update: Update | None, late: float = 0.0) -> list[list[Run]]:
    """Age, network time, xruns, skipped, bad samples: a label and a value each; problems are marked.

    While sound is missing in the last ten seconds, xrun reads GAP.
    """
    if update is None:
        return []

    def count(label: str, number: int) -> list[Run]:
        return [("label", f"{label} "), ("trouble" if number else "value", str(number))]

    age = update.age_s + late
    return [
        [("label", "age "), ("trouble" if late else "value", f"{age:.2f}s" if age < 10 else f"{age:.0f}s")],
        [("label", "took "), ("value", f"{milliseconds(update.inference_s):<5}")],
        [("trouble", f"GAP {update.xruns}")] if update.gap else count("xrun", update.xruns),
        count("skip", update.skipped),
        *([count("bad", update.bad_samples)] if update.bad_samples else []),
    ]


def meter_runs(state: ScreenState, width: int, glyphs: Glyphs, since: float = math.inf) -> list[Run]:
    """The level meter, `width` cells with its ends; its parts say "hot" and "clip" near full scale."""
    update = state.update
    level_db, peak_db = state.level_db(since), state.peak_db
    loud = "-clip" if update and update.peak_db >= CLIP_DB else "-hot" if level_db >= HOT_DB else ""
    runs = bar(level(level_db), width - 2, glyphs, peak=level(peak_db))
    cells = [(part + loud if part == "fill" else part, text) for part, text in runs]
    return [("track-end", glyphs.left), *cells, ("track-end", glyphs.right)]


def status_runs(
    state: ScreenState,
    width: int,
    glyphs: Glyphs,
    frozen: bool = False,
    late: float = 0.0,
    paused: bool = False,
    since: float = math.inf,
) -> list[Run]:
    """The whole line; the meter is elastic, and a narrow line loses its last counters first."""
    update = state.update
    clipped = update is not None and update.peak_db >= CLIP_DB
    db = f"{max(-99.0, update.level_db):4.0f}" if update else f"{glyphs.gone:>4}"
    left: list[Run] = [("trouble", " CLIP") if clipped else ("label", " in  "), ("value", f"{db} dB ")]
    word = state_run(state, frozen, late, paused)
    right: list[Run] = [word, ("space", " ")]
    fields = counters(update, late)
    room = width - length(left) - 18  # width of the longest state word, so that the meter does not move
    meter = min(60, max(12, room - 37))
    line = [*left, *meter_runs(state, max(6, min(meter, room)), glyphs, since)]
    for number, runs in enumerate(fields):
        added = [("space", " " if number == 0 else "  "), *runs]
        if length(line) + length(added) + length(right) + 1 > width:
            break
        line += added
    if update is not None and update.kind not in (None, "silence"):
        kind: list[Run] = [("label", f" {update.kind} ")]
        if length(line) + length(kind) + length(right) + 1 <= width:
            right = [*kind, *right]
    return spread(line, right, width)


class Status(Line):
    """Level meter with peak hold, age, network time, xruns, skipped, the kind of sound, and the state word."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "label", "value", "trouble", "fill", "fill-hot", "fill-clip", "track", "track-end", "peak",
        "state-ok", "state-calm", "state-warn", "state-bad", "state-frozen", "state-ended",
    }  # fmt: skip

    def __init__(self, state: ScreenState, glyphs: Glyphs) -> None:
        super().__init__()
        self.state = state
        self.glyphs = glyphs
        self.frozen = self.paused = False
        self.late, self.since = 0.0, math.inf

    def show(
        self,
        state: ScreenState,
        frozen: bool = False,
        late: float = 0.0,
        paused: bool = False,
        since: float = math.inf,
    ) -> None:
        """Draw a state; `late`: seconds by which an update is overdue; `since`: seconds since the newest one."""
        self.state, self.frozen, self.late, self.paused, self.since = state, frozen, late, paused, since
        self.redraw()

    def runs(self, width: int) -> list[Run]:
        return status_runs(self.state, width, self.glyphs, self.frozen, self.late, self.paused, self.since)


MARGIN = 3


def seek_runs(playback: PlaybackState, width: int, glyphs: Glyphs) -> list[Run]:
    """The line with its knob; nothing where the file's length is not known."""
    room = width - 2 * MARGIN
    if not playback.duration or playback.position is None or room < 4:
        return []
    knob = cell_of(playback.position / playback.duration, room)
    return [
        ("rest", " " * MARGIN),
        ("played", glyphs.rule * knob),
        ("knob", glyphs.knob),
        ("rest", glyphs.rule * (room - knob - 1)),
    ]


class Seekbar(Line):
    """The position in a file."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"played", "knob", "rest"}

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self.glyphs = glyphs
        self.playback = PlaybackState()

    def show(self, playback: PlaybackState) -> None:
        """Draw another position."""
        self.playback = playback
        self.redraw()

    def runs(self, width: int) -> list[Run]:
        return seek_runs(self.playback, width, self.glyphs)

    def on_click(self, event: events.Click) -> None:
        room = self.size.width - 2 * MARGIN
        if self.playback.duration and room > 0:
            part = min(1.0, max(0.0, (event.x - MARGIN + 0.5) / room))
            self.post_message(SeekRequested(part * self.playback.duration))


PLAYBACK = PlaybackState()

TITLE = "instrec-live"


def rates(info: StreamInfo, arrow: str) -> str:
    """ "48→32k": the source's rate and the networks'."""
    own = f"{info.source_rate / 1000:g}"
    return "32k" if own == "32" else f"{own}{arrow}32k"


def elapsed(state: ScreenState, playback: PlaybackState, whole: bool = True) -> str:
    """The source's clock, and its length where that is known (unless not `whole`). It continues while a microphone is
    lost."""
    newest = state.update.time if state.update else 0.0
    if state.update is not None and state.update.state is State.DEVICE_LOST:
        newest += state.update.age_s
    time = newest if playback.position is None or state.ended else playback.position
    duration = playback.duration if playback.playable else state.info.end
    if duration is None:
        return clock(time)
    hours = duration >= 3600
    return f"{clock(time, hours)}/{clock(duration, hours)}" if whole else clock(time, hours)


def source_run(state: ScreenState, playback: PlaybackState, glyphs: Glyphs, whole: bool = True) -> Run:
    """LIVE, LOST, or the state of playback and its speed (unless not `whole`)."""
    if state.info.live:
        if state.update is not None and state.update.state is State.DEVICE_LOST:
            return "detail", f"{glyphs.dot} LOST"
        return "live", f"{glyphs.dot} LIVE"
    if not playback.playable:
        return "file", f"{glyphs.active} FILE"
    speed = "" if playback.speed == 1 or not whole else f" {playback.speed:g}x"
    if playback.paused:
        return "file", f"{glyphs.pause} PAUSED{speed}"
    return "file", f"{glyphs.play} {'PLAY' if playback.audible else 'FILE'}{speed}"


def header_runs(
    state: ScreenState,
    width: int,
    glyphs: Glyphs,
    playback: PlaybackState = PLAYBACK,
    title: str = TITLE,
    solo: str | None = None,
) -> list[Run]:
    """The whole line. The source takes what is left. A narrow line leaves out, in this order, the engine, the rates,
    the length of the sound, the program's name, the word REC and the speed; it never cuts the clock."""
    info = state.info
    name = printable(title)
    if cell_len(name) > width // 3:
        name = fitted(name, width // 3, glyphs.ellipsis)
    for lost in range(5):
        left: list[Run] = [("title", f" {name}"), ("space", "  ")] if lost < 2 else [("space", " ")]
        left += [source_run(state, playback, glyphs, lost < 4), ("space", "  ")]
        right: list[Run] = [("clock", elapsed(state, playback, lost < 1))]
        if solo is not None:
            right = [("solo", f"{solo} alone"), ("space", "  "), *right]
        if playback.recording:
            right.insert(0, ("live", f"{glyphs.dot} REC  " if lost < 3 else f"{glyphs.dot} "))
        if length(left) + length(right) + 3 <= width:
            break
    if len(info.instruments) < len(info.classes):
        right.append(("detail", f"  {len(info.instruments)} of {len(info.classes)}"))
    pace = " max pace" if info.pace == "max" else ""
    for detail in (rates(info, glyphs.arrow) + pace, printable(info.engine)):
        if length(left) + length(right) + len(detail) + 16 <= width:
            right += [("detail", f"  {detail}")]
    room = width - length(left) - length(right) - 3
    source = fitted(printable(info.source), room, glyphs.ellipsis)
    return [*left, ("source", source), ("space", "  "), *right, ("space", " ")]


class Header(Line):
    """Program (or the name of a source among several), LIVE or FILE, source, a network alone, clock, rates, engine."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"title", "live", "file", "source", "solo", "clock", "detail"}

    def __init__(self, state: ScreenState, glyphs: Glyphs, title: str = TITLE) -> None:
        super().__init__()
        self.state, self.title = state, title
        self.playback = PLAYBACK
        self.solo: str | None = None
        self.glyphs = glyphs

    def show(self, state: ScreenState, playback: PlaybackState, solo: str | None = None) -> None:
        """Draw a state; `solo`: the network that is shown alone."""
        self.state, self.playback, self.solo = state, playback, solo
        self.redraw()

    def runs(self, width: int) -> list[Run]:
        return header_runs(self.state, width, self.glyphs, self.playback, self.title, self.solo)
