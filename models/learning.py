"""Learns new instruments, and corrects known ones, from a few sounds: a linear head on the networks' embeddings.

Everything is counted in windows of 2 s, a second apart. The head is one ridge regression for all classes, against the
user's other classes and a background: windows of the sound that the bundled networks were trained on. Every figure and
threshold comes from cross-validation: a recording is never scored by a head trained on it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from instrec_live.models.arrays import BoolArray, FloatArray, IntArray
from instrec_live.models.audioset import NOT_MUSIC
from instrec_live.models.bundle import DEFAULT_MODELS, Bundle, bundled
from instrec_live.models.calibration import logit, sigmoid
from instrec_live.models.engines.base import CachingEngine
from instrec_live.models.engines.registry import open_engine
from instrec_live.models.ensemble import Ensemble
from instrec_live.models.errors import ModelError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.learned import MOST_CORRECTED, Base, bases_of
from instrec_live.models.logmel import PATCH, SAMPLE_RATE, log_mel
from instrec_live.models.tagger import Tagger, held_back_by

SECONDS = 2  # of a window
WINDOW = SECONDS * SAMPLE_RATE
FOLDS = 5
BACKGROUND = Path(__file__).with_name("background.npz")
_BATCH = 8  # windows
_RIDGE = 0.1  # of the mean variance of the inputs
_SHARE = 0.1  # of the background's weight, for each class
_MOST_ALARMS = 0.01  # of the background's windows may be taken for a class
_PRIOR = 0.25  # weight of a class against all others, where logits are calibrated
_LOWEST, _HIGHEST = 0.2, 0.9  # thresholds
_OWN_KIND = 0.1  # of a class's windows; a kind that leads in more of them does not hold it back


class Encoder:
    """The bundled networks, as far as they are needed to learn.

    Args:
        bases: whose embeddings are wanted.
        threads: CPU threads.
        ensemble: give the ensemble's logits too, which corrections need.

    Raises:
        ModelError: a bundle is damaged, or no longer the one of the bases.
    """

    def __init__(self, bases: Sequence[Base], threads: int = 1, ensemble: bool = False) -> None:
        self.bases = tuple(bases)
        self._engines: list[tuple[CachingEngine, int]] = []
        for base in bases:
            engine = open_engine(Bundle.load(bundled(base.name)), "onnx", threads)
            if not isinstance(engine, CachingEngine):
                raise ModelError(f"the network {base.name} gives no embeddings")
            self._engines.append((engine, base.numbers))
        self._tagger = Tagger.load(engine="onnx", threads=threads) if ensemble else None

    def __call__(self, windows: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Windows float32 [N, 64000] at 32 kHz -> embeddings float32 [N, numbers]; the ensemble's logits float32
        [N, 20], or [N, 0] if they are not wanted; by how many logits each kind of `NOT_MUSIC` holds instruments back,
        float32 [N, 3]."""
        mels = np.stack([log_mel(window) for window in windows])
        parts, others = [], []
        for engine, numbers in self._engines:
            batches = [self._embedded(engine, mels[at : at + _BATCH]) for at in range(0, len(mels), _BATCH)]
            logits, embeddings = map(np.concatenate, zip(*batches, strict=True))
            parts.append(embeddings[:, -numbers:])
            others += [logits[:, len(INSTRUMENTS) :]] if logits.shape[1] > len(INSTRUMENTS) else []
        features = np.concatenate(parts, axis=1)
        back = np.zeros((len(windows), len(NOT_MUSIC)), np.float32)
        back = held_back_by(np.mean(others, axis=0, dtype=np.float32)) if others else back
        if self._tagger is None:
            return features, np.empty((len(windows), 0), np.float32), back
        results = (self._tagger.calibrated(mel) for mel in mels)
        return features, np.stack([self._tagger.ensemble(calibrated) for calibrated in results]), back

    @staticmethod
    def _embedded(engine: CachingEngine, mels: FloatArray) -> tuple[FloatArray, FloatArray]:
        """log-mels [B, 128, 200] -> raw logits, and mean embeddings of their patches [B, width]."""
        count = mels.shape[2] // PATCH
        whole = np.ascontiguousarray(mels[:, :, -count * PATCH :])
        logits, embeddings = engine.run(whole, np.empty((0, engine.width), np.float32))
        return logits, np.asarray(embeddings.reshape(len(mels), count, -1).mean(axis=1), np.float32)


