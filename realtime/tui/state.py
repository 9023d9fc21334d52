"""Everything the screen shows at one moment, and how an update changes it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.arrays import FloatArray
from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.realtime.outputs.sink import applies_from
from instrec_live.realtime.stream.activity import Decision
from instrec_live.realtime.stream.update import Controls, State, StreamInfo, Update
from instrec_live.realtime.tui.drawing import decay


class Sorting(Enum):
    """The order of the rows."""

    FIXED = "fixed"
    SCORE = "score"
    RECENT = "recent"


class Minute(Enum):
    """How a row shows its last minute."""

    AUTO = "auto"  # as the width allows
    LINE = "line"  # a sparkline
    HEAT = "heat"  # one strip of the heat map


@dataclass(frozen=True, slots=True)
class View:
    """What is chosen.

    Attributes:
        sorting: the order of the rows.
        selected: the instrument whose numbers are shown, None for none.
        solo: the network that is shown alone, None for their ensemble.
        opened: the selected row has a bar for every network below it.
        minute: how the last minute is drawn.
        words: only rows whose name holds one of these words are shown; "" shows all.
        frozen: the screen is frozen.
    """

    sorting: Sorting = Sorting.FIXED
    selected: str | None = None
    solo: str | None = None
    opened: bool = False
    minute: Minute = Minute.AUTO
    words: str = ""
    frozen: bool = False

    def fitting(self, names: Sequence[str]) -> tuple[str, ...]:
        """The instruments whose name holds one of the words, in their order."""
        words = split_words(self.words)
        return tuple(name for name in names if any(word in DISPLAY_NAMES[name].casefold() for word in words))

    def admitted(self, names: Sequence[str]) -> tuple[str, ...]:
        """The instruments whose rows are shown, in their order; words that match none show all."""
        return self.fitting(names) or tuple(names)

    def unmatched(self, names: Sequence[str]) -> tuple[str, ...]:
        """The words that no instrument's name holds."""
        words = split_words(self.words)
        return tuple(word for word in words if not any(word in DISPLAY_NAMES[name].casefold() for name in names))


def split_words(text: str) -> list[str]:
    """The words of a filter, in lower case; commas or blanks separate them."""
    return text.casefold().replace(",", " ").split()


@dataclass(frozen=True, slots=True)
class PlaybackState:
    """The state of playback and recording at one moment.

    Attributes:
        playable: it is a file that can be paused, sped up and sought in.
        paused: playback is paused.
        speed: seconds of sound per second.
        position: of playback, s; None where only the updates say.
        duration: where the file ends, s; None if unknown.
        audible: it is also played on the loudspeakers.
        recording: the sound is being recorded.
    """

    playable: bool = False
    paused: bool = False
    speed: float = 1.0
    position: float | None = None
    duration: float | None = None
    audible: bool = False
    recording: bool = False

    @classmethod
    def of(cls, stream: Controls) -> "PlaybackState":
        """As it is now."""
        transport, recording = stream.transport, stream.recording is not None
        if transport is None:
            return cls(recording=recording)
        return cls(
            playable=True,
            paused=transport.paused,
            speed=transport.speed,
            position=transport.position,
            duration=transport.duration,
            audible=transport.audible,
            recording=recording,
        )


PATIENCE = 2.0  # s beyond the hop after which a missing update is reported


def overdue(update: Update | None, waited: float, hop: float) -> float:
    """By how many seconds an update is overdue, `waited` s after the newest one; 0 if it is not."""
    ended = update is not None and update.state is State.ENDED
    return waited - hop if waited - hop > PATIENCE and not ended else 0.0


SPAN = 60.0  # s that sparklines, heat map, log-mel and the skipped share look back

PEAK_FALL = 0.08  # probability a second

LEVEL_FALL = 8.0  # dB a second

MOTION = 0.1  # s, time constant of a bar's movement

SETTLED = 0.4  # s after which it has arrived

LEAST = 0.02  # a smaller change is drawn at once: its movement would not be visible, and drawing costs time

STRETCHES = 256  # events kept

BANDS = 32  # of the log-mel strip

FRAMES = 100  # log-mel frames a second


NEVER = -np.inf

ENSEMBLE = 0  # its place among the predictors, before the networks


@dataclass(frozen=True, slots=True)
class SoundEvent:
    """A segment in which an instrument is active (`stop` None while it lasts), or a label."""

    name: str
    start: float
    stop: float | None = None
    label: bool = False


