"""Everything the screen shows at one moment, and how an update turns one picture into the next."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.tui.bar import decay
from instrec_live.realtime.tui.view import Sorting
from instrec_live.realtime.update import StreamInfo, Update

SPAN = 60.0  # s that sparklines, heat map, log-mel and the skipped share look back
PEAK_FALL = 0.08  # probability a second
LEVEL_FALL = 8.0  # dB a second
MOTION = 0.1  # s, time constant of a bar on its way to a new value
SETTLED = 0.4  # s after which it has arrived
LEAST = 0.02  # a shorter way is gone at once: nobody sees it move, and drawing costs
STRETCHES = 64  # times that an instrument sounded, and labels, remembered
BANDS = 32  # of the log-mel strip
FRAMES = 100  # log-mel frames a second

FloatArray = NDArray[np.float32]
NEVER = -np.inf
ENSEMBLE = 0  # its place among the voices, before the networks


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time that an instrument sounded, `stop` None while it does; a label where `label` is set."""

    name: str
    start: float
    stop: float | None = None
    label: bool = False


@dataclass(frozen=True, eq=False)
class Picture:
    """A moment of a stream; immutable, so that a frozen display is just a picture kept.

    A voice is the ensemble (the first), or one of `info.models` after it; a voice that gives no numbers is NaN.

    Attributes:
        info: what the stream says of itself.
        update: the newest, None before the first.
        times: s, float64 [n], the last minute's updates, oldest first.
        trail: float32 [n, voices, 20], their probabilities.
        skips: int64 [n], windows skipped up to each of them.
        peaks: float32 [voices, 20], the peak holds.
        origin: float32 [voices, 20], where the bars stood when the newest update came.
        peak_db: the level meter's peak hold, dBFS.
        db_origin: where the level meter stood when the newest update came, dBFS.
        mel: float32 [frames, 32], the last minute's log-mel, ending now, 100 frames a second.
        entered: s, float64 [20], when each instrument last came in, -inf for never.
        stretches: when instruments sounded, and labels, newest first.
        ended: nothing more will come.
    """

    info: StreamInfo
    update: Update | None = None
    times: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    trail: FloatArray = field(default_factory=lambda: np.empty((0, 1, len(INSTRUMENTS)), np.float32))
    skips: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    peaks: FloatArray = field(default_factory=lambda: np.zeros((1, len(INSTRUMENTS)), np.float32))
    origin: FloatArray = field(default_factory=lambda: np.zeros((1, len(INSTRUMENTS)), np.float32))
    peak_db: float = -120.0
    db_origin: float = -120.0
    mel: FloatArray = field(default_factory=lambda: np.empty((0, BANDS), np.float32))
    entered: NDArray[np.float64] = field(default_factory=lambda: np.full(len(INSTRUMENTS), NEVER))
    stretches: tuple[Stretch, ...] = ()
    ended: bool = False

    @property
    def probabilities(self) -> FloatArray:
        """float32 [20], the ensemble's; zeros before the first update."""
        return self.of(ENSEMBLE)

    def of(self, voice: int) -> FloatArray:
        """A voice's newest probabilities, float32 [20]: NaN where it gives none, zeros before the first update."""
        if not len(self.trail):
            return np.zeros(len(INSTRUMENTS), np.float32)
        return np.asarray(self.trail[-1, voice], np.float32)

    @property
    def active(self) -> frozenset[str]:
        """The instruments that sound now."""
        return frozenset() if self.update is None else frozenset(self.update.active)

    def voice_of(self, model: str | None) -> int:
        """The place of a network among the voices; of None, the ensemble's."""
        return ENSEMBLE if model is None else 1 + self.info.models.index(model)

    def threshold(self, name: str, voice: int = ENSEMBLE) -> float:
        """From which probability an instrument counts as sounding, for a voice."""
        levels = self.info.thresholds if voice == ENSEMBLE else self.info.model_thresholds[self.info.models[voice - 1]]
        return float(levels.get(name, 0.5))

    def opinions(self, name: str) -> list[tuple[float | None, float]]:
        """Each network's probability of an instrument, None if it gives no numbers, and its own threshold for it."""
        number = INSTRUMENTS.index(name)
        found = []
        for voice in range(1, 1 + len(self.info.models)):
            p = float(self.of(voice)[number])
            found.append((None if math.isnan(p) else p, self.threshold(name, voice)))
        return found

    def after(self, update: Update, since: float = math.inf) -> "Picture":
        """The picture that `update` makes of this one, `since` seconds after the update before."""
        past = self.forgotten(update.time) if update.jumped else self
        passed = 0.0 if past.update is None else update.time - past.update.time
        values = _voices(update, self.info.models)
        # One that brings no new sound, of a device that is lost, takes the place of the one before.
        keep = (past.times > update.time - SPAN + 1e-9) & (past.times < update.time)
        names = set(update.active)
        entered = past.entered.copy()
        entered[[INSTRUMENTS.index(name) for name in names - past.active]] = update.time
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
            stretches=_stretches_after(past.stretches, past.active, update),
        )

    def forgotten(self, time: float) -> "Picture":
        """What is left after a jump to `time`: the stretches before it, each of them closed."""
        end = time if self.update is None else self.update.time
        closed = (replace(s, stop=end) if s.stop is None and not s.label else s for s in self.stretches)
        kept = tuple(s for s in closed if s.start < time or end <= time)
        return Picture(self.info, stretches=kept)

    def with_info(self, info: StreamInfo) -> "Picture":
        """The same of a stream that says something else of itself."""
        return self if info is self.info else replace(self, info=info)

    def labelled(self, text: str, time: float) -> "Picture":
        """The same with a label at `time`, s."""
        return replace(self, stretches=(Stretch(text, time, time, label=True), *self.stretches)[:STRETCHES])

    def bars(self, since: float) -> FloatArray:
        """Where the bars of all voices stand, float32 [voices, 20], `since` seconds after the newest update.

        They run towards it ever more slowly, and have arrived after 0.4 s.
        """
        if not len(self.trail):
            return self.origin
        goal = np.nan_to_num(self.trail[-1])
        if since >= SETTLED or self.origin.shape != goal.shape:
            return np.asarray(goal, np.float32)
        way = self.origin - goal
        way[np.abs(way) < LEAST] = 0
        return np.asarray(goal + way * np.float32(math.exp(-since / MOTION)), np.float32)

    @property
    def moving(self) -> NDArray[np.bool_]:
        """Whose bars are on their way since the newest update came, bool [20]."""
        if not len(self.trail) or self.origin.shape != self.trail[-1].shape:
            return np.zeros(len(INSTRUMENTS), np.bool_)
        way = np.abs(self.origin - np.nan_to_num(self.trail[-1]))
        return np.asarray((way >= LEAST).any(axis=0))

    @property
    def lively(self) -> bool:
        """Whether anything is on its way; else a frame would look like the one before."""
        rise = 0.0 if self.update is None else abs(self.update.level_db - self.db_origin)
        return bool(rise >= 1.0 or self.moving.any())

    def level_db(self, since: float) -> float:
        """Where the level meter stands, dBFS, `since` seconds after the newest update."""
        if self.update is None:
            return self.db_origin
        if since >= SETTLED:
            return self.update.level_db
        return self.update.level_db + (self.db_origin - self.update.level_db) * math.exp(-since / MOTION)

    def without_peaks(self) -> "Picture":
        """The same with every peak hold let down to the present value."""
        if self.update is None:
            return self
        return replace(self, peaks=np.nan_to_num(self.trail[-1]), peak_db=self.update.peak_db)

    def columns(self, width: int, voice: int = ENSEMBLE) -> FloatArray:
        """A voice's last minute as float32 [20, width]: each column the highest of its part of the minute.

        Columns stand on a fixed grid of sample time, so that they wander left unchanged. A column
        between two updates repeats the one before; before the first update it is NaN.
        """
        result = np.full((width, len(INSTRUMENTS)), np.nan, np.float32)
        if width == 0 or len(self.times) == 0:
            return result.T
        # A hair is added, since k * hop may fall just short of the grid line that it means.
        cells = np.floor(self.times / (SPAN / width) + 1e-6).astype(np.int64)
        cells += width - 1 - cells[-1]
        seen, first = np.unique(np.maximum(cells, -1), return_index=True)
        highest = np.fmax.reduceat(self.trail[:, voice], first, axis=0)
        held = np.searchsorted(seen, np.arange(width), side="right") - 1
        result[held >= 0] = highest[held[held >= 0]]
        return result.T

    def skipped_share(self) -> float:
        """The part (0…1) of the last minute's windows that were skipped."""
        if len(self.skips) < 2:
            return 0.0
        skipped, passed = float(self.skips[-1] - self.skips[0]), float(self.times[-1] - self.times[0])
        return min(1.0, skipped * self.info.hop / passed) if passed > 0 else 0.0

    def order(self, sorting: Sorting, previous: Sequence[str] = INSTRUMENTS, voice: int = ENSEMBLE) -> tuple[str, ...]:
        """The instruments from the top row down.

        By score, neighbours closer than a twentieth keep their `previous` order: rows should not dance.
        """
        index = {name: number for number, name in enumerate(INSTRUMENTS)}
        if sorting is Sorting.FIXED:
            return INSTRUMENTS
        if sorting is Sorting.SCORE:
            heard = np.nan_to_num(self.of(voice))
            return tuple(sorted(previous, key=lambda name: -round(float(heard[index[name]]) * 20)))
        active = self.active
        return tuple(sorted(INSTRUMENTS, key=lambda name: (name not in active, -self.entered[index[name]])))