@dataclass(frozen=True, eq=False)
class Background:
    """What the networks make of the sound that they were trained on.

    Attributes:
        bases: the networks.
        features: float32 [N, numbers], as `Encoder` gives them.
        logits: float32 [N, 20], of the ensemble.
        labels: bool [N, 20], what sounds; all that sounds of the 20 is known.
        sources: of each window, where it comes from; windows of one source are in one fold.
    """

    bases: tuple[Base, ...]
    features: FloatArray
    logits: FloatArray
    labels: BoolArray
    sources: tuple[str, ...]

    @classmethod
    def load(cls, path: Path = BACKGROUND) -> "Background":
        """Read the file, without networks that are no longer those of this version.

        Raises:
            ModelError: none is left.
        """
        now = {base.name: base for base in bases_of([Bundle.load(bundled(name)) for name in DEFAULT_MODELS])}
        with np.load(path, allow_pickle=False) as content:
            bases, parts = [], []
            for name, sha256 in zip(content["networks"].tolist(), content["sha256s"].tolist(), strict=True):
                if name in now and now[name].sha256 == sha256:
                    bases.append(now[name])
                    parts.append(content[f"features_{name}"] * content[f"scale_{name}"])
            if not bases:
                raise ModelError(
                    f"{path.name} was made with other networks than this version's",
                    "make it again with benchmarks/make_background.py, which needs the training data",
                )
            return cls(
                bases=tuple(bases),
                features=np.concatenate(parts, axis=1).astype(np.float32),
                logits=content["logits"].astype(np.float32),
                labels=content["labels"].astype(bool),
                sources=tuple(content["source_names"][content["sources"]].tolist()),
            )

    def save(self, path: Path = BACKGROUND) -> None:
        """Write the file: embeddings in 8 bits."""
        names = sorted(set(self.sources))
        content: dict[str, Any] = {
            "networks": np.array([base.name for base in self.bases]),
            "sha256s": np.array([base.sha256 for base in self.bases]),
            "logits": self.logits.astype(np.float16),
            "labels": self.labels,
            "source_names": np.array(names),
            "sources": np.array([names.index(source) for source in self.sources], np.uint16),
        }
        at = 0
        for base in self.bases:
            part = self.features[:, at : at + base.numbers]
            scale = np.maximum(np.abs(part).max(axis=0), 1e-6) / 127
            content[f"scale_{base.name}"] = scale.astype(np.float32)
            content[f"features_{base.name}"] = np.rint(part / scale).astype(np.int8)
            at += base.numbers
        np.savez_compressed(path, **content)


@dataclass(frozen=True, eq=False)
class Examples:
    """Windows of a user's recordings.

    Attributes:
        features: float32 [N, numbers], logits: float32 [N, 20] or [N, 0], back: float32 [N, 3], as `Encoder` gives
            them.
        labels: bool [N, classes], what sounds.
        folds: int [N], 0…4: those of a recording are the same.
        mixed: bool [N], other sound was added.
    """

    features: FloatArray
    logits: FloatArray
    back: FloatArray
    labels: BoolArray
    folds: IntArray
    mixed: BoolArray

    @classmethod
    def joined(cls, parts: Iterable["Examples"]) -> "Examples":
        parts = list(parts)
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


@dataclass(frozen=True, eq=False)
class Head:
    """What was learned; its first attributes as `LearnedBundle` has them.

    Attributes:
        evaluation: by class: see `judged`.
    """

    classes: tuple[str, ...]
    weight: FloatArray
    bias: FloatArray
    thresholds: FloatArray
    held_back_by: Mapping[str, tuple[str, ...]]
    evaluation: Mapping[str, Mapping[str, Any]]


