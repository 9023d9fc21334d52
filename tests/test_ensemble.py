"""Weights are renormalised over the models that speak; one model alone speaks for itself."""

import json

import numpy as np
import pytest
from tiny_bundle import write_tiny

from instrec_live.models.bundle import BUNDLES
from instrec_live.models.calibration import Platt
from instrec_live.models.ensemble import Ensemble
from instrec_live.models.errors import ModelError

A, B = np.full(20, 1.0, np.float32), np.full(20, -2.0, np.float32)


def content(**changes):
    return {
        "weights": {"a": 3.0, "b": 1.0, "c": 0.0},
        "calibration": {"scale": [2.0] * 20, "bias": [0.5] * 20},
        "thresholds": [0.3] * 20,
        "provenance": {},
    } | changes


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "ensemble.json"
    path.write_text(json.dumps(content()))
    return path


@pytest.fixture
def bundles(tmp_path):
    return {
        name: write_tiny(tmp_path / name, name, threshold=threshold)
        for name, threshold in zip("abcd", (0.4, 0.5, 0.6, 0.7), strict=True)
    }


def of(bundles, names, file):
    return Ensemble.of([bundles[name] for name in names], file)


def test_weighted_mean_then_calibration(bundles, file):
    ensemble = of(bundles, "abc", file)
    np.testing.assert_allclose(ensemble({"a": A, "b": B, "c": A}), 2.0 * (0.75 - 0.5) + 0.5, rtol=1e-6)
    np.testing.assert_allclose(ensemble.thresholds, 0.3)


def test_a_silent_model_leaves_its_weight_to_the_others(bundles, file):
    ensemble = of(bundles, "abc", file)
    np.testing.assert_allclose(ensemble({"b": B}), 2.0 * -2.0 + 0.5)
    np.testing.assert_allclose(ensemble({"c": B}), 2.0 * -2.0 + 0.5)  # has no weight, but is all there is


def test_a_subset_is_renormalised(bundles, file):
    np.testing.assert_allclose(of(bundles, "ac", file)({"a": A, "c": B}), 2.5)


def test_one_model_speaks_for_itself(bundles, file):
    ensemble = of(bundles, "a", file)
    np.testing.assert_array_equal(ensemble({"a": A}), A)
    np.testing.assert_allclose(ensemble.thresholds, 0.4)


def test_unknown_models_or_no_file_mean_equal_weights(bundles, file, tmp_path):
    for ensemble in (of(bundles, "ad", file), of(bundles, "ad", tmp_path / "none.json")):
        np.testing.assert_allclose(ensemble({"a": A, "d": B}), -0.5)
        np.testing.assert_allclose(ensemble.thresholds, 0.55, rtol=1e-6)
    assert of(bundles, "cd", file).weights == {"c": 1.0, "d": 1.0}


def test_nobody_speaks(bundles, file):
    with pytest.raises(ModelError, match="no network gave finite numbers"):
        of(bundles, "ab", file)({})


@pytest.mark.parametrize(
    "bad",
    [
        content(weights={"a": float("nan"), "b": 1}),
        content(weights={"a": -1, "b": 1}),
        content(weights=[1, 2]),
        content(calibration={"scale": [1] * 20}),
        content(calibration={"scale": [1] * 20, "bias": [None] * 20}),
        content(thresholds=[0.5] * 3),
        [],
        None,
    ],
)
def test_malformed(tmp_path, bad):
    path = tmp_path / "ensemble.json"
    path.write_text(json.dumps(bad))
    with pytest.raises(ModelError, match="not a sound ensemble file"):
        Ensemble.load(path)


def test_the_one_that_ships_knows_the_default_models():
    path = BUNDLES / "ensemble.json"
    if not path.is_file():
        pytest.skip("no ensemble.json is bundled in this checkout")
    ensemble = Ensemble.load(path)
    assert isinstance(ensemble.calibration, Platt)
    assert {"passt", "cbam_cnn", "ms_crnn"} <= set(ensemble.weights)
