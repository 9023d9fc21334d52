"""The state of one source among many at one moment; immutable."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

import numpy as np

from instrec_live.models.errors import InstrecError
from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.realtime.outputs import Summary
from instrec_live.realtime.stream.activity import Decision
from instrec_live.realtime.stream.health import FLOOR_DB, reason
from instrec_live.realtime.stream.update import State, Update
from instrec_live.realtime.tui.drawing import Run, clock
from instrec_live.realtime.tui.messages import Updates
from instrec_live.realtime.tui.state import BANDS, ScreenState, overdue, split_words

HubEvent = Update | Summary | BaseException


class SourceHandle(Protocol):
    """What the screen needs of a hub's source: the stream, once it is open."""

    @property
    def session(self) -> Updates | None: ...


class Health(Enum):
    """The health of a source; the value is the word for several. Problems come first."""

    FAILED = "failed"
    LOST = "lost"
    LATE = "late"
    OPENING = "opening"
    WELL = "well"
    ENDED = "ended"


WORST_FIRST = tuple(Health)

SHOWN = (Health.WELL, Health.LATE, Health.LOST, Health.FAILED, Health.OPENING, Health.ENDED)  # as they are counted up


@dataclass(frozen=True, slots=True, eq=False)
class WatchedSource:
    """A source, its screen state and its health.

    Attributes:
        name: in the hub.
        stream: None until it is open.
        state: None until the first update.
        came: when the newest update came, s of the monotonic clock.
        end: its outcome in one line; None while it runs.
        failed: it ended with an error.
    """

    name: str
    stream: Updates | None = None
    state: ScreenState | None = None
    came: float = math.inf
    end: str | None = None
    failed: bool = False

    @property
    def update(self) -> Update | None:
        """The newest."""
        return None if self.state is None else self.state.update

    def after(self, update: Update, stream: Updates, now: float) -> "WatchedSource":
        """With another update, without its log-mel: that of sixty sources would take much memory."""
        state = ScreenState(stream.info) if self.state is None else self.state.with_info(stream.info)
        return self.with_state(state.after(replace(update, mel=None)), stream, now)

    def with_state(self, state: ScreenState, stream: Updates, now: float) -> "WatchedSource":
        """With another state, whose update came `now`."""
        return replace(self, state=state, stream=stream, came=now)

    def closed(self, state: ScreenState) -> "WatchedSource":
        """With the state of the closed screen, without its log-mel."""
        return replace(self, state=replace(state, mel=np.empty((0, BANDS), np.float32)))

    def over(self, result: Summary | BaseException) -> "WatchedSource":
        """After its last event."""
        if isinstance(result, Summary):
            return replace(self, end=f"until {clock(result.time)}: {result.in_words}")
        reason = result.message if isinstance(result, InstrecError) else str(result) or type(result).__name__
        return replace(self, end=reason, failed=True)

    def late(self, now: float) -> float:
        """By how many seconds an update is overdue; 0 if it is not."""
        if self.stream is None or self.end is not None or self.paused:
            return 0.0
        return overdue(self.update, now - self.came, self.stream.info.hop)

    @property
    def paused(self) -> bool:
        """Whether it is a paused file."""
        transport = None if self.stream is None or self.end is not None else self.stream.transport
        return transport is not None and transport.paused

    @property
    def recording(self) -> bool:
        """Whether its sound is being recorded."""
        return self.stream is not None and self.end is None and self.stream.recording is not None

    def health(self, late: float = 0.0) -> Health:
        """How it is doing; `late` as of `late`."""
        update = self.update
        if self.end is not None:
            return Health.FAILED if self.failed else Health.ENDED
        if update is None:  # of a paused file, after a seek
            return Health.WELL if self.paused else Health.OPENING
        if update.state is State.DEVICE_LOST:
            return Health.LOST
        return Health.LATE if late or update.state is State.CATCHING_UP else Health.WELL

    def word(self, late: float = 0.0) -> Run:
        """Its state word, at most 11 cells."""
        update = self.update
        if self.end is not None:
            return ("state-bad", "FAILED") if self.failed else ("state-ended", "ENDED")
        if self.paused:
            return "state-frozen", "PAUSED"
        if update is None:
            return "state-calm", "OPENING"
        word = update.state.value
        match update.state:
            case State.DEVICE_LOST:
                return "state-bad", word
            case _ if late:
                return "state-bad", "NO UPDATE"
            case State.CATCHING_UP:
                return "state-warn", word
            case State.WARMING:
                return "state-calm", f"{word} {int(update.filled_s)}s"
        part = "state-ok" if update.state is State.OK else "state-calm"
        return ("state-warn", f"{word} GAP") if update.gap else (part, word)

    def why(self, late: float = 0.0) -> str:
        """Why no instruments are shown; "" where they may be."""
        update = self.update
        if self.end is not None:
            return self.end
        if update is None:
            return "" if self.paused else "no sound yet"
        if late:
            return f"no update for {late:.0f} s: is the machine very busy?"
        return reason(update) if update.no_signal or update.state is State.DEVICE_LOST else ""

    def age(self, late: float = 0.0) -> float | None:
        """Age of the newest sound, s; None if there is none."""
        update = self.update
        if update is None or self.end is not None or self.paused:
            return None
        return update.age_s + late

    @property
    def level_db(self) -> float:
        """Level of the newest hop, dBFS; the floor if there is none."""
        update = self.update
        return FLOOR_DB if update is None or self.end is not None else update.level_db

    @property
    def sounding(self) -> tuple[tuple[str, Decision], ...]:
        """What sounds, on or held, the surest first."""
        if self.state is None or self.state.update is None or self.end is not None:
            return ()
        found = [(DISPLAY_NAMES[name], self.state.decision(name)) for name in self.state.sounding()]
        return tuple(sorted(found, key=lambda each: -each[1].probability))


STEP_DB = 6.0  # sources closer in loudness keep their order, so that rows do not jump


class Order(Enum):
    """The order of the sources."""

    FIXED = "fixed"  # as they were named
    TROUBLE = "trouble"  # problems first
    LOUDNESS = "loudness"  # the loudest first


@dataclass(frozen=True, slots=True)
class ListView:
    """What is chosen.

    Attributes:
        order: of the sources.
        selected: the source that enter opens.
        words: only sources whose name holds one of these words are shown; "" shows all.
        frozen: the list is held.
    """

    order: Order = Order.FIXED
    selected: str | None = None
    words: str = ""
    frozen: bool = False

    def admitted(self, names: Iterable[str]) -> list[str]:
        """The names that are shown; words that match none show all."""
        words, names = split_words(self.words), list(names)
        return [name for name in names if any(word in name.casefold() for word in words)] or names

    def finds_nothing(self, names: Iterable[str]) -> bool:
        """Whether there are words, and they match no name."""
        words = split_words(self.words)
        return bool(words) and not any(word in name.casefold() for name in names for word in words)

    def arranged(self, sources: Mapping[str, WatchedSource], previous: Iterable[str], now: float) -> list[str]:
        """The names shown, from the top row down; `previous`: the order before."""
        match self.order:
            case Order.TROUBLE:
                rank = {name: WORST_FIRST.index(each.health(each.late(now))) for name, each in sources.items()}
                names = sorted(sources, key=lambda name: rank[name])
            case Order.LOUDNESS:
                names = sorted(previous, key=lambda name: -round(sources[name].level_db / STEP_DB))
            case _:
                names = list(sources)
        return self.admitted(names)
