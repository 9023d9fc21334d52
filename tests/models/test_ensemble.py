"""Weights are renormalised over the models that speak; one model alone speaks for itself."""

import json

import numpy as np
import pytest
from tiny_bundle import write_tiny

from instrec_live.models.bundle import BUNDLES
from instrec_live.models.calibration import Platt
from instrec_live.models.ensemble import Ensemble
from instrec_live.models.errors import ModelError, UsageError

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


def test_given_weights_override_only_those_of_the_file(bundles, file):
    abc = [bundles[name] for name in "abc"]
    ensemble = Ensemble.of(abc, file, [0.0, 2.0, 6.0])
    assert ensemble.weights == {"a": 0.0, "b": 2.0, "c": 6.0}
    np.testing.assert_allclose(ensemble({"a": A, "b": B, "c": A}), 2.0 * 0.25 + 0.5)
    np.testing.assert_array_equal(ensemble.thresholds, of(bundles, "abc", file).thresholds)
    # a model without weight in the file may be given one
    np.testing.assert_allclose(Ensemble.of(abc[1:], file, [0, 1])({"b": B, "c": A}), 2.5)


def test_weights_of_models_that_the_file_does_not_know(bundles, file):
    ensemble = Ensemble.of([bundles["a"], bundles["d"]], file, [1, 3])
    np.testing.assert_allclose(ensemble({"a": A, "d": B}), -1.25)
    np.testing.assert_allclose(ensemble.thresholds, 0.55, rtol=1e-6)
    np.testing.assert_array_equal(Ensemble.of([bundles["a"]], file, [7])({"a": B}), B)


@pytest.mark.parametrize("weights", [[3e-320, 1e-320], [1.5e308, 0.5e308]])
def test_weights_of_any_size_count_by_their_share(bundles, tmp_path, weights):
    ensemble = Ensemble.of([bundles["a"], bundles["b"]], tmp_path / "none.json", weights)
    np.testing.assert_allclose(ensemble({"a": A, "b": B}), 0.25, rtol=1e-3)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([1], "1 weight for 2 models"),
        ([1, 2, 3], "3 weights for 2 models"),
        ([1, -0.5], "not -0.5"),
        ([np.nan, 1], "not nan"),
        ([1, np.inf], "not inf"),
        ([0, 0], "all weights are 0"),
    ],
)
def test_weights_that_make_no_sense(bundles, file, weights, words):
    with pytest.raises(UsageError, match=words):
        Ensemble.of([bundles["a"], bundles["b"]], file, weights)


def test_no_finite_network_is_an_error(bundles, file):
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
        content(weights={"a": 10**400, "b": 1}),
        content(thresholds=[10**400] * 20),
        [],
        None,
        pytest.param("[" * 100_000, id="nested"),
    ],
)
def test_malformed(tmp_path, bad):
    path = tmp_path / "ensemble.json"
    path.write_text(bad if isinstance(bad, str) else json.dumps(bad))
    with pytest.raises(ModelError, match="not a valid ensemble file"):
        Ensemble.load(path)


def test_the_one_that_ships_knows_the_default_models():
    path = BUNDLES / "ensemble.json"
    ensemble = Ensemble.load(path)
    assert isinstance(ensemble.calibration, Platt)
    assert {"passt", "cbam_cnn", "ms_crnn"} <= set(ensemble.weights)
