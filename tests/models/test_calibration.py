"""Sigmoid, logit and Platt scaling stay finite and invert each other."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrec_live.models.calibration import Platt, logit, sigmoid


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


def test_platt_is_written_and_read():
    platt = Platt(np.full(20, 2.0), np.full(20, -1.0))
    read = Platt.from_json(json.loads(json.dumps(platt.as_json())))
    logits = np.random.default_rng(0).normal(0, 3, (4, 20)).astype(np.float32)
    np.testing.assert_array_equal(read(logits), platt(logits))


def test_a_calibration_of_an_earlier_version_is_refused():
    context = {"own": 1.1, "highest_other": -0.1}
    with pytest.raises(ValueError, match="of an earlier version"):
        Platt.from_json({"scale": [1.0] * 20, "bias": [0.0] * 20, "context": context})


def test_platt_cannot_be_altered():
    with pytest.raises(ValueError, match="read-only"):
        Platt.identity().scale[0] = 2.0
