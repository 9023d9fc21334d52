"""From hops of sound to calibrated, fused, smoothed updates: synchronous, without threads or a wall clock.

Live and offline work feed it hop by hop alike; files at pace max are then decided with look-ahead (offline.py).
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.arrays import FloatArray
from instrec_live.models.bundle import DEFAULT_MODELS
from instrec_live.models.errors import UsageError
from instrec_live.models.instruments import chosen, names
from instrec_live.models.logmel import (
    HOP,
    MIN_SECONDS,
    SAMPLE_RATE,
    WINDOW_SECONDS,
    DcBlocker,
    StreamingLogMel,
    settled_frames,
)
from instrec_live.models.segments import NEVER, Lookahead
from instrec_live.models.streaming import Window, windows_ahead, windows_at
from instrec_live.models.tagger import CORRECTIONS, OTHERS, kind_and_others
from instrec_live.realtime.stream import health
from instrec_live.realtime.stream.smoothing import (
    SilenceGate,
    Smoother,
    Smoothing,
    live_thresholds,
    merged_thresholds,
    raised,
)
from instrec_live.realtime.stream.update import CaptureStats, State, Update

if TYPE_CHECKING:
    from instrec_live.models.tagger import Tagger as LoadedTagger


_MIN = int(MIN_SECONDS * SAMPLE_RATE)
_WINDOW = int(WINDOW_SECONDS * SAMPLE_RATE)
AHEAD_SECONDS = 8.0  # of sound that may go through the networks in one batch
_MOST_FRAMES = round((WINDOW_SECONDS + AHEAD_SECONDS) * SAMPLE_RATE / HOP)  # kept
MIN_HOP, MAX_HOP = 0.1, 60.0  # s

log = logging.getLogger(__name__)


class Inference(Protocol):
    """What an analysis needs of `instrec_live.models.streaming`."""

    def calibrated(self, end: int, length: int, whole: bool = True, /) -> Mapping[str, FloatArray]: ...
    def prepare(self, windows: Sequence[Window], /) -> None: ...


class Tagger(Protocol):
    """What an analysis needs of `instrec_live.Tagger`."""

    @property
    def models(self) -> tuple[str, ...]: ...
    @property
    def instruments(self) -> tuple[str, ...]: ...
    def follow(self, mel: StreamingLogMel, hop: int, /) -> Inference: ...
    def ensemble(self, calibrated: Mapping[str, FloatArray], /) -> FloatArray: ...


def hop_samples(hop: float) -> int:
    """Samples of a hop of `hop` seconds, rounded to the 10 ms frame grid.

    Raises:
        UsageError: the hop is not within 0.1…60 s.
    """
    if not MIN_HOP <= hop <= MAX_HOP:  # also refuses NaN
        raise UsageError(f"the hop must be from {MIN_HOP} to {MAX_HOP:g} s, not {hop:g}")
    return round(hop * SAMPLE_RATE / HOP) * HOP


class AnalysisOptions(TypedDict, total=False):
    """The fields of `AnalysisConfig` as keyword arguments."""

    models: Sequence[str]
    engine: str
    threads: int
    weights: Sequence[float] | None
    hop: float
    thresholds: float | Mapping[str, float] | None
    only: Sequence[str] | None
    exclude: Sequence[str]
    gate_db: float
    smoothing: Smoothing
    lookahead: Lookahead | None
    channel: str | int | None
    track: int | None


@dataclass(frozen=True)
class AnalysisConfig:
    """The networks and how their results are processed; shared by streams, hubs and `tag`.

    Attributes:
        models: bundled names or bundle folders.
        engine: what runs the networks.
        threads: CPU threads of the engine.
        weights: of the models in the ensemble, in their order; None keeps the ensemble's own.
        hop: seconds between updates, 0.1…60, rounded to 10 ms.
        thresholds: one for all instruments, or some by instrument (the others keep the models' own); None keeps all.
        only: the instruments to listen for; None: all.
        exclude: instruments to leave out: their probability is 0 and they are never active.
        gate_db: RMS below which a hop counts as silence, dBFS.
        smoothing: how fast and how steadily results follow the sound.
        lookahead: what decides about a file at pace "max"; None: as a live stream does, without the sound to come.
        channel: "left", "right", a number from 1, or "mix"; None: the mean of all, unless they cancel each other out.
        track: of a file or pipe with several sounds, from 1.
    """

    models: Sequence[str] = DEFAULT_MODELS
    engine: str = "auto"
    threads: int = 1
    weights: Sequence[float] | None = None
    hop: float = 0.5
    thresholds: float | Mapping[str, float] | None = None
    only: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    gate_db: float = -60.0
    smoothing: Smoothing = field(default_factory=Smoothing)
    lookahead: Lookahead | None = field(default_factory=Lookahead)
    channel: str | int | None = None
    track: int | None = None

    def __post_init__(self) -> None:
        if math.isnan(self.gate_db):
            raise UsageError("gate_db must be a level in dBFS, not nan")
        if self.track is not None and self.track < 1:
            raise UsageError(f"tracks are counted from 1: there is no track {self.track}")
        # They are read more than once, which a generator is not; a string is one name.
        object.__setattr__(self, "models", names(self.models))
        object.__setattr__(self, "only", None if self.only is None else names(self.only))
        object.__setattr__(self, "exclude", names(self.exclude or ()))

    @property
    def hop_samples(self) -> int:
        """Samples of a hop at 32 kHz.

        Raises:
            UsageError: the hop is not within 0.1…60 s.
        """
        return hop_samples(self.hop)

    def instruments_of(self, tagger: "Tagger") -> tuple[str, ...]:
        """Those listened for, in the order of INSTRUMENTS.

        Raises:
            UsageError: an unknown name, or none is left.
        """
        return chosen(self.only, self.exclude, tagger.instruments)

    def lookahead_for(self, pace: str, endless: bool) -> Lookahead | None:
        """What decides about a source at this pace; None: nothing looks ahead, as of a radio, which is `endless`."""
        return self.lookahead if pace == "max" and not endless else None

    def load_tagger(self) -> "LoadedTagger":
        """The networks.

        Raises:
            ModelError, UsageError: as `Tagger.load`.
        """
        from instrec_live.models.tagger import Tagger

        return Tagger.load(models=tuple(self.models), engine=self.engine, threads=self.threads, weights=self.weights)

    def thresholds_of(self, tagger: "LoadedTagger", lookahead: bool = False) -> FloatArray:
        """The thresholds in force, float32 [n], of the tagger's instruments, of decisions with look-ahead or without.

        Raises:
            UsageError: an unknown instrument, or a threshold outside 0…1.
        """
        own = live_thresholds(tagger.thresholds, self.smoothing)
        if lookahead and self.lookahead is not None:
            own = raised(tagger.thresholds, self.lookahead.margin)
        return merged_thresholds(own, self.thresholds, tagger.instruments)


@dataclass(frozen=True)
class PendingHop:
    """A hop whose level and windows are known and whose networks have not run yet. Can be pickled.

    Attributes:
        end: sample at which it ends.
        seconds: its length.
        level_db, peak_db: of its newest hop, dBFS.
        quiet: below the gate: no network runs.
        windows: the short one, and the long one if it is due.
        skipped: windows left out before it.
        mel: log-mel frames of its sound, float32 [128, frames], if they are kept.
    """

    end: int
    seconds: float
    level_db: float
    peak_db: float
    quiet: bool
    windows: tuple[Window, ...]
    skipped: int
    mel: FloatArray | None


#: gives what the capture knows of a hop at the moment its update is made
ReadStats = Callable[[PendingHop], CaptureStats]


def offline(_: PendingHop) -> CaptureStats:
    """The stats of sound that is not captured."""
    return CaptureStats()


class Analysis:
    """Turns a signal into one `Update` per hop.

    Args:
        tagger: the networks, see `Tagger`.
        hop: samples from one update to the next, a multiple of 320.
        thresholds: of the ensemble's probability per instrument, [n].
        gate_db: RMS below which a hop counts as silence, dBFS.
        smoothing: its parameters.
        start: time of the first sample, s.
        keep_mel: put the log-mel of the new sound into each update.
        skipped: windows skipped before this analysis began.
        instruments: those listened for, None for all; the others have the probability 0 and are never active.
        others: also name likely instruments other than these in each update.
        lookahead: what decides with look-ahead, which needs fewer windows; None: each hop is decided as it comes.

    Attributes:
        left_out: the instruments that are not listened for, bool [n].
    """

    def __init__(
        self,
        tagger: Tagger,
        hop: int,
        thresholds: NDArray[np.floating],
        gate_db: float,
        smoothing: Smoothing,
        start: float = 0.0,
        keep_mel: bool = False,
        skipped: int = 0,
        instruments: Sequence[str] | None = None,
        others: bool = True,
        lookahead: Lookahead | None = None,
    ) -> None:
        self._lookahead = lookahead
        wanted = tagger.instruments if instruments is None else instruments
        self.left_out = np.array([name not in wanted for name in tagger.instruments])
        self._others = others
        self.tagger, self.hop, self._start = tagger, hop, start
        self._instruments = tagger.instruments
        self._keep_mel = keep_mel
        self._short = round(smoothing.short_seconds * SAMPLE_RATE / HOP) * HOP
        self._long_weight = np.float32(smoothing.long_weight)
        self.gate_db = gate_db
        self._gate = SilenceGate(gate_db, smoothing.quiet_seconds)
        self._quiet = True  # the gate is closed after the newest hop
        self._smoother = Smoother(thresholds, smoothing)
        self._long: Mapping[str, FloatArray] | None = None
        self._working = tagger.models  # networks that gave numbers in the last window
        self._failed: set[str] = set()  # networks that have given no numbers, and were reported
        self.skip_counter = health.SkipCounter(skipped)
        self.end = 0  # samples so far
        # Two seconds of silence before the first sample: the shortest window always exists.
        self._mel = StreamingLogMel(WINDOW_SECONDS + AHEAD_SECONDS)
        self._mel.reset(-_MIN)
        self._mel.push(np.zeros(_MIN, np.float32))
        self._blocker = DcBlocker()
        self.inference = tagger.follow(self._mel, hop)

    @property
    def time(self) -> float:
        """End of the newest sound, s."""
        return self._start + self.end / SAMPLE_RATE

    def set_thresholds(self, thresholds: NDArray[np.floating]) -> None:
        """Use other thresholds [n] from the next update on."""
        self._smoother.set_thresholds(thresholds)

    def process(self, samples: FloatArray, skipped: int = 0, capture: ReadStats = offline) -> Update:
        """The update at the end of the sound since the last one.

        Args:
            samples: float32 [m], m a multiple of 320.
            skipped: windows that were left out before this one because inference was late.
            capture: called once, when the networks have run.

        Raises:
            ModelError: no network gave numbers.
        """
        return self.finish_hop(self.begin_hop(samples, skipped), capture)

    def process_all(self, batch: Sequence[FloatArray], capture: ReadStats = offline) -> Iterator[Update]:
        """The same for several hops, together at most 8 s, whose windows go through the networks in batches."""
        hops, shared_s = self.begin_batch(batch)
        for hop in hops:
            yield self.finish_hop(hop, capture, shared_s)

    def rest(self) -> Iterator[Update]:
        """The updates that are still to come at the end of the sound: none, without look-ahead."""
        return iter(())

    def begin_hop(self, samples: FloatArray, skipped: int) -> PendingHop:
        """The first half of `process`; `finish_hop` is the second, called in the same order.

        In between, a batcher may run the hop's windows through the networks together with those of other streams.
        """
        self._mel.push(self._blocker(samples))
        return self._begun(samples, skipped)

    def begin_hops(self, batch: Sequence[FloatArray]) -> list[PendingHop]:
        """The same for several hops, together at most 8 s."""
        self._mel.push(self._blocker(np.concatenate(batch)))
        return [self._begun(samples, 0) for samples in batch]

    def _begun(self, samples: FloatArray, skipped: int) -> PendingHop:
        before, self.end = self.end, self.end + len(samples)
        begins = self._quiet
        level = self._gated(samples)
        windows = self._windows(before, begins or len(samples) < self.hop)
        mel = self._new_mel(before) if self._keep_mel else None
        seconds, peak = len(samples) / SAMPLE_RATE, health.peak_db(samples[-self.hop :])
        return PendingHop(self.end, seconds, level, peak, self._quiet, windows, skipped, mel)

    def _windows(self, before: int, edge: bool) -> tuple[Window, ...]:
        """Those that are due, since sample `before`; `edge`: the sound begins with this hop, or ends."""
        if self._quiet:  # nothing is computed
            return ()
        if self._lookahead is None:
            return windows_at(self.end, before, self._short)
        return windows_ahead(self.end, before, self._short, round(self._lookahead.long_period * SAMPLE_RATE), edge)

    def begin_batch(self, batch: Sequence[FloatArray]) -> tuple[list[PendingHop], float]:
        """`begin_hop` for several hops, with their windows run through the networks together.

        Returns the hops, and each one's share of the inference time, s.
        """
        began = perf_counter()
        hops = self.begin_hops(batch)
        self.inference.prepare([window for hop in hops for window in hop.windows])
        return hops, (perf_counter() - began) / len(hops)

    def skip(self, samples: FloatArray) -> None:
        """Advance over sound that no later window reaches back to."""
        self.end += len(samples)
        self._gated(samples)
        self._mel.reset(self.end)
        self._blocker = DcBlocker()

    def _gated(self, samples: FloatArray) -> float:
        """Level of the newest hop, dBFS; the gate is then open or closed.

        The gate sees every hop of the sound: with windows skipped, a short pause at the end must not pass for a long
        one.
        """
        level = health.FLOOR_DB
        for stop in range((len(samples) - 1) % self.hop + 1, len(samples) + 1, self.hop):
            part = samples[max(0, stop - self.hop) : stop]
            level = health.level_db(part)
            self._quiet = self._gate.step(level, len(part) / SAMPLE_RATE)
        return level

    def _new_mel(self, before: int) -> FloatArray:
        """The frames completed by the sound since sample `before`; only the newest ones if it is very long."""
        stop = settled_frames(self.end)
        count = min(stop - settled_frames(before), _MOST_FRAMES)
        newest: FloatArray = self._mel.patches([stop], count)[0]
        return newest

    def finish_hop(self, hop: PendingHop, capture: ReadStats = offline, shared_s: float = 0.0) -> Update:
        """The second half of `process`: the only place where an update is made of sound.

        `shared_s`: this hop's share of the inference time of its batch, s.
        """
        started = perf_counter()
        self.skip_counter.note(hop.end / SAMPLE_RATE, hop.skipped)
        if hop.quiet:
            self._long = None
            smooth, active = self._smoother.silence(("", *self._working), hop.seconds)
        else:
            fused = self._fused(*self.logits(hop))
            ensemble = self.tagger.ensemble(fused)
            fused.pop(CORRECTIONS, None)
            self._working = tuple(name for name in fused if name != OTHERS)
            logits = {"": np.where(self.left_out, np.float32(NEVER), ensemble), **fused}
            smooth, active = self._smoother.step(logits, hop.seconds)
        for name in ("", *self._working):
            smooth[name][self.left_out] = 0.0
        inference_s = 0.0 if hop.quiet else perf_counter() - started + shared_s
        filled = min(hop.end / SAMPLE_RATE, WINDOW_SECONDS)
        state = health.state(hop.quiet, self.skip_counter.fraction, filled, WINDOW_SECONDS)
        return self.update(hop, smooth, active, state, capture(hop), inference_s)

    def logits(self, hop: PendingHop) -> tuple[Mapping[str, FloatArray], Mapping[str, FloatArray] | None]:
        """Calibrated logits [n] per model of a hop's short window, and of its long one, None if none is due."""
        short, *long = map(self._calibrated, hop.windows)
        return short, long[0] if long else None

    def update(
        self,
        hop: PendingHop,
        smooth: dict[str, FloatArray],
        active: NDArray[np.bool_],
        state: State,
        stats: CaptureStats,
        inference_s: float,
    ) -> Update:
        """The update of a hop with these probabilities: of each network, of other sounds, and (key "") of the
        ensemble."""
        kind, also = (
            ("silence", {}) if state is State.QUIET else kind_and_others(smooth.pop(OTHERS, None), self._instruments)
        )
        return Update(
            time=self._start + hop.end / SAMPLE_RATE,
            probabilities=smooth.pop(""),
            active=tuple(name for name, on in zip(self._instruments, active, strict=True) if on),
            by_model=smooth,
            level_db=hop.level_db,
            peak_db=hop.peak_db,
            state=state,
            filled_s=min(hop.end / SAMPLE_RATE, WINDOW_SECONDS),
            age_s=stats.age_s,
            inference_s=inference_s,
            skipped=self.skip_counter.skipped,
            xruns=stats.xruns,
            bad_samples=stats.bad_samples,
            jumped=stats.jumped,
            gap=stats.gap,
            no_signal=stats.no_signal,
            mel=hop.mel,
            kind=kind,
            also=also if self._others else {},
            instruments=self._instruments,
            sound_s=hop.seconds,
        )

    def _fused(self, newest: Mapping[str, FloatArray], long: Mapping[str, FloatArray] | None) -> dict[str, FloatArray]:
        """Per model the weighted mean of the logits [n] of the short window and of the last long one, if any."""
        if long is not None:
            self._long = long
        if self._long is None:
            return dict(newest)
        w, before = self._long_weight, self._long
        return {name: w * before.get(name, z) + (1 - w) * z for name, z in newest.items()}

    def _calibrated(self, window: Window) -> dict[str, FloatArray]:
        """Calibrated logits [n] of one window per model; the tagger leaves out those that give no numbers."""
        logits = dict(self.inference.calibrated(*window))
        missing = set(self.tagger.models) - logits.keys() if window.whole else set()
        for name in missing - self._failed:
            log.warning("%s gave values that are not numbers and is left out of the ensemble", name)
            self._failed.add(name)
        return logits


def warm_up(tagger: Tagger, hop: int, smoothing: Smoothing) -> None:
    """Run the networks once on every batch size that can occur, so that no first run makes a hop late.

    The sound is pushed in steps of different lengths, since a pause changes how many patches are due at once. Each
    batch size keeps its memory, which is therefore all allocated here.
    """
    mel = StreamingLogMel(WINDOW_SECONDS)
    inference = tagger.follow(mel, hop)
    for samples in (_WINDOW, min(hop, _WINDOW), 3 * SAMPLE_RATE, 6 * SAMPLE_RATE, 9 * SAMPLE_RATE):
        mel.push(np.zeros(samples, np.float32))
        for seconds in (smoothing.short_seconds, WINDOW_SECONDS):
            inference.calibrated(mel.end, round(seconds * SAMPLE_RATE))
