"""The ensemble: a weighted mean of the networks' calibrated logits, calibrated once more."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instrec_live.models.arrays import FloatArray
from instrec_live.models.bundle import MALFORMED, Bundle, check_sum, checked_thresholds, malformed
from instrec_live.models.calibration import Platt
from instrec_live.models.errors import ModelError, UsageError
from instrec_live.models.files import read_regular


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Combines the calibrated logits of several models.

    Attributes:
        weights: of each model, not negative; renormalised over the models that gave logits.
        calibration: of the mean.
        thresholds: float32 [20], probabilities.
    """

    weights: Mapping[str, float]
    calibration: Platt
    thresholds: FloatArray

    @classmethod
    def of(
        cls,
        bundles: Sequence[Bundle],
        path: Path | None = None,
        weights: Sequence[float] | None = None,
    ) -> "Ensemble":
        """The ensemble of some models: for one, that model itself; for several, that of the ensemble.json next to them.

        If there is none, or it lacks one of the models, or the models are in different folders: equal weights, no
        further calibration, mean thresholds. `weights`, one per bundle, override only the weights. `path` is another
        ensemble.json.

        Raises:
            ModelError: a malformed file.
            UsageError: invalid weights.
        """
        names = [bundle.name for bundle in bundles]
        wanted = None if weights is None else dict(zip(names, checked_weights(weights, len(names)), strict=True))
        folders = {bundle.path.resolve().parent for bundle in bundles}
        path = path or (folders.pop() / "ensemble.json" if len(folders) == 1 else None)
        if len(bundles) > 1 and path is not None and path.is_file():
            known = cls.load(path)
            if set(names) <= set(known.weights):
                own = wanted or {name: known.weights[name] for name in names}
                if any(own.values()):
                    return cls(own, known.calibration, known.thresholds)
        thresholds = np.stack([bundle.thresholds for bundle in bundles]).mean(axis=0)
        return cls(wanted or dict.fromkeys(names, 1.0), Platt.identity(), thresholds.astype(np.float32))

    @classmethod
    def load(cls, path: Path) -> "Ensemble":
        """Read {"weights": {model: w}, "calibration": {"scale", "bias"}, "thresholds", "provenance"}.

        Raises:
            ModelError: unreadable or malformed.
        """
        try:
            content = json.loads(read_regular(path))
            weights = {str(name): float(weight) for name, weight in content["weights"].items()}
            if not all(0.0 <= weight < np.inf for weight in weights.values()):
                raise ValueError("weights must be finite and not negative")
            platt = Platt.from_json(content["calibration"])
            ensemble = cls(weights, platt, checked_thresholds(content["thresholds"]))
            check_sum(content, path)
            return ensemble
        except MALFORMED as e:
            hint = "reinstall instrec-live, or make it again with python -m instrec_live.training.ensemble"
            raise ModelError(f"{path}: not a valid ensemble file: {malformed(e)}", hint) from e

    def __call__(self, calibrated: Mapping[str, FloatArray]) -> FloatArray:
        """Calibrated logits float32 [20] of each model that gave some -> those of the ensemble, float32 [20].

        Raises:
            ModelError: no model gave any.
        """
        if not calibrated:
            raise ModelError("no network gave finite numbers", "run --doctor to check the models")
        weights = np.array([self.weights[name] for name in calibrated], np.float64)
        if not weights.any():  # only models of weight 0 are left
            weights = np.ones_like(weights)
        shares = weights / weights.max()  # first, so that the sum of huge weights is finite too
        mean = (shares / shares.sum()).astype(np.float32) @ np.stack(list(calibrated.values()))
        return self.calibration(mean)


def checked_weights(weights: Sequence[float], models: int) -> tuple[float, ...]:
    """The weights, if there is one per model and they are finite, not negative and not all 0.

    Raises:
        UsageError: they are not.
    """
    if len(weights) != models:
        raise UsageError(
            f"{len(weights)} weight{'s' * (len(weights) != 1)} for {models} model{'s' * (models != 1)}",
            "give one for each model, in their order",
        )
    if bad := [weight for weight in weights if not 0.0 <= weight < np.inf]:
        raise UsageError(f"a weight must be a finite number of at least 0, not {bad[0]:g}")
    if not any(weights):
        raise UsageError("all weights are 0", "at least one must be greater")
    return tuple(map(float, weights))
