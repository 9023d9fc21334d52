"""One source among many as it stands now. Immutable, as the picture of it is."""

import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

import numpy as np

from instrec_live.models.errors import InstrecError
from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.realtime.health import FLOOR_DB, reason
from instrec_live.realtime.outputs import Summary
from instrec_live.realtime.tui.bar import Run, clock
from instrec_live.realtime.tui.lateness import overdue
from instrec_live.realtime.tui.messages import Updates
from instrec_live.realtime.tui.picture import BANDS, Picture
from instrec_live.realtime.update import State, Update

Said = Update | Summary | BaseException


class Channel(Protocol):
    """What the screen needs of a hub's source: the stream, once it is open."""

    @property
    def journal(self) -> Updates | None: ...


class Health(Enum):
    """How a source is doing; the value is what the screen says of several. Trouble comes first."""

    FAILED = "failed"
    LOST = "lost"
    LATE = "late"
    OPENING = "opening"
    WELL = "well"
    ENDED = "ended"


WORST_FIRST = tuple(Health)
SHOWN = (Health.WELL, Health.LATE, Health.LOST, Health.FAILED, Health.OPENING, Health.ENDED)  # as they are counted up


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A source, what was heard of it, and how it stands.

    Attributes:
        name: in the hub.
        stream: None until it is open.
        picture: None until something was heard.
        came: when the newest update came, s of the monotonic clock.
        end: what it came to, in one line; None while it goes on.
        failed: it ended with an error.
    """

    name: str
    stream: Updates | None = None
    picture: Picture | None = None
    came: float = math.inf
    end: str | None = None
    failed: bool = False

    @property
    def update(self) -> Update | None:
        """The newest."""
        return None if self.picture is None else self.picture.update

    def after(self, update: Update, stream: Updates, now: float) -> "Source":
        """With another update; its log-mel is left out, for sixty sources' would be heavy to keep."""
        heard = Picture(stream.info) if self.picture is None else self.picture.with_info(stream.info)
        return self.with_picture(heard.after(replace(update, mel=None)), stream, now)

    def with_picture(self, picture: Picture, stream: Updates, now: float) -> "Source":
        """With another picture, whose update came `now`."""
        return replace(self, picture=picture, stream=stream, came=now)

    def closed(self, picture: Picture) -> "Source":
        """With the picture that was looked at, less its log-mel."""
        return replace(self, picture=replace(picture, mel=np.empty((0, BANDS), np.float32)))

    def over(self, said: Summary | BaseException) -> "Source":
        """Once it has said its last word."""
        if isinstance(said, Summary):
            return replace(self, end=f"until {clock(said.time)}: {said.in_words}")
        words = said.message if isinstance(said, InstrecError) else str(said) or type(said).__name__
        return replace(self, end=words, failed=True)

    def late(self, now: float) -> float:
        """For how many seconds an update has been overdue; 0 for not."""
        if self.stream is None or self.end is not None or self.paused:
            return 0.0
        return overdue(self.update, now - self.came, self.stream.info.hop)

    @property
    def paused(self) -> bool:
        """Whether it is a file that stands still."""
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
        if update is None:
            return Health.OPENING
        if update.state is State.DEVICE_LOST:
            return Health.LOST
        return Health.LATE if late or update.state is State.CATCHING_UP else Health.WELL

    def word(self, late: float = 0.0) -> Run:
        """Its state word, at most 11 cells."""
        update = self.update
        if self.end is not None:
            return ("state-bad", "FAILED") if self.failed else ("state-ended", "ENDED")
        if update is None:
            return "state-calm", "OPENING"
        if self.paused:
            return "state-frozen", "PAUSED"
        word = update.state.value
        match update.state:
            case State.DEVICE_LOST:
                return "state-bad", word
            case _ if late:
                return "state-bad", "NO UPDATE"
            case State.CATCHING_UP:
                return "state-warn", word
            case State.WARMING:
                return "state-calm", f"{word} {update.filled_s:.0f}s"
        part = "state-ok" if update.state is State.OK else "state-calm"
        return ("state-warn", f"{word} GAP") if update.gap else (part, word)

    def why(self, late: float = 0.0) -> str:
        """What takes the place of instruments: why there are none to be shown; "" where there may be."""
        update = self.update
        if self.end is not None:
            return self.end
        if update is None:
            return "nothing has come yet"
        if late:
            return f"nothing new for {late:.0f} s: is the machine very busy?"
        return reason(update) if update.no_signal or update.state is State.DEVICE_LOST else ""

    def age(self, late: float = 0.0) -> float | None:
        """Of the newest sound, s; None where nothing is heard."""
        update = self.update
        if update is None or self.end is not None or self.paused:
            return None
        return update.age_s + late

    @property
    def level_db(self) -> float:
        """Of the newest hop, dBFS; the floor where nothing is heard."""
        update = self.update
        return FLOOR_DB if update is None or self.end is not None else update.level_db

    @property
    def sounding(self) -> tuple[tuple[str, float], ...]:
        """The instruments that sound now and how sure that is, the surest first."""
        update = self.update
        if update is None or self.end is not None:
            return ()
        found = [(DISPLAY_NAMES[name], float(update.probabilities[INSTRUMENTS.index(name)])) for name in update.active]
        return tuple(sorted(found, key=lambda each: -each[1]))
