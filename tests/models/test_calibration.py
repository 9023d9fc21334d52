"""Sigmoid, logit and Platt scaling stay finite and invert each other; context has the documented effect."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrec_live.models.calibration import Context, Platt, logit, sigmoid


@given(st.floats(width=32, allow_nan=False))
def test_sigmoid_is_a_probability(z):
    with np.errstate(all="raise", under="ignore"):
        assert 0.0 <= float(sigmoid(z)) <= 1.0


@given(st.floats(-12, 12))
def test_logit_inverts_sigmoid(z):
    assert float(logit(sigmoid(z))) == pytest.approx(z, abs=0.02)


def test_logit_is_finite_at_the_ends():
    assert np.isfinite(logit([0.0, 1.0])).all()
    assert logit(0.5) == pytest.approx(0.0)


def test_platt_scales_and_shifts():
    platt = Platt(np.full(20, 2.0), np.full(20, -1.0))
    np.testing.assert_allclose(platt(np.ones((3, 20))), np.ones((3, 20)))
    np.testing.assert_array_equal(Platt.identity()(np.arange(20)), np.arange(20))


@pytest.mark.parametrize(
    ("scale", "bias", "words"),
    [
        (np.ones(19), np.zeros(20), "20 numbers"),
        (np.ones(20), np.full(20, np.nan), "not finite"),
        (np.full(20, np.inf), np.zeros(20), "not finite"),
        (np.zeros(20), np.zeros(20), "positive"),
    ],
)
def test_platt_refuses_nonsense(scale, bias, words):
    with pytest.raises(ValueError, match=words):
        Platt(scale, bias)


def test_without_a_context_logits_stay_as_they_are():
    logits = np.random.default_rng(0).normal(0, 3, (4, 20)).astype(np.float32)
    np.testing.assert_array_equal(Context()(logits), logits)
    np.testing.assert_array_equal(Platt.identity()(logits), logits)
    weights = np.array([1, 0, 0, 0], np.float32)
    np.testing.assert_array_equal(Context.features(logits) @ weights, logits)


def test_a_context_is_of_the_highest_the_sum_and_the_fourth():
    logits = np.full(20, -9.0, np.float32)
    logits[[2, 5, 7, 11]] = 3.0, 2.0, 1.0, 0.0
    features = Context.features(logits)
    np.testing.assert_array_equal(features[:, 0], logits)
    assert features[2, 1] == 2.0  # of the highest, the second highest is the highest other
    assert (np.delete(features[:, 1], 2) == 3.0).all()
    np.testing.assert_allclose(features[:, 2], sigmoid(logits).sum() - sigmoid(logits), rtol=1e-5)
    assert (features[:, 3] == 0.0).all()
    got = Context(0.5, -0.2, 0.1, 0.3, 1.0)(logits)
    np.testing.assert_allclose(got, features @ np.array([0.5, -0.2, 0.1, 0.3], np.float32) + 1, rtol=1e-5)


def test_platt_is_written_and_read_with_its_context_or_without():
    platt = Platt(np.full(20, 2.0), np.full(20, -1.0), Context(0.5, -0.2, 0.1, 0.3, 1.0))
    read = Platt.from_json(json.loads(json.dumps(platt.as_json())))
    assert read.context == platt.context
    logits = np.random.default_rng(0).normal(0, 3, (4, 20)).astype(np.float32)
    np.testing.assert_array_equal(read(logits), platt(logits))
    assert Platt.from_json({"scale": [1.0] * 20, "bias": [0.0] * 20}).context == Context()


@pytest.mark.parametrize("context", [Context(own=0.0), Context(own=-1.0), Context(bias=np.nan), Context(fourth=np.inf)])
def test_a_context_that_is_nonsense_is_refused(context):
    with pytest.raises(ValueError, match="context"):
        Platt(np.ones(20), np.zeros(20), context)


@pytest.mark.parametrize("context", [{"colour": 1.0}, {"own": "x"}, {"own": None}, [1.0]])
def test_a_context_that_is_none_cannot_be_read(context):
    with pytest.raises((TypeError, ValueError)):
        Platt.from_json({"scale": [1.0] * 20, "bias": [0.0] * 20, "context": context})


def test_platt_cannot_be_altered():
    with pytest.raises(ValueError, match="read-only"):
        Platt.identity().scale[0] = 2.0
