"""Three opinions, one answer: weighted mean of calibrated logits, calibrated once more."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.bundle import BUNDLES, Bundle, checked_thresholds
from instrec_live.models.calibration import Platt
from instrec_live.models.errors import ModelError

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """How the models' calibrated logits become one.

    Attributes:
        weights: of each model, not negative; renormalised over the models that speak.
        calibration: of the mean.
        thresholds: float32 [20], probabilities.
    """

    weights: Mapping[str, float]
    calibration: Platt
    thresholds: FloatArray

    @classmethod
    def of(cls, bundles: Sequence[Bundle], path: Path = BUNDLES / "ensemble.json") -> "Ensemble":
        """The ensemble of some models: of one, that model itself; of several, as ensemble.json says.

        Where that file is absent or does not know all of them: equal weights, no further calibration, mean
        thresholds.

        Raises:
            ModelError: a malformed file.
        """
        names = [bundle.name for bundle in bundles]
        if len(bundles) > 1 and path.is_file():
            known = cls.load(path)
            if set(names) <= set(known.weights) and any(known.weights[name] for name in names):
                return cls({name: known.weights[name] for name in names}, known.calibration, known.thresholds)
        thresholds = np.stack([bundle.thresholds for bundle in bundles]).mean(axis=0)
        return cls(dict.fromkeys(names, 1.0), Platt.identity(), thresholds.astype(np.float32))

    @classmethod
    def load(cls, path: Path) -> "Ensemble":
        """Read {"weights": {model: w}, "calibration": {"scale", "bias"}, "thresholds", "provenance"}.

        Raises:
            ModelError: unreadable or malformed.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            weights = {str(name): float(weight) for name, weight in content["weights"].items()}
            if not all(0.0 <= weight < np.inf for weight in weights.values()):
                raise ValueError("weights must be finite and not negative")
            platt = Platt(content["calibration"]["scale"], content["calibration"]["bias"])
            return cls(weights, platt, checked_thresholds(content["thresholds"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            reason = f"{e} is missing" if isinstance(e, KeyError) else str(e)
            raise ModelError(f"{path}: not a sound ensemble file: {reason}", "reinstall instrec-live") from e

    def __call__(self, calibrated: Mapping[str, FloatArray]) -> FloatArray:
        """Calibrated logits float32 [20] of each model that speaks -> those of the ensemble, float32 [20].

        Raises:
            ModelError: no model speaks.
        """
        if not calibrated:
            raise ModelError("no network gave finite numbers", "run --doctor to check the models")
        weights = np.array([self.weights[name] for name in calibrated], np.float32)
        if not weights.any():  # only models of no weight are left
            weights = np.ones_like(weights)
        mean = (weights / weights.sum()) @ np.stack(list(calibrated.values()))
        return self.calibration(mean)
