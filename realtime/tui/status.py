"""The second line: how the sound and the program are doing."""

import math
from typing import ClassVar

from instrec_live.realtime.tui.bar import Run, bar, level
from instrec_live.realtime.tui.fitting import length, spread
from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.line import Line
from instrec_live.realtime.tui.picture import Picture
from instrec_live.realtime.update import State, Update

HOT_DB, CLIP_DB = -9.0, -0.1


def state_run(picture: Picture, frozen: bool = False, late: float = 0.0, paused: bool = False) -> Run:
    """The state word. `late` is for how many seconds an update has been overdue, 0 for not at all."""
    update = picture.update
    if frozen:
        return "state-frozen", "FROZEN"
    if picture.ended:
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
            return "state-calm", f"{word} {update.filled_s:.0f}/10 s"
        case State.CATCHING_UP:
            return "state-warn", f"{word} {picture.skipped_share():.0%}"
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
    """Age, network time, xruns, skipped, bad samples: a label and a value each; trouble is marked.

    While some of the last ten seconds is missing, GAP stands for xrun.
    """
    if update is None:
        return []

    def count(label: str, number: int) -> list[Run]:
        return [("label", f"{label} "), ("trouble" if number else "value", str(number))]

    age = update.age_s + late
    return [
        [("label", "age "), ("trouble" if late else "value", f"{age:.2f}s" if age < 10 else f"{age:.0f}s")],
        [("label", "net "), ("value", f"{milliseconds(update.inference_s):<5}")],
        [("trouble", f"GAP {update.xruns}")] if update.gap else count("xrun", update.xruns),
        count("skip", update.skipped),
        *([count("bad", update.bad_samples)] if update.bad_samples else []),
    ]


def meter_runs(picture: Picture, width: int, glyphs: Glyphs, since: float = math.inf) -> list[Run]:
    """The level meter, `width` cells with its ends; its parts say "hot" and "clip" near full scale."""
    update = picture.update
    level_db, peak_db = picture.level_db(since), picture.peak_db
    loud = "-clip" if update and update.peak_db >= CLIP_DB else "-hot" if level_db >= HOT_DB else ""
    runs = bar(level(level_db), width - 2, glyphs, peak=level(peak_db))
    cells = [(part + loud if part == "fill" else part, text) for part, text in runs]
    return [("track-end", glyphs.left), *cells, ("track-end", glyphs.right)]


def status_runs(
    picture: Picture,
    width: int,
    glyphs: Glyphs,
    frozen: bool = False,
    late: float = 0.0,
    paused: bool = False,
    since: float = math.inf,
) -> list[Run]:
    """The whole line; the meter is elastic, and a narrow line loses its last counters first."""
    update = picture.update
    clipped = update is not None and update.peak_db >= CLIP_DB
    db = max(-99.0, update.level_db) if update else -99.0
    left: list[Run] = [("trouble", " CLIP") if clipped else ("label", " in  "), ("value", f"{db:4.0f} dB ")]
    state = state_run(picture, frozen, late, paused)
    right: list[Run] = [state, ("space", " ")]
    fields = counters(update, late)
    room = width - length(left) - 18  # as wide a state word as there is, so that the meter keeps still
    meter = min(60, max(12, room - 37))
    line = [*left, *meter_runs(picture, max(6, min(meter, room)), glyphs, since)]
    for number, runs in enumerate(fields):
        added = [("space", " " if number == 0 else "  "), *runs]
        if length(line) + length(added) + length(right) + 1 > width:
            break
        line += added
    return spread(line, right, width)


class Status(Line):
    """Level meter with peak hold, age, network time, xruns, skipped, and the state word."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "label", "value", "trouble", "fill", "fill-hot", "fill-clip", "track", "track-end", "peak",
        "state-ok", "state-calm", "state-warn", "state-bad", "state-frozen", "state-ended",
    }  # fmt: skip

    def __init__(self, picture: Picture, glyphs: Glyphs) -> None:
        super().__init__()
        self.picture = picture
        self.glyphs = glyphs
        self.frozen = self.paused = False
        self.late, self.since = 0.0, math.inf

    def show(
        self, picture: Picture, frozen: bool = False, late: float = 0.0, paused: bool = False, since: float = math.inf
    ) -> None:
        """Draw another picture; `late`: seconds by which an update is overdue; `since`: since the newest came."""
        self.picture, self.frozen, self.late, self.paused, self.since = picture, frozen, late, paused, since
        self.redraw()

    def runs(self, width: int) -> list[Run]:
        return status_runs(self.picture, width, self.glyphs, self.frozen, self.late, self.paused, self.since)
