"""Windows of a sample clock -> calibrated, fused, smoothed updates: synchronous, no threads, no wall clock.

Every pace feeds it hop by hop, so a stream says what an offline run says.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.errors import UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import HOP, MIN_SECONDS, SAMPLE_RATE, WINDOW_SECONDS, StreamingLogMel, settled_frames
from instrec_live.realtime import health
from instrec_live.realtime.smoothing import SilenceGate, Smoother, Smoothing
from instrec_live.realtime.update import Update

FloatArray = NDArray[np.float32]

_MIN = int(MIN_SECONDS * SAMPLE_RATE)
_WINDOW = int(WINDOW_SECONDS * SAMPLE_RATE)
_LONG_BEAT = SAMPLE_RATE  # the long window comes once a second
AHEAD_SECONDS = 8.0  # of sound that may be heard in one batch
_MOST_FRAMES = round((WINDOW_SECONDS + AHEAD_SECONDS) * SAMPLE_RATE / HOP)  # that are kept
MIN_HOP, MAX_HOP = 0.1, 60.0  # s

log = logging.getLogger(__name__)


class Follower(Protocol):
    """What an analysis needs of `instrec_live.models.follower.Follower`."""

    def calibrated(self, end: int, length: int, /) -> Mapping[str, FloatArray]: ...
    def prepare(self, windows: Sequence[tuple[int, int]], /) -> None: ...


class Tagger(Protocol):
    """What an analysis needs of `instrec_live.models.Tagger`."""

    @property
    def models(self) -> tuple[str, ...]: ...
    def follow(self, mel: StreamingLogMel, hop: int, /) -> Follower: ...
    def ensemble(self, calibrated: Mapping[str, FloatArray], /) -> FloatArray: ...


def hop_samples(hop: float) -> int:
    """Samples of a hop of `hop` seconds, rounded to the 10 ms frame grid.

    Raises:
        UsageError: the hop is not within 0.1…60 s.
    """
    if not MIN_HOP <= hop <= MAX_HOP:  # also refuses NaN
        raise UsageError(f"the hop must be from {MIN_HOP} to {MAX_HOP:g} s, not {hop:g}")
    return round(hop * SAMPLE_RATE / HOP) * HOP


@dataclass(frozen=True)
class Piece:
    """A piece of sound taken in: up to `end`, and what is to be seen of it before the networks are asked."""

    end: int
    seconds: float
    level_db: float
    peak_db: float
    quiet: bool
    windows: tuple[tuple[int, int], ...]  # (end, length): the short one, and the long one if it is due
    skipped: int
    mel: FloatArray | None  # of the new sound


class Analysis:
    """Hears a signal piece by piece and answers each piece with an Update.

    Args:
        tagger: networks, see `Tagger`.
        hop: samples from one update to the next, a multiple of 320.
        thresholds: of the ensemble's probability per instrument, [20].
        gate_db: RMS below which a hop counts as silence, dBFS.
        smoothing: its parameters.
        start: time of the first sample, s.
        keep_mel: put the new sound's log-mels into each update.
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
    ) -> None:
        self._tagger, self._hop, self._start = tagger, hop, start
        self._keep_mel = keep_mel
        self._short = round(smoothing.short_seconds * SAMPLE_RATE / HOP) * HOP
        self._long_weight = np.float32(smoothing.long_weight)
        self._gate = SilenceGate(gate_db, smoothing.quiet_seconds)
        self._smoother = Smoother(thresholds, smoothing)
        self._long: Mapping[str, FloatArray] | None = None
        self._speaking = tagger.models  # networks that gave numbers, when last asked
        self._silent: set[str] = set()  # networks that have failed to give numbers, and were reported
        self.lateness = health.Lateness()
        self.end = 0  # samples heard
        # Two seconds of silence before the first sample: the shortest window always exists.
        self._mel = StreamingLogMel(WINDOW_SECONDS + AHEAD_SECONDS)
        self._mel.reset(-_MIN)
        self._mel.push(np.zeros(_MIN, np.float32))
        self.follower = tagger.follow(self._mel, hop)

    @property
    def time(self) -> float:
        """End of the newest sound heard, s."""
        return self._start + self.end / SAMPLE_RATE

    def use(self, thresholds: NDArray[np.floating]) -> None:
        """Other thresholds [20] from the next update on."""
        self._smoother.use(thresholds)

    def hear(self, samples: FloatArray, skipped: int = 0) -> Update:
        """Take the sound since the last update, float32 [m], m a multiple of 320; returns the update there.

        `skipped` windows were left out before this one because inference was late. The update's age, xruns
        and bad_samples are 0: they are the stream's to know.

        Raises:
            ModelError: no network gave numbers.
        """
        return self.answer(self.take(samples, skipped))

    def hear_all(self, pieces: Sequence[FloatArray]) -> Iterator[Update]:
        """The same of several pieces, together at most 8 s, whose windows go through the networks in batches."""
        began = perf_counter()
        taken = [self.take(samples, 0) for samples in pieces]
        self.follower.prepare([window for piece in taken for window in piece.windows])
        shared = (perf_counter() - began) / len(taken)
        for piece in taken:
            update = self.answer(piece)
            yield update if piece.quiet else replace(update, inference_s=update.inference_s + shared)

    def take(self, samples: FloatArray, skipped: int) -> Piece:
        """The first half of `hear`; `answer` is the second, in the same order. In between, the networks may be made to
        hear the piece's windows together with others."""
        before, self.end = self.end, self.end + len(samples)
        self._mel.push(samples)
        level, quiet = self._gated(samples)
        windows = () if quiet else self._windows(before)  # nothing to hear, nothing to compute
        mel = self._new_mel(before) if self._keep_mel else None
        seconds, peak = len(samples) / SAMPLE_RATE, health.peak_db(samples[-self._hop :])
        return Piece(self.end, seconds, level, peak, quiet, windows, skipped, mel)

    def pass_over(self, samples: FloatArray) -> None:
        """Take sound of which no window will be asked for, nor one that reaches back to it."""
        self.end += len(samples)
        self._gated(samples)
        self._mel.reset(self.end)

    def _gated(self, samples: FloatArray) -> tuple[float, bool]:
        """Level of the newest hop, dBFS, and whether it is quiet by then. The gate sees every hop of the sound: with
        windows skipped, a short rest at the end must not pass for a long one."""
        level, quiet = health.FLOOR_DB, False
        for stop in range((len(samples) - 1) % self._hop + 1, len(samples) + 1, self._hop):
            part = samples[max(0, stop - self._hop) : stop]
            level = health.level_db(part)
            quiet = self._gate.step(level, len(part) / SAMPLE_RATE)
        return level, quiet

    def _new_mel(self, before: int) -> FloatArray:
        """The frames that the sound since sample `before` has completed, the newest of them if it is very long."""
        stop = settled_frames(self.end)
        count = min(stop - settled_frames(before), _MOST_FRAMES)
        newest: FloatArray = self._mel.patches([stop], count)[0]
        return newest

    def _windows(self, before: int) -> tuple[tuple[int, int], ...]:
        """The windows that end now: a short one, and once a second a long one."""
        short = (self.end, self._short if self.end >= self._short else min(self._short, _MIN))
        length = min(_WINDOW, self.end // _LONG_BEAT * _LONG_BEAT)
        due = length > self._short and self.end // _LONG_BEAT > before // _LONG_BEAT
        return (short, (self.end, length)) if due else (short,)

    def answer(self, piece: Piece) -> Update:
        """The second half of `hear`."""
        started = perf_counter()
        self.lateness.note(piece.end / SAMPLE_RATE, piece.skipped)
        if piece.quiet:
            self._long = None
            smooth, active = self._smoother.silence(("", *self._speaking), piece.seconds)
        else:
            fused = self._fused(*piece.windows)
            self._speaking = tuple(fused)
            logits = {"": self._tagger.ensemble(fused), **fused}
            smooth, active = self._smoother.step(logits, piece.seconds)
        filled = min(piece.end / SAMPLE_RATE, WINDOW_SECONDS)
        return Update(
            time=self._start + piece.end / SAMPLE_RATE,
            probabilities=smooth.pop(""),
            active=tuple(name for name, on in zip(INSTRUMENTS, active, strict=True) if on),
            by_model=smooth,
            level_db=piece.level_db,
            peak_db=piece.peak_db,
            state=health.state(piece.quiet, self.lateness.fraction, filled, WINDOW_SECONDS),
            filled_s=filled,
            age_s=0.0,
            inference_s=0.0 if piece.quiet else perf_counter() - started,
            skipped=self.lateness.skipped,
            xruns=0,
            bad_samples=0,
            mel=piece.mel,
        )

    def _fused(self, short: tuple[int, int], long: tuple[int, int] | None = None) -> dict[str, FloatArray]:
        """Calibrated logits [20] per model of the short window, and of the last long one if there is one."""
        newest = self._calibrated(*short)
        if long is not None:
            self._long = self._calibrated(*long)
        if self._long is None:
            return newest
        w, before = self._long_weight, self._long
        return {name: w * before.get(name, z) + (1 - w) * z for name, z in newest.items()}

    def _calibrated(self, end: int, length: int) -> dict[str, FloatArray]:
        """A window through the networks; the tagger leaves out those that give no numbers."""
        logits = dict(self.follower.calibrated(end, length))
        for name in set(self._tagger.models) - logits.keys() - self._silent:
            log.warning("%s gave something that is not a number and is left out of the ensemble", name)
            self._silent.add(name)
        return logits


def warm_up(tagger: Tagger, hop: int, smoothing: Smoothing) -> None:
    """Run the networks once as they will be, in passing and after pauses of all lengths: a first run is slow and
    would make hops late, and the room that each size of batch takes, for good, is better taken at once."""
    mel = StreamingLogMel(WINDOW_SECONDS)
    follower = tagger.follow(mel, hop)
    for samples in (_WINDOW, min(hop, _WINDOW), 3 * SAMPLE_RATE, 6 * SAMPLE_RATE, 9 * SAMPLE_RATE):
        mel.push(np.zeros(samples, np.float32))
        for seconds in (smoothing.short_seconds, WINDOW_SECONDS):
            follower.calibrated(mel.end, round(seconds * SAMPLE_RATE))
