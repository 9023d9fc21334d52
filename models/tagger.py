"""From a window of sound to the probabilities of each network, and of their ensemble."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

from instrec_live.models.arrays import FloatArray
from instrec_live.models.audioset import FITTED, KIND_ROWS, NOT_MUSIC, OTHER_SOUNDS, RESEMBLING
from instrec_live.models.bundle import DEFAULT_MODELS, Bundle
from instrec_live.models.calibration import Platt, logit, sigmoid
from instrec_live.models.catalog import load_model
from instrec_live.models.conditioning import level_db, mono
from instrec_live.models.engine_selection import choose_engine
from instrec_live.models.engines.base import CachingEngine, Engine
from instrec_live.models.engines.registry import open_engine
from instrec_live.models.ensemble import Ensemble
from instrec_live.models.errors import ModelError, UsageError
from instrec_live.models.instruments import INSTRUMENTS, chosen, names
from instrec_live.models.learned import LearnedBundle
from instrec_live.models.logmel import (
    HOP,
    MIN_SECONDS,
    PATCH,
    SAMPLE_RATE,
    WINDOW_SECONDS,
    DcBlocker,
    StreamingLogMel,
    bounded,
    log_mel,
)
from instrec_live.models.segments import DecidedHop, HopLogits, Lookahead, Segment, SegmentDecider, segments_of
from instrec_live.models.streaming import Head, PatchCache, StreamingInference, Window, prepare, windows_ahead

OTHERS = "other sounds"  # among the logits by network: those of `audioset.OTHER_SOUNDS`, if any network has them
CORRECTIONS = "corrections"  # among them too: [20], what learned heads add to the ensemble's logits

_RATES = (1_000, 1_000_000)  # Hz
_MAX_CHANNELS = 256
_STEP_SECONDS = 5.0
_ABSENT = np.float32(-10.0)  # the logit of an instrument that no model has
# As in a stream with its defaults.
_HOP_SECONDS, _SHORT_SECONDS, _QUIET_SECONDS = 0.5, 1.0, 1.0
_GATE_DB = -60.0
_BATCH = 16  # hops

log = logging.getLogger(__name__)


_KINDS = list(KIND_ROWS)
LIKELY = 0.3  # the probability from which an instrument other than the 20 is named
_MUSIC, _OTHER_KINDS = _KINDS.index("music"), [_KINDS.index(name) for name in NOT_MUSIC]
# In 313 clips of music it leads speech, applause and noise by 0.2 logits or more; speech leads it by 4, noise by 1.
_LEAD = 0.3  # logits by which another kind must lead music before instruments are suppressed
_MOST = 8.0  # logits by which they are suppressed at most; four times the lead beyond that
_FITTED = [OTHER_SOUNDS.index(name) for name in FITTED]
# Of each instrument of `FITTED` [6], which of the 20 resemble it [20]. Those are suppressed by twice the logits by
# which its probability exceeds _SUSPECTED, three at most: one that also sounds has a higher logit.
_RESEMBLES = np.array([[name in RESEMBLING[other] for name in INSTRUMENTS] for other in FITTED])
_SUSPECTED, _MOST_RESEMBLING = 0.16, 3.0


def kind_and_others(
    probabilities: FloatArray | None, instruments: Sequence[str] = INSTRUMENTS
) -> tuple[str | None, dict[str, float]]:
    """Probabilities of `OTHER_SOUNDS` [K] -> the likeliest kind of sound, and the other likely instruments.

    `instruments`: those that are not counted as others. Without networks for other sounds (None): (None, {}).
    """
    if probabilities is None:
        return None, {}
    kind = _KINDS[int(np.argmax(probabilities[: len(_KINDS)]))]
    likely = zip(OTHER_SOUNDS[len(_KINDS) :], probabilities[len(_KINDS) :].tolist(), strict=True)
    return kind, {name: round(p, 3) for name, p in likely if p >= LIKELY and name not in instruments}


def held_back_by(others: FloatArray) -> FloatArray:
    """Logits of `OTHER_SOUNDS` [..., K] -> by how many logits each kind of `NOT_MUSIC` holds instruments back, float32
    [..., 3]."""
    lead = others[..., _OTHER_KINDS] - others[..., _MUSIC, None]
    return np.asarray(np.clip(4 * (lead - _LEAD), 0.0, _MOST), np.float32)


def held_back(others: FloatArray) -> FloatArray:
    """Logits of `OTHER_SOUNDS` [K] -> by how many logits each instrument is less likely [20]: because the sound is not
    music, or because an instrument of `FITTED` that it resembles may sound instead."""
    every = held_back_by(others).max()
    over = np.clip(2 * (others[_FITTED] - logit(_SUSPECTED)), 0.0, _MOST_RESEMBLING)
    return np.asarray(every + (over[:, None] * _RESEMBLES).max(axis=0), np.float32)


@dataclass(frozen=True, eq=False)
class Tags:
    """The instruments in some audio; `active` are those that sound anywhere in it, `segments` say where.

    Attributes:
        probabilities: float32 [20], calibrated ensemble, in the order of INSTRUMENTS; after them those of learned
            instruments, as `Tagger.instruments` has them.
        by_model: each model's own calibrated probabilities, as long; NaN for instruments that it does not know.
        active: names of the instruments that have a segment, in that order. In audio of at most 10 s they
            are those whose probability reaches their threshold.
        segments: when each sounds, in order of onset, decided with look-ahead.
        times: float64 [n], where each hop of half a second ends, s.
        hops: float32 [n, classes], what sounds in each: the probabilities of the windows around it.
        kind: the kind of sound, one of `audioset.KIND_ROWS`; None where no network distinguishes them.
        also: likely instruments other than the 20, with their probabilities.
    """

    probabilities: FloatArray
    by_model: Mapping[str, FloatArray]
    active: tuple[str, ...]
    segments: tuple[Segment, ...] = ()
    times: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    hops: FloatArray = field(default_factory=lambda: np.empty((0, len(INSTRUMENTS)), np.float32))
    kind: str | None = None
    also: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Member:
    engine: Engine
    patchwise: bool
    calibration: Platt
    thresholds: FloatArray
    others: tuple[str, ...]
    sha256: str


class Tagger:
    """Networks with their calibrations, and their ensemble; and heads that a user trained (learned.py).

    Below, n is the number of instruments: 20, and those that learned heads add. A learned head without any network
    gives results for its own instruments only.

    Attributes:
        models: names, in the order given.
        instruments: their names, [n].
        sha256s: of each model's ONNX file, or of the learned head.
        weights: of each network in the ensemble, not negative; they need not add up to 1.
        thresholds: float32 [n], of the ensemble, or of the one model.
        dropped: how many windows each model was left out of because its output was not finite.
    """

    def __init__(
        self,
        models: Sequence[Bundle | LearnedBundle],
        engine: str = "auto",
        threads: int = 1,
        weights: Sequence[float] | None = None,
    ) -> None:
        names = [model.name for model in models]
        if not names:
            raise UsageError("no models", "name at least one with --models")
        if len(set(names)) < len(names):
            raise ModelError(
                f"two of the models have the same name: {', '.join(names)}",
                "leave one out; a learned bundle has its folder's name, another bundle its network's",
            )
        bundles = [bundle for bundle in models if isinstance(bundle, Bundle)]
        self._heads = {head.name: head for head in models if isinstance(head, LearnedBundle)}
        new = tuple(dict.fromkeys(name for head in self._heads.values() for name in head.new))
        if not bundles and not new:
            raise ModelError(
                f"{names[0]} only corrects instruments of the bundled networks: it cannot run alone",
                f"--models {','.join(DEFAULT_MODELS)},{models[0].path}",
            )
        self.instruments = (*INSTRUMENTS, *new) if bundles else new
        if weights is not None and self._heads and len(weights) == len(models):  # heads are not weighed
            weights = [each for each, model in zip(weights, models, strict=True) if isinstance(model, Bundle)]
        self._ensemble = Ensemble.of(bundles, weights=weights) if bundles else None
        hidden = _hidden_bases(self._heads.values(), bundles)
        if engine == "auto":  # one engine for all networks, measured with all of them
            engine = choose_engine([*bundles, *hidden], threads).engine
        self._members = {
            bundle.name: _Member(
                open_engine(bundle, engine, threads),
                bundle.width > 0,
                bundle.calibration,
                bundle.thresholds,
                bundle.others,
                bundle.sha256,
            )
            for bundle in bundles
        }
        self._bases: dict[str, Engine] = {}  # networks that only heads use
        for bundle in hidden:
            self._bases[f"base {bundle.name}"] = open_engine(bundle, engine, threads)
        self._bases_of = {name: self._base_names(head, threads) for name, head in self._heads.items()}
        self.models = tuple(names)
        self.sha256s = {model.name: model.sha256 for model in models}
        self.weights = {} if self._ensemble is None else dict(self._ensemble.weights)
        self.weights |= dict.fromkeys(self._heads, 1.0)
        own = np.full(len(self.instruments), 0.5, np.float32)
        if self._ensemble is not None:
            own[: len(INSTRUMENTS)] = self._ensemble.thresholds
        for head in self._heads.values():
            self._put(own, head.new, head.thresholds[[head.classes.index(name) for name in head.new]])
        self.thresholds = own
        self.dropped = dict.fromkeys(names, 0)

    @property
    def engine_name(self) -> str:
        """The engines in use; it changes when an engine fails and falls back to another."""
        engines = [*(member.engine for member in self._members.values()), *self._bases.values()]
        return ", ".join(dict.fromkeys(engine.name for engine in engines))

    def _base_names(self, head: LearnedBundle, threads: int) -> dict[str, str]:
        """Of each network that a head reads: the name of the engine that runs it, among members and bases."""
        found = {}
        for base in head.bases:
            same = [name for name, member in self._members.items() if member.sha256 == base.sha256]
            names = [name for name in same if isinstance(self._members[name].engine, CachingEngine)]
            if not names:
                names = [f"base {base.name}"]
                if not isinstance(self._bases.get(names[0]), CachingEngine):  # not every engine gives embeddings
                    bundle = next(each for each in head.base_bundles() if each.name == base.name)
                    self._bases[names[0]] = open_engine(bundle, "onnx", threads)
            found[base.name] = names[0]
        return found

    def _put(self, row: FloatArray, names: Sequence[str], values: FloatArray) -> None:
        """Set some instruments' values in a row [n]."""
        row[[self.instruments.index(name) for name in names]] = values

    @classmethod
    def load(
        cls,
        models: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = DEFAULT_MODELS,
        engine: str = "auto",
        threads: int = 1,
        weights: Sequence[float] | None = None,
    ) -> "Tagger":
        """Load models, or one, by bundled name, public name (fetched once) or bundle folder.

        Weights, one per model, override the ensemble's own.

        Raises:
            ModelError: a bundle is missing or damaged, cannot be fetched, or the engine refuses it.
            UsageError: no models, an unknown engine, or invalid weights.
        """
        return cls([load_model(model) for model in names(models)], engine, threads, weights)

    def thresholds_of(self, model: str) -> FloatArray:
        """float32 [n]: the probabilities from which an instrument is active by this model alone; for those that it
        does not know, the tagger's."""
        if model not in self._members or len(self.instruments) == len(INSTRUMENTS):
            return self._members[model].thresholds if model in self._members else self.thresholds
        thresholds: FloatArray = self.thresholds.copy()
        thresholds[: len(INSTRUMENTS)] = self._members[model].thresholds
        return thresholds

    def calibrated(self, log_mel: FloatArray) -> dict[str, FloatArray]:
        """log-mel float32 [128, T], T 200…1000 -> each model's calibrated logits, float32 [n], NaN for instruments
        that it does not know; those of other sounds, float32 [K], under `OTHERS`; and what heads add to the
        ensemble's, float32 [20], under `CORRECTIONS`.

        A network whose output is not finite is left out and counted in `dropped`.
        """
        logits = {name: member.engine.logits(log_mel[None])[0] for name, member in self._members.items()}
        embeddings: dict[str, FloatArray] = {}
        for name, head in self._heads.items():
            for base in self._bases_of[name].values():
                if base not in embeddings:
                    own, embeddings[base] = self._embeddings(base, log_mel)
                    logits.setdefault(base, own)
            logits[name] = head.logits({base: embeddings[run] for base, run in self._bases_of[name].items()})
        return self._calibrated_finite(logits)

    def _embeddings(self, base: str, log_mel: FloatArray) -> tuple[FloatArray, FloatArray]:
        """log-mel [128, T] -> raw logits, and embeddings [T // 96, width], by one of the engines."""
        engine = self._members[base].engine if base in self._members else self._bases[base]
        assert isinstance(engine, CachingEngine)
        whole = log_mel[:, log_mel.shape[1] % PATCH :]
        logits, embeddings = engine.run(np.ascontiguousarray(whole)[None], np.empty((0, engine.width), np.float32))
        return logits[0], embeddings

    def follow(self, mel: StreamingLogMel, hop: int) -> StreamingInference:
        """The same for window after window of a growing sound, `hop` samples apart, with less work."""
        caches = {name: PatchCache(member.engine, member.patchwise) for name, member in self._members.items()}
        caches |= {name: PatchCache(engine, True) for name, engine in self._bases.items()}

        def logits_of(name: str, head: LearnedBundle) -> Head:
            runs = self._bases_of[name]
            return lambda embeddings: head.logits({base: embeddings[run] for base, run in runs.items()})

        heads = {name: logits_of(name, head) for name, head in self._heads.items()}
        bases = {name: tuple(runs.values()) for name, runs in self._bases_of.items()}
        sparse = any(member.patchwise for member in self._members.values())
        return StreamingInference(caches, self._calibrated_finite, mel, hop, sparse, heads, bases)

    @staticmethod
    def prepare(requests: Sequence[tuple[StreamingInference, Sequence[Window]]]) -> None:
        """Compute windows of many sounds in one batch; their inferences, each given once, then have the results ready.

        Raises:
            ModelError: a network failed; each inference may still compute its own windows.
        """
        prepare(requests)

    def _calibrated_finite(self, logits: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Logits by model -> calibrated [n], without those that are not finite."""
        out = {}
        others, of_bases = [], []
        corrections = np.zeros(len(INSTRUMENTS), np.float32)
        for name, raw in logits.items():
            if name in self._bases:
                if len(raw) > len(INSTRUMENTS) and np.isfinite(raw).all():
                    of_bases.append(raw[len(INSTRUMENTS) :])
                continue
            if name in self._heads:
                if np.isfinite(raw).all():
                    out[name] = self._learned(self._heads[name], raw, corrections)
                else:
                    self.dropped[name] += 1
                continue
            calibrated = self._members[name].calibration(raw[: len(INSTRUMENTS)])
            if np.isfinite(calibrated).all():
                out[name] = self._extended(calibrated)
                others += [raw[len(INSTRUMENTS) :]] if self._members[name].others else []
            else:
                self.dropped[name] += 1
        if others or of_bases:
            out[OTHERS] = np.mean(others or of_bases, axis=0, dtype=np.float32)
        if corrections.any():
            out[CORRECTIONS] = corrections
        return out

    def _extended(self, logits: FloatArray) -> FloatArray:
        """Logits [20] -> [n]."""
        more = len(self.instruments) - len(INSTRUMENTS)
        return np.append(logits, np.full(more, np.nan, np.float32)) if more else logits

    def _learned(self, head: LearnedBundle, raw: FloatArray, corrections: FloatArray) -> FloatArray:
        """A head's logits [classes] -> [n], those of new instruments; the rest is added to `corrections` [20]."""
        logits = np.full(len(self.instruments), np.nan, np.float32)
        for name, value in zip(head.classes, raw, strict=True):
            if name in INSTRUMENTS:
                corrections[INSTRUMENTS.index(name)] += value
            else:
                logits[self.instruments.index(name)] = value
        return logits

    def ensemble(self, calibrated: Mapping[str, FloatArray]) -> FloatArray:
        """Calibrated logits of some of the models -> the ensemble's, float32 [n].

        Raises:
            ModelError: of none of them.
        """
        own = len(INSTRUMENTS)
        members = []
        others = calibrated.get(OTHERS)
        if self._ensemble is not None:
            logits = self._ensemble({name: z[:own] for name, z in calibrated.items() if name in self._members})
            # Networks that only heads read change nothing for the 20.
            if others is not None and any(member.others for member in self._members.values()):
                logits = logits - held_back(others)
            if not self._heads:
                return logits
            members = [self._extended(logits + calibrated.get(CORRECTIONS, np.float32(0)))]
        for name, z in calibrated.items():
            if name in self._heads:
                members.append(z if others is None else z - self._held_back(self._heads[name], others))
        if not members:
            raise ModelError("no network gave finite numbers", "run --doctor to check the models")
        stacked = np.stack(members)
        known = np.isfinite(stacked)  # of a head that gave none, its instruments count as absent
        sums = np.where(known, stacked, 0).sum(axis=0)
        return np.where(known.any(axis=0), sums / np.maximum(known.sum(axis=0), 1), _ABSENT).astype(np.float32)

    def _held_back(self, head: LearnedBundle, others: FloatArray) -> FloatArray:
        """Logits of other sounds [K] -> by how many logits each instrument of a head is less likely, [n]."""
        back = np.zeros(len(self.instruments), np.float32)
        by_kind = dict(zip(NOT_MUSIC, held_back_by(others).tolist(), strict=True))
        for name, kinds in head.held_back_by.items():
            back[self.instruments.index(name)] = max((by_kind[kind] for kind in kinds), default=0.0)
        return back

    def tag(
        self,
        samples: ArrayLike,
        sample_rate: float,
        only: Iterable[str] | None = None,
        exclude: Iterable[str] | None = None,
    ) -> Tags:
        """What sounds anywhere in some audio, of any length, and when: see `Tags`.

        Args:
            samples: [n] or [n, channels], floats of ±1 or integers of full scale, in a list or int64 also those of
                fewer bits; values that are not finite, or masked, count as silence. Audio shorter than 2 s is padded
                with silence; longer than 10 s it is split into windows of 10 s every 5 s, the last one ending at the
                end, and their probabilities are averaged.
            sample_rate: Hz.
            only: the instruments to listen for; None: all.
            exclude: instruments to leave out: their probability is 0 and they are never active.

        Raises:
            ValueError: invalid samples or sample rate.
            UsageError: an unknown instrument, or none is left.
            ModelError: no network gives finite logits.
        """
        names = chosen(only, exclude, self.instruments)
        left_out = np.array([name not in names for name in self.instruments])
        one = _mono_32k(samples, sample_rate)
        outputs = [self.calibrated(log_mel(window)) for window in windows(DcBlocker()(one))]
        probabilities = _mean([sigmoid(self.ensemble(logits)) for logits in outputs])
        by_model = {
            name: _mean([sigmoid(logits[name]) for logits in outputs if name in logits])
            for name in self.models
            if any(name in logits for logits in outputs)
        }
        for each in (probabilities, *by_model.values()):
            each[left_out] = 0.0
        times, hops, segments = self._segments(one, left_out)
        if len(outputs) == 1:  # the window of the whole clip is more accurate than its parts
            certain = [name for name, on in zip(self.instruments, probabilities >= self.thresholds, strict=True) if on]
            segments = [each for each in segments if each.name in certain]
            for name in set(certain) - {each.name for each in segments}:
                p = float(probabilities[self.instruments.index(name)])
                segments.append(Segment(name, 0.0, len(one) / SAMPLE_RATE, p, p))
            segments.sort(key=lambda each: (each.onset, each.name))
        found = {each.name for each in segments}
        active = tuple(name for name in self.instruments if name in found)
        others = [sigmoid(logits[OTHERS]) for logits in outputs if OTHERS in logits]
        kind, also = kind_and_others(_mean(others) if others else None, self.instruments)
        return Tags(probabilities, by_model, active, tuple(segments), times, hops, kind, also if only is None else {})

    def _segments(
        self, one: FloatArray, left_out: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], FloatArray, list[Segment]]:
        """Mono audio at 32 kHz, float32 [n] -> the end of each hop, s, its probabilities, and the segments: those that
        `instrec-live tag` writes of a file."""
        parameters, step = Lookahead(), round(_HOP_SECONDS * SAMPLE_RATE)
        thresholds = sigmoid(logit(self.thresholds) + parameters.margin)
        decider = SegmentDecider(
            parameters, self.ensemble, self.models, thresholds, _HOP_SECONDS, _SHORT_SECONDS, left_out
        )
        mel = StreamingLogMel(WINDOW_SECONDS + _BATCH * _HOP_SECONDS)
        mel.reset(-round(MIN_SECONDS * SAMPLE_RATE))
        mel.push(np.zeros(round(MIN_SECONDS * SAMPLE_RATE), np.float32))
        blocker = DcBlocker()
        inference = self.follow(mel, step)
        whole = np.pad(one, (0, HOP - len(one))) if len(one) < HOP else one[: len(one) // HOP * HOP]
        blocks = [whole[at : at + step] for at in range(0, len(whole), step)]
        below = [level_db(block) < _GATE_DB for block in blocks]
        quiet = _quiet(below, [len(block) / SAMPLE_RATE for block in blocks])
        short, period = (round(each * SAMPLE_RATE) for each in (_SHORT_SECONDS, parameters.long_period))
        ends = np.cumsum([len(block) for block in blocks]).tolist()
        asked = [
            () if off else windows_ahead(end, end - len(block), short, period, silent or len(block) < step)
            for end, block, off, silent in zip(ends, blocks, quiet, [True, *quiet[:-1]], strict=True)
        ]
        decided: list[DecidedHop] = []
        for first in range(0, len(blocks), _BATCH):
            batch = range(first, min(first + _BATCH, len(blocks)))
            for n in batch:
                mel.push(blocker(blocks[n]))
            inference.prepare([window for n in batch for window in asked[n]])
            for n in batch:
                newest, *long = (inference.calibrated(*window) for window in asked[n]) if asked[n] else ({},)
                around = (asked[n][1].end, asked[n][1].length, long[0]) if long else None
                seconds = len(blocks[n]) / SAMPLE_RATE
                decided += decider.add(HopLogits(ends[n], seconds, quiet[n], below[n], newest, around))
        decided += decider.rest()
        times = np.array(ends) / SAMPLE_RATE
        hops = np.stack([hop.probabilities[""] for hop in decided])
        return (
            times,
            hops,
            segments_of(np.stack([hop.active for hop in decided]), hops, times.tolist(), self.instruments),
        )


def _quiet(below: Sequence[bool], seconds: Sequence[float]) -> list[bool]:
    """Whether the gate is closed after each hop: from the beginning, and after a second below it."""
    out, lasting = [], np.inf
    for each, length in zip(below, seconds, strict=True):
        lasting = lasting + length if each else 0.0
        out.append(lasting >= _QUIET_SECONDS - 1e-6)
    return out


def _hidden_bases(heads: Iterable[LearnedBundle], bundles: Sequence[Bundle]) -> list[Bundle]:
    """The networks that heads read and that are not among the bundles, each once."""
    there = {bundle.sha256 for bundle in bundles}
    hidden: dict[str, Bundle] = {}
    for head in heads:
        if any(base.sha256 not in there for base in head.bases):
            hidden |= {each.sha256: each for each in head.base_bundles() if each.sha256 not in there}
    return list(hidden.values())


def _mean(probabilities: Sequence[FloatArray]) -> FloatArray:
    return np.asarray(np.stack(probabilities).mean(axis=0), np.float32)


def _mono_32k(samples: ArrayLike, sample_rate: float) -> FloatArray:
    """Audio of any usual format -> float32 [n] at 32 kHz; ValueError for what is none."""
    array, masked = np.asarray(samples), np.ma.getmask(samples)
    if array.ndim not in (1, 2):
        raise ValueError(f"samples must be [n] or [n, channels], not of shape {array.shape}")
    if array.size == 0:
        raise ValueError("samples are empty")
    if array.ndim == 2 and array.shape[1] > _MAX_CHANNELS:
        raise ValueError(f"samples of shape {array.shape} have {array.shape[1]} channels: transpose them?")
    try:
        sample_rate = float(sample_rate)  # of any library's own kind
    except (TypeError, ValueError):
        raise ValueError(f"sample_rate must be a number, not {sample_rate!r}") from None
    if not _RATES[0] <= sample_rate <= _RATES[1]:
        raise ValueError(f"sample_rate must be {_RATES[0]} to {_RATES[1]} Hz, not {sample_rate:.10g}")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"samples must be floats or integers, not {array.dtype}")
    # Nobody records 64 bits: in a list or an int64 that stays within 32, integers are those of a narrower scale.
    wide = array.dtype.kind == "i" and array.dtype.itemsize == 8
    narrower = wide and array.min() >= -(2**31) and array.max() <= 2**31
    if array.dtype.kind in "iu" and not narrower:
        full_scale = 2.0 ** (8 * array.dtype.itemsize - 1)
        middle = full_scale if array.dtype.kind == "u" else 0.0
        array = (array - middle) / full_scale
    if masked is not np.ma.nomask:
        array = np.where(masked, np.nan, array)
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and counts as silence
        one = bounded(mono(array.astype(np.float32), sample_rate, lambda what: log.warning("the samples: %s", what)))
    if sample_rate != SAMPLE_RATE:
        one = soxr.resample(one, sample_rate, SAMPLE_RATE, quality="HQ")
    return np.asarray(one, np.float32)


def windows(samples: FloatArray) -> list[FloatArray]:
    """Mono audio at 32 kHz, float32 [n], in windows of 2 to 10 s: shorter audio is padded with silence; longer audio
    has a window every 5 s, the last one ending at its end."""
    shortest, longest, step = (int(s * SAMPLE_RATE) for s in (MIN_SECONDS, WINDOW_SECONDS, _STEP_SECONDS))
    if len(samples) <= longest:
        return [np.pad(samples, (0, max(0, shortest - len(samples))))]
    starts = [*range(0, len(samples) - longest, step), len(samples) - longest]
    return [samples[start : start + longest] for start in starts]
