"""From a window of sound to what each network, and their ensemble, make of it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

from instrec_live.models.bundle import DEFAULT_MODELS, Bundle, bundled
from instrec_live.models.calibration import Platt, sigmoid
from instrec_live.models.engines import Engine, open_engine
from instrec_live.models.engines.probe import choose
from instrec_live.models.ensemble import Ensemble
from instrec_live.models.errors import ModelError, UsageError
from instrec_live.models.follower import Follower, Listener, Window, prepare
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import MIN_SECONDS, SAMPLE_RATE, WINDOW_SECONDS, StreamingLogMel, bounded, log_mel
from instrec_live.models.public import CHECKPOINTS, TAGGERS, public_bundle

FloatArray = NDArray[np.float32]

_RATES = (1_000, 768_000)  # Hz
_MAX_CHANNELS = 256
_STEP_SECONDS = 5.0


@dataclass(frozen=True, eq=False)
class Tags:
    """What sounds in a piece of sound.

    Attributes:
        probabilities: float32 [20], calibrated ensemble, in the order of INSTRUMENTS.
        by_model: each network's own calibrated probabilities, float32 [20].
        active: names of the instruments at or over their thresholds, in tag order.
    """

    probabilities: FloatArray
    by_model: Mapping[str, FloatArray]
    active: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Member:
    engine: Engine
    patchwise: bool
    calibration: Platt
    thresholds: FloatArray
    sha256: str


class Tagger:
    """Networks with their calibrations, and their ensemble.

    Attributes:
        models: names, in the order given.
        sha256s: of each model's ONNX file.
        weights: of each model in the ensemble, not negative; they need not add up to 1.
        thresholds: float32 [20], of the ensemble, or of the one model.
        dropped: how many windows each model was left out of because its output was not finite.
    """

    def __init__(
        self,
        bundles: Sequence[Bundle],
        engine: str = "auto",
        threads: int = 1,
        weights: Sequence[float] | None = None,
    ) -> None:
        names = [bundle.name for bundle in bundles]
        if not names:
            raise UsageError("no models", "name at least one with --models")
        if len(set(names)) < len(names):
            raise ModelError(f"two of the models have the same name: {', '.join(names)}")
        self._ensemble = Ensemble.of(bundles, weights=weights)
        if engine == "auto":  # one for all, measured with all
            engine = choose(bundles, threads).engine
        self._members = {
            bundle.name: _Member(
                open_engine(bundle, engine, threads),
                bundle.width > 0,
                bundle.calibration,
                bundle.thresholds,
                bundle.sha256,
            )
            for bundle in bundles
        }
        self.models = tuple(names)
        self.sha256s = {name: member.sha256 for name, member in self._members.items()}
        self.weights = dict(self._ensemble.weights)
        self.thresholds = self._ensemble.thresholds
        self.dropped = dict.fromkeys(names, 0)

    @property
    def engine_name(self) -> str:
        """What runs them now: an engine that fails may be replaced, visibly."""
        return ", ".join(dict.fromkeys(member.engine.name for member in self._members.values()))

    @classmethod
    def load(
        cls,
        models: Sequence[str | os.PathLike[str]] = DEFAULT_MODELS,
        engine: str = "auto",
        threads: int = 1,
        weights: Sequence[float] | None = None,
    ) -> "Tagger":
        """Load models by bundled name, public name (fetched once) or bundle folder.

        Weights, one per model, overrule the ensemble's own.

        Raises:
            ModelError: a bundle is missing or damaged, cannot be fetched, or the engine refuses it.
            UsageError: no models, an unknown engine, or weights that make no sense.
        """
        return cls([Bundle.load(folder_of(model)) for model in models], engine, threads, weights)

    def thresholds_of(self, model: str) -> FloatArray:
        """float32 [20]: the probabilities from which one of the models alone calls an instrument active."""
        return self._members[model].thresholds

    def calibrated(self, log_mel: FloatArray) -> dict[str, FloatArray]:
        """log-mel float32 [128, T], T 200…1000 -> each network's calibrated logits, float32 [20].

        A network whose output is not finite is left out and counted in `dropped`.
        """
        return self._judged({name: member.engine.logits(log_mel[None])[0] for name, member in self._members.items()})

    def follow(self, mel: StreamingLogMel, hop: int) -> Follower:
        """The same of window after window of a growing sound, `hop` samples apart, with less work."""
        listeners = {name: Listener(member.engine, member.patchwise) for name, member in self._members.items()}
        return Follower(listeners, self._judged, mel, hop)

    @staticmethod
    def prepare(wanted: Sequence[tuple[Follower, Sequence[Window]]]) -> None:
        """Hear windows of many sounds in one batch; their followers, each given once, then have the answers ready.

        Raises:
            ModelError: a network failed; each follower may still try its own.
        """
        prepare(wanted)

    def _judged(self, logits: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Logits [20] by model -> calibrated, without those that are not finite."""
        out = {}
        for name, raw in logits.items():
            calibrated = self._members[name].calibration(raw)
            if np.isfinite(calibrated).all():
                out[name] = calibrated
            else:
                self.dropped[name] += 1
        return out

    def ensemble(self, calibrated: Mapping[str, FloatArray]) -> FloatArray:
        """Calibrated logits of some of the models -> the ensemble's, float32 [20].

        Raises:
            ModelError: of none of them.
        """
        return self._ensemble(calibrated)

    def tag(self, samples: ArrayLike, sample_rate: float) -> Tags:
        """What sounds in a piece of sound.

        Args:
            samples: [n] or [n, channels], floats of ±1 or integers of full scale; what is not finite counts
                as silence. Shorter than 2 s is padded with silence; longer than 10 s is heard in windows of
                10 s every 5 s, the last one ending at the end, and their probabilities are averaged.
            sample_rate: Hz.

        Raises:
            ValueError: samples or rate that make no sense.
            ModelError: no network gives finite numbers.
        """
        heard = [self.calibrated(log_mel(window)) for window in windows(_mono_32k(samples, sample_rate))]
        probabilities = _mean([sigmoid(self.ensemble(logits)) for logits in heard])
        by_model = {
            name: _mean([sigmoid(logits[name]) for logits in heard if name in logits])
            for name in self.models
            if any(name in logits for logits in heard)
        }
        active = tuple(name for name, on in zip(INSTRUMENTS, probabilities >= self.thresholds, strict=True) if on)
        return Tags(probabilities, by_model, active)