@dataclass(frozen=True, eq=False)
class ScreenState:
    """What the screen shows of a stream at one moment; immutable, so a frozen screen just keeps one.

    A predictor is the ensemble (the first) or one of `info.models`; a predictor that gives no numbers is NaN.

    Attributes:
        info: the facts of the stream.
        update: the newest, None before the first.
        times: s, float64 [n], the last minute's updates, oldest first.
        trail: float32 [n, predictors, instruments], their probabilities.
        skips: int64 [n], windows skipped up to each of them.
        peaks: float32 [predictors, instruments], the peak holds.
        origin: float32 [predictors, instruments], the bars' values when the newest update came.
        peak_db: the level meter's peak hold, dBFS.
        db_origin: the level meter's value when the newest update came, dBFS.
        mel: float32 [frames, 32], the last minute's log-mel, ending now, 100 frames a second.
        entered: s, float64 [instruments], the last onset of each instrument, -inf for none.
        events: segments and labels, newest first.
        ended: the stream has ended.
    """

    info: StreamInfo
    update: Update | None = None
    times: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    trail: FloatArray = field(default_factory=lambda: np.empty((0, 1, 1), np.float32))
    skips: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    peaks: FloatArray = field(default_factory=lambda: np.zeros((1, 1), np.float32))
    origin: FloatArray = field(default_factory=lambda: np.zeros((1, 1), np.float32))
    peak_db: float = -120.0
    db_origin: float = -120.0
    mel: FloatArray = field(default_factory=lambda: np.empty((0, BANDS), np.float32))
    entered: NDArray[np.float64] = field(default_factory=lambda: np.full(1, NEVER))
    events: tuple[SoundEvent, ...] = ()
    ended: bool = False

    def __post_init__(self) -> None:
        if not len(self.trail):  # no update yet: there are as many columns as instruments
            count = len(self.info.classes)
            for name, shape in (("peaks", (1, count)), ("origin", (1, count)), ("entered", (count,))):
                object.__setattr__(self, name, np.broadcast_to(getattr(self, name), shape))

    @property
    def probabilities(self) -> FloatArray:
        """float32 [instruments], the ensemble's; zeros before the first update."""
        return self.of(ENSEMBLE)

    def of(self, predictor: int) -> FloatArray:
        """The newest probabilities, float32 [instruments]; NaN if the predictor gives none; zeros before any update."""
        if not len(self.trail):
            return np.zeros(len(self.info.classes), np.float32)
        return np.asarray(self.trail[-1, predictor], np.float32)

    @property
    def at_end(self) -> bool:
        """Whether a file has ended and waits to be played again."""
        return self.update is not None and self.update.state is State.ENDED

    def sounding(self, predictor: int = ENSEMBLE) -> tuple[str, ...]:
        """The instruments that are shown as sounding, in tag order."""
        return tuple(name for name in self.info.instruments if self.decision(name, predictor).sounds)

    @property
    def active(self) -> frozenset[str]:
        """The active instruments."""
        return frozenset() if self.update is None else frozenset(self.update.active)

    def predictor_of(self, model: str | None) -> int:
        """The index of a network among the predictors; None: of the ensemble."""
        return ENSEMBLE if model is None else 1 + self.info.models.index(model)

    def threshold(self, name: str, predictor: int = ENSEMBLE) -> float:
        """The threshold of an instrument, for a predictor."""
        info = self.info
        thresholds = info.thresholds if predictor == ENSEMBLE else info.model_thresholds[info.models[predictor - 1]]
        return float(thresholds.get(name, 0.5))

    @cached_property
    def off_thresholds(self) -> dict[str, float]:
        """The ensemble's, per instrument: what is active is switched off below them."""
        return self.info.off_thresholds

    def decision(self, name: str, predictor: int = ENSEMBLE) -> Decision:
        """An instrument's decision, of the ensemble or of one network; a network alone has no hysteresis."""
        p, on_at = float(self.of(predictor)[self.info.classes.index(name)]), self.threshold(name, predictor)
        if predictor == ENSEMBLE:
            return Decision.of(p, name in self.active, on_at, min(on_at, self.off_thresholds.get(name, on_at)))
        return Decision.of(p, p >= on_at, on_at, on_at)

    @cached_property
    def marks(self) -> tuple[FloatArray, FloatArray]:
        """The thresholds of all predictors, float32 [predictors, instruments]: to switch on, and to switch off."""
        rows = [self.info.thresholds, *(self.info.model_thresholds[model] for model in self.info.models)]
        on_at = np.array([[row.get(name, 0.5) for name in self.info.classes] for row in rows], np.float32)
        off_below = on_at.copy()
        off_below[ENSEMBLE] = [self.off_thresholds.get(name, 0.5) for name in self.info.classes]
        return on_at, off_below

    def opinions(self, name: str) -> list[tuple[float | None, float]]:
        """Each network's probability of an instrument, None if it gives no numbers, and its own threshold for it."""
        number = self.info.classes.index(name)
        found = []
        for predictor in range(1, 1 + len(self.info.models)):
            p = float(self.of(predictor)[number])
            found.append((None if math.isnan(p) else p, self.threshold(name, predictor)))
        return found

    def after(self, update: Update, since: float = math.inf) -> "ScreenState":
        """The state after `update`, which comes `since` seconds after the update before."""
        past = self.forgotten(update.time) if update.jumped else self
        before = None if past.update is None else past.update.time
        passed = 0.0 if before is None else update.time - before
        changed_at = applies_from(update, before, self.info.hop, self.info.decisions)
        values = _predictors(update, self.info.models)
        # One without new sound (DEVICE LOST) replaces the one before.
        keep = (past.times > update.time - SPAN + 1e-9) & (past.times < update.time)
        names = set(update.active)
        entered = past.entered.copy()
        entered[[self.info.classes.index(name) for name in names - past.active]] = changed_at
        return replace(
            past,
            update=update,
            times=np.append(past.times[keep], update.time),
            trail=np.concatenate([past.trail[keep], values[None]]) if keep.any() else values[None],
            skips=np.append(past.skips[keep], update.skipped),
            peaks=np.fmax(np.nan_to_num(values), past.peaks - np.float32(PEAK_FALL * max(0.0, passed))),
            origin=past.bars(since),
            peak_db=decay(past.peak_db, update.peak_db, passed, LEVEL_FALL),
            db_origin=past.level_db(since),
            mel=_mel_after(past.mel, update),
            entered=entered,
            events=_events_after(past.events, past.active, update, changed_at),
        )

    def forgotten(self, time: float) -> "ScreenState":
        """The state after a jump to `time`: only events before it stay, closed."""
        end = time if self.update is None else self.update.time
        closed = (replace(s, stop=end) if s.stop is None and not s.label else s for s in self.events)
        kept = tuple(s for s in closed if s.start < time or end <= time)
        return ScreenState(self.info, events=kept)

    def with_info(self, info: StreamInfo) -> "ScreenState":
        """The same with other facts of the stream."""
        return self if info is self.info else replace(self, info=info)

    def labelled(self, text: str, time: float) -> "ScreenState":
        """The same with a label at `time`, s."""
        return replace(self, events=(SoundEvent(text, time, time, label=True), *self.events)[:STRETCHES])

    def bars(self, since: float) -> FloatArray:
        """The bars' values, float32 [predictors, instruments], `since` seconds after the newest update.

        They approach their new values exponentially and arrive after 0.4 s, but cross a threshold at once: on the way,
        too, a bar agrees with its mark and colour.
        """
        if not len(self.trail):
            return self.origin
        goal = np.nan_to_num(self.trail[-1])
        if since >= SETTLED or self.origin.shape != goal.shape:
            return np.asarray(goal, np.float32)
        way = self.origin - goal
        way[np.abs(way) < LEAST] = 0
        bars = goal + way * np.float32(math.exp(-since / MOTION))
        for marks in self.marks:
            above = goal >= marks
            bars = np.where(above, np.maximum(bars, marks), np.minimum(bars, np.nextafter(marks, np.float32(0))))
        return np.asarray(bars, np.float32)

    @property
    def moving(self) -> NDArray[np.bool_]:
        """Whose bars still move, bool [instruments]."""
        if not len(self.trail) or self.origin.shape != self.trail[-1].shape:
            return np.zeros(len(self.info.classes), np.bool_)
        way = np.abs(self.origin - np.nan_to_num(self.trail[-1]))
        return np.asarray((way >= LEAST).any(axis=0))

    @property
    def lively(self) -> bool:
        """Whether anything still moves; otherwise a frame would look like the one before."""
        rise = 0.0 if self.update is None else abs(self.update.level_db - self.db_origin)
        return bool(rise >= 1.0 or self.moving.any())

    def level_db(self, since: float) -> float:
        """The level meter's value, dBFS, `since` seconds after the newest update."""
        if self.update is None:
            return self.db_origin
        if since >= SETTLED:
            return self.update.level_db
        return self.update.level_db + (self.db_origin - self.update.level_db) * math.exp(-since / MOTION)

    def without_peaks(self) -> "ScreenState":
        """The same with every peak hold reset to the current value."""
        if self.update is None:
            return self
        return replace(self, peaks=np.nan_to_num(self.trail[-1]), peak_db=self.update.peak_db)

    def columns(self, width: int, predictor: int = ENSEMBLE) -> FloatArray:
        """A predictor's last minute as float32 [instruments, width]: each column the highest of its part of the minute.

        Columns are on a fixed grid of sample time, so that they move left unchanged. A column
        between two updates repeats the one before; before the first update it is NaN.
        """
        result = np.full((width, len(self.info.classes)), np.nan, np.float32)
        if width == 0 or len(self.times) == 0:
            return result.T
        # A little is added, since k * hop may fall just short of its grid line.
        cells = np.floor(self.times / (SPAN / width) + 1e-6).astype(np.int64)
        cells += width - 1 - cells[-1]
        seen, first = np.unique(np.maximum(cells, -1), return_index=True)
        highest = np.fmax.reduceat(self.trail[:, predictor], first, axis=0)
        held = np.searchsorted(seen, np.arange(width), side="right") - 1
        result[held >= 0] = highest[held[held >= 0]]
        return result.T

    def skipped_share(self) -> float:
        """The part (0…1) of the last minute's windows that were skipped."""
        if len(self.skips) < 2:
            return 0.0
        skipped, passed = float(self.skips[-1] - self.skips[0]), float(self.times[-1] - self.times[0])
        return min(1.0, skipped * self.info.hop / passed) if passed > 0 else 0.0

    def order(
        self, sorting: Sorting, previous: Sequence[str] | None = None, predictor: int = ENSEMBLE, crowded: bool = False
    ) -> tuple[str, ...]:
        """The instruments from the top row down; `crowded`: not all rows fit, so those that sound come first.

        By score, neighbours closer than 0.05 keep their `previous` order, so that rows do not jump.
        """
        names = self.info.instruments
        previous = names if previous is None else previous
        index = {name: number for number, name in enumerate(self.info.classes)}
        if sorting is Sorting.FIXED:
            first = self.sounding(predictor) if crowded else ()
            return (*first, *(name for name in names if name not in first))
        if sorting is Sorting.SCORE:
            probabilities = np.nan_to_num(self.of(predictor))
            return tuple(sorted(previous, key=lambda name: -round(float(probabilities[index[name]]) * 20)))
        active = self.active
        return tuple(sorted(names, key=lambda name: (name not in active, -self.entered[index[name]])))