def learn(examples: Examples, classes: Sequence[str], background: Background) -> Head:
    """Fit a head for these classes, and judge it by cross-validation."""
    n_background = len(background.features)
    features = np.concatenate([background.features, examples.features])
    labels = np.concatenate([_background_labels(background, classes), examples.labels])
    names = {name: number for number, name in enumerate(sorted(set(background.sources)))}
    folds = np.concatenate([[names[source] % FOLDS for source in background.sources], examples.folds]).astype(np.int64)
    weights = np.ones(len(features))
    for column in examples.labels.T:
        if column.any():
            weights[n_background:][column] = _SHARE * n_background / np.count_nonzero(column)
    mean, spread = background.features.mean(axis=0), background.features.std(axis=0)
    spread = spread + 0.1 * background.features.std()
    inputs = np.c_[(features - mean) / spread, np.ones(len(features))].astype(np.float32)
    held_out, coefficients = ridge(inputs, labels, weights.astype(np.float32), folds)

    # A window's logit is scale * score + offset; of corrections, that is added to the ensemble's, as in `Tagger`.
    ensemble = np.concatenate([background.logits, examples.logits]) if examples.logits.shape[1] else None
    weight = np.empty((len(classes), features.shape[1]), np.float32)
    bias, thresholds = np.empty(len(classes), np.float32), np.empty(len(classes), np.float32)
    logits = np.empty_like(held_out)
    kinds = {name: _kinds(examples, column) for column, name in enumerate(classes) if name not in INSTRUMENTS}
    for column, name in enumerate(classes):
        before = np.zeros(len(features), np.float32)
        correction = name in INSTRUMENTS
        if correction:
            assert ensemble is not None, "corrections need the ensemble's logits"
            before = ensemble[:, INSTRUMENTS.index(name)]
        most = MOST_CORRECTED if correction else np.inf
        scale, offset = calibrated(held_out[:, column], labels[:, column], before, most)
        logits[:, column] = before + np.clip(scale * held_out[:, column] + offset, -most, most)
        raw = coefficients[:-1, column] / spread
        weight[column] = scale * raw
        bias[column] = scale * (coefficients[-1, column] - float(raw @ mean)) + offset
        thresholds[column] = (
            _ensemble_threshold(name) if correction else _threshold(logits[:, column], labels[:, column], n_background)
        )
        if not correction:  # as in `Tagger`; the background is music
            columns = [NOT_MUSIC.index(kind) for kind in kinds[name]]
            logits[n_background:, column] -= examples.back[:, columns].max(axis=1, initial=0.0)
    evaluation = {
        name: judged(column, classes, logits, labels, thresholds, examples.mixed, background, ensemble)
        for column, name in enumerate(classes)
    }
    return Head(tuple(classes), weight, bias, thresholds, kinds, evaluation)


def _kinds(examples: Examples, column: int) -> tuple[str, ...]:
    """The kinds of `NOT_MUSIC` that hold a class back: those that do not lead in its own sounds."""
    own = examples.back[examples.labels[:, column] & ~examples.mixed] > 0
    shares = own.sum(axis=0) / max(1, len(own))
    return tuple(kind for kind, share in zip(NOT_MUSIC, shares.tolist(), strict=True) if share <= _OWN_KIND)


def _background_labels(background: Background, classes: Sequence[str]) -> BoolArray:
    """bool [N, classes]: new classes sound nowhere in it."""
    columns = [
        background.labels[:, INSTRUMENTS.index(name)] if name in INSTRUMENTS else np.zeros(len(background.labels), bool)
        for name in classes
    ]
    return np.stack(columns, axis=1)


def ridge(inputs: FloatArray, labels: BoolArray, weights: FloatArray, folds: IntArray) -> tuple[FloatArray, FloatArray]:
    """Weighted ridge regression of labels bool [N, C] on inputs float32 [N, D].

    Returns:
        scores float32 [N, C], each by the regression that was fitted without its fold; coefficients float32 [D, C] of
        the regression on all.
    """
    present = np.unique(folds)
    targets = labels.astype(np.float32)
    grams, moments = [], []
    for fold in present:
        x, w = inputs[folds == fold], weights[folds == fold, None]
        grams.append((x * w).T @ x)
        moments.append((x * w).T @ targets[folds == fold])
    gram, moment = np.sum(grams, axis=0), np.sum(moments, axis=0)
    scores = np.empty(targets.shape, np.float32)
    for fold, own_gram, own_moment in zip(present, grams, moments, strict=True):
        scores[folds == fold] = inputs[folds == fold] @ _solved(gram - own_gram, moment - own_moment)
    return scores, _solved(gram, moment)


def _solved(gram: FloatArray, moment: FloatArray) -> FloatArray:
    size = len(gram)
    penalty = np.full(size, _RIDGE * np.trace(gram) / size, gram.dtype)
    return np.asarray(cho_solve(cho_factor(gram + np.diag(penalty), overwrite_a=True), moment), np.float32)