def _mean(probabilities: Sequence[FloatArray]) -> FloatArray:
    return np.asarray(np.stack(probabilities).mean(axis=0), np.float32)


def folder_of(model: str | os.PathLike[str]) -> Path:
    """A bundled or public name wins over a folder of that name here; anything with a separator is a folder."""
    path = Path(model)
    if os.fspath(model) in CHECKPOINTS:
        return public_bundle(os.fspath(model))
    try:
        return bundled(os.fspath(model))
    except ModelError as error:
        if os.path.isdir(path):
            return path
        if path.name != os.fspath(model):
            raise ModelError(f"{path}: no such model folder", "give a bundled name or a bundle folder") from None
        raise ModelError(error.message, f"{error.hint}; {', '.join(TAGGERS)} can be fetched") from None


def _mono_32k(samples: ArrayLike, sample_rate: float) -> FloatArray:
    """Any sensible sound -> float32 [n] at 32 kHz."""
    array = np.asarray(samples)
    if array.ndim not in (1, 2):
        raise ValueError(f"samples must be [n] or [n, channels], not of shape {array.shape}")
    if array.size == 0:
        raise ValueError("samples are empty")
    if array.ndim == 2 and array.shape[1] > _MAX_CHANNELS:
        raise ValueError(f"samples of shape {array.shape} have {array.shape[1]} channels: transpose them?")
    if not _RATES[0] <= sample_rate <= _RATES[1]:
        raise ValueError(f"sample_rate must be {_RATES[0]} to {_RATES[1]} Hz, not {sample_rate}")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"samples must be floats or integers, not {array.dtype}")
    if array.dtype.kind in "iu":
        full_scale = 2.0 ** (8 * array.dtype.itemsize - 1)
        middle = full_scale if array.dtype.kind == "u" else 0.0
        array = (array - middle) / full_scale
    floats = bounded(np.where(np.isfinite(array), array, 0.0))
    mono = floats if floats.ndim == 1 else floats.mean(axis=1, dtype=np.float32)
    if sample_rate != SAMPLE_RATE:
        mono = soxr.resample(mono, sample_rate, SAMPLE_RATE, quality="HQ")
    return np.asarray(mono, np.float32)


def windows(samples: FloatArray) -> list[FloatArray]:
    """Mono at 32 kHz, float32 [n], in windows of 2 to 10 s that cover it: silence after shorter sound, a window every
    5 s of longer sound, the last ending at its end."""
    shortest, longest, step = (int(s * SAMPLE_RATE) for s in (MIN_SECONDS, WINDOW_SECONDS, _STEP_SECONDS))
    if len(samples) <= longest:
        return [np.pad(samples, (0, max(0, shortest - len(samples))))]
    starts = [*range(0, len(samples) - longest, step), len(samples) - longest]
    return [samples[start : start + longest] for start in starts]