def _voices(update: Update, models: Sequence[str]) -> FloatArray:
    """float32 [1 + models, 20]: the ensemble (no NaN), then each network, NaN where it gives no numbers."""
    nothing = np.full(len(INSTRUMENTS), np.nan, np.float32)
    ensemble = np.nan_to_num(update.probabilities, nan=0.0)
    return np.stack([ensemble, *(update.by_model.get(model, nothing) for model in models)]).astype(np.float32)


def _mel_after(mel: FloatArray, update: Update) -> FloatArray:
    """The log-mel strip with the update's frames at its end, in a quarter of the bands."""
    if update.mel is None:
        return mel
    new = update.mel.reshape(BANDS, -1, update.mel.shape[1]).mean(axis=1).T
    return np.concatenate([mel, new])[-int(SPAN * FRAMES) :].astype(np.float32)


def _stretches_after(stretches: tuple[Stretch, ...], before: frozenset[str], update: Update) -> tuple[Stretch, ...]:
    """With those closed that stopped, and those begun that came in, newest first."""
    now, names = update.time, set(update.active)
    closed = tuple(
        replace(s, stop=now) if s.stop is None and not s.label and s.name not in names else s for s in stretches
    )
    begun = tuple(Stretch(name, now) for name in update.active if name not in before)
    return (*begun, *closed)[:STRETCHES]