def calibrated(scores: FloatArray, labels: BoolArray, before: FloatArray, most: float = np.inf) -> tuple[float, float]:
    """(scale > 0, offset) of the logistic regression before + scale * score + offset, of which at most `most` is added
    or taken away; classes weighed 1 to 4."""
    positive = int(np.count_nonzero(labels))
    weights = np.where(labels, _PRIOR / max(1, positive), 1.0 / max(1, len(labels) - positive))

    def loss(p: NDArray[np.float64]) -> float:
        z = before + np.clip(np.exp(p[0]) * scores + p[1], -most, most)
        return float((weights * np.logaddexp(0, np.where(labels, -z, z))).sum() + 1e-3 * p[0] ** 2)

    found = minimize(loss, np.array([1.0, -1.0]), method="Nelder-Mead", options={"maxiter": 400})
    return float(np.exp(found.x[0])), float(found.x[1])


def _threshold(logits: FloatArray, labels: BoolArray, n_background: int) -> float:
    """The probability with the best F1, but not so low that more than 1 % of the background is above it."""
    order = np.argsort(-logits, kind="stable")
    hits = np.cumsum(labels[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + np.count_nonzero(labels))
    best = float(logits[order[int(np.argmax(f1))]])
    absent = logits[:n_background][~labels[:n_background]]
    lowest = float(np.quantile(absent, 1 - _MOST_ALARMS)) if len(absent) else best
    return float(np.clip(sigmoid(max(best, lowest)), _LOWEST, _HIGHEST))


def _ensemble_threshold(name: str) -> float:
    """That of the bundled networks, which also holds where they are corrected."""
    ensemble = Ensemble.of([Bundle.load(bundled(each)) for each in DEFAULT_MODELS])
    return float(ensemble.thresholds[INSTRUMENTS.index(name)])


def average_precision(labels: BoolArray, scores: FloatArray) -> float:
    """Mean precision at the positives, ranked by score; equal scores in the worst order. NaN without positives."""
    if not labels.any():
        return float("nan")
    order = np.lexsort((labels, -scores))
    ranked = labels[order]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float(precision[ranked].mean())


def judged(
    column: int,
    classes: Sequence[str],
    logits: FloatArray,
    labels: BoolArray,
    thresholds: FloatArray,
    mixed: BoolArray,
    background: Background,
    ensemble: FloatArray | None,
) -> dict[str, Any]:
    """What cross-validation says of a class, as shares of windows.

    Returns:
        ap: average precision among the user's other classes and the background; ap_mixed: with other sound added;
        ap_before: of a correction, the networks' own. found, found_mixed: at or above the threshold. false_alarms: of
        the background. alarms_on: by instrument, of its background, the worst three of more than 1 %. taken_for: by
        other learned class, of the windows, where that is likelier, more than 5 %.
    """
    name, count = classes[column], len(background.features)
    own, sounds = logits[:, column], labels[:, column]
    above = own >= float(logit(thresholds[column]))
    alone = np.concatenate([np.ones(count, bool), ~mixed])  # background and dry windows
    over = np.concatenate([np.ones(count, bool), mixed])
    mine = np.concatenate([np.zeros(count, bool), np.ones(len(mixed), bool)]) & sounds
    dry, wet = mine & alone, mine & over
    absent = ~sounds[:count]
    result: dict[str, Any] = {
        "windows": int(np.count_nonzero(dry)),
        "ap": average_precision(sounds[alone], own[alone]),
        "ap_mixed": average_precision(sounds[over], own[over]) if wet.any() else None,
        "found": float(above[dry].mean()),
        "found_mixed": float(above[wet].mean()) if wet.any() else None,
        "false_alarms": float(above[:count][absent].mean()),
        "alarms_on": {},
        "taken_for": {},
    }
    if name in INSTRUMENTS and ensemble is not None:
        before = ensemble[:, INSTRUMENTS.index(name)]
        result["ap_before"] = average_precision(sounds[alone], before[alone])
    alarms = {}
    for number, instrument in enumerate(INSTRUMENTS):
        there = background.labels[:, number] & absent
        if there.any() and (share := float(above[:count][there].mean())) > _MOST_ALARMS:
            alarms[instrument] = share
    result["alarms_on"] = dict(sorted(alarms.items(), key=lambda item: -item[1])[:3])
    for other, other_name in enumerate(classes):
        if other != column and dry.any():
            likelier = (logits[:, other] > own) & ~labels[:, other]
            if (share := float(likelier[dry].mean())) > 0.05:
                result["taken_for"][other_name] = share
    return {key: _rounded(value) for key, value in result.items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return round(value, 4) if isinstance(value, float) else value
