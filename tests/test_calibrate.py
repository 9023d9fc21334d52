"""From few clips: calibration and thresholds that follow the many where an instrument has few."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="training needs the [train] extra")

from instrec_live.training.learning.calibrate import choose_thresholds, fit_platt, folds, weighed


def test_platt_finds_the_scale_it_was_given() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 20)).astype(np.float32)
    truth = (rng.random(logits.shape) < 1 / (1 + np.exp(-(0.7 * logits - 1)))).astype(np.float32)
    fitted = fit_platt(logits, truth, np.ones_like(truth))
    np.testing.assert_allclose(fitted.scale, 0.7, atol=0.1)
    np.testing.assert_allclose(fitted.bias, -1, atol=0.2)


def test_thresholds_of_rare_instruments_follow_the_others() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((500, 20)) < 0.3).astype(np.float32)
    p = np.clip(0.35 + 0.3 * truth + rng.normal(0, 0.05, truth.shape), 0.01, 0.99).astype(np.float32)
    mask = np.ones_like(truth)
    mask[:, 4] = 0
    thresholds = choose_thresholds(p, truth, mask)
    assert ((thresholds > 0.4) & (thresholds < 0.6)).all()


def test_folds_keep_recordings_whole() -> None:
    recording = np.array([f"r{i // 3}" for i in range(60)])
    fold = folds(recording)
    assert set(fold) == set(range(5))
    assert all(len(set(fold[recording == name])) == 1 for name in recording)


def test_many_clips_of_one_recording_do_not_decide_for_all() -> None:
    """Sixty clips of one recording, all of them as loud as lies, against forty of forty."""
    rng = np.random.default_rng(0)
    recording = np.array(["one"] * 60 + [f"r{i}" for i in range(40)])
    logits = rng.normal(0, 2, (100, 20)).astype(np.float32)
    truth = (logits > 0).astype(np.float32)
    truth[:60] = 1 - truth[:60]
    mask = np.ones_like(truth)
    known = weighed(mask, recording)
    assert known[0, 0] == pytest.approx(60**-0.5)
    assert (known[60:] == 1).all()
    assert fit_platt(logits, truth, mask).scale.mean() < 0.1 < 0.5 < fit_platt(logits, truth, known).scale.mean()