def _predictors(update: Update, models: Sequence[str]) -> FloatArray:
    """float32 [1 + models, instruments]: the ensemble (no NaN), then each network, NaN where it gives no numbers."""
    nothing = np.full(len(update.instruments), np.nan, np.float32)
    ensemble = np.nan_to_num(update.probabilities, nan=0.0)
    return np.stack([ensemble, *(update.by_model.get(model, nothing) for model in models)]).astype(np.float32)


def _mel_after(mel: FloatArray, update: Update) -> FloatArray:
    """The log-mel strip with the update's frames appended, in a quarter of the bands."""
    if update.mel is None:
        return mel
    new = update.mel.reshape(BANDS, -1, update.mel.shape[1]).mean(axis=1).T
    return np.concatenate([mel, new])[-int(SPAN * FRAMES) :].astype(np.float32)


def _events_after(
    events: tuple[SoundEvent, ...], before: frozenset[str], update: Update, now: float
) -> tuple[SoundEvent, ...]:
    """The events after an update that applies from `now` on, newest first: ended ones closed, new ones added."""
    names = set(update.active)
    closed = tuple(
        replace(s, stop=now) if s.stop is None and not s.label and s.name not in names else s for s in events
    )
    begun = tuple(SoundEvent(name, now) for name in update.active if name not in before)
    return (*begun, *closed)[:STRETCHES]
