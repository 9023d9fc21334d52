"""From few clips: calibration and thresholds that follow the many where an instrument has few."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="training needs the [train] extra")

from instrec_live.training.learning.calibrate import (
    balanced,
    choose_thresholds,
    fit_common,
    fit_platt,
    fit_weights,
    folds,
    recording_weights,
    splits,
)


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


def test_of_equally_good_thresholds_the_middle_is_taken() -> None:
    truth = np.tile(np.array([[0.0], [1.0]], np.float32), (200, 20))
    p = np.where(truth > 0, 0.8, 0.3).astype(np.float32)
    middle = 1 / (1 + np.exp(-0.5 * (np.log(0.305 / 0.695) + np.log(0.8 / 0.2))))
    np.testing.assert_allclose(choose_thresholds(p, truth, np.ones_like(truth)), middle, atol=0.003)


def test_folds_keep_recordings_whole() -> None:
    recording = np.array([f"r{i // 3}" for i in range(60)])
    inside = np.stack(folds(recording))
    assert inside.shape == (20, 60)
    assert (inside.sum(0) == 1).all()
    assert inside.any(1).all()
    assert all(len(set(inside[:, recording == name].argmax(0))) == 1 for name in recording)


def test_a_mixture_is_in_the_fold_of_each_of_its_voices() -> None:
    names = [f"r{i}" for i in range(20)]
    mixtures = [f"{one} + {other}" for one, other in zip(names, names[7:], strict=False)]
    recording = np.array(names + mixtures)
    for inside in folds(recording):
        held_out = {name for name, is_in in zip(names, inside, strict=False) if is_in}
        for mixture, is_in in zip(mixtures, inside[len(names) :], strict=True):
            assert is_in == bool(held_out & set(mixture.split(" + ")))


def test_nothing_is_measured_by_what_was_fitted_on_a_recording_in_it() -> None:
    names = [f"r{i}" for i in range(24)]
    recording = np.array([*names, "r0 + r1", "r1 + r2 + r3 + r4", "r5 + r6"])
    measured = np.zeros(len(recording), int)
    for inside, apart in splits(recording):
        measured += inside
        for one in recording[inside]:
            for other in recording[apart]:
                assert not set(one.split(" + ")) & set(other.split(" + "))
    assert (measured == 1).all()
    assert list(splits(np.array(["a", "a", "a + b"]))) == []


def test_a_common_scale_and_bias_are_found() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(-1.5, 2, (6000, 20)).astype(np.float32)
    truth = (rng.random(logits.shape) < 1 / (1 + np.exp(0.5 - 0.8 * logits))).astype(np.float32)
    mask = np.ones_like(truth)
    mask[::3, :7] = 0
    truth[mask == 0] = 1 - truth[mask == 0]  # of which nobody knows
    found = fit_common(logits, truth, mask)
    np.testing.assert_allclose(found.scale, np.full(20, 0.8), atol=0.03)
    np.testing.assert_allclose(found.bias, np.full(20, -0.5), atol=0.03)


def test_networks_that_rank_better_weigh_more() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((600, 20)) < 0.3).astype(np.float32)
    logits = [(4 * (truth - 0.5) + noise * rng.standard_normal(truth.shape)).astype(np.float32) for noise in (2, 4, 9)]
    good, fair, poor = fit_weights(logits, truth, np.ones_like(truth))
    assert good > fair > poor > 0
    assert good + fair + poor == pytest.approx(1)
    assert poor < 0.2


def test_sets_weigh_alike() -> None:
    mask = np.ones((90, 20), np.float32)
    mask[:, 10:] = 0
    which = np.repeat([0, 1, 2], [60, 20, 10])
    weights = balanced(mask, which)
    assert [weights[which == k].sum() for k in range(3)] == pytest.approx([mask.sum() / 3] * 3)
    assert (weights[:, 10:] == 0).all()
    assert (mask[:, :10] == 1).all()


def test_many_clips_of_one_recording_do_not_decide_for_all() -> None:
    """Sixty clips of one recording, all of them as loud as lies, against forty of forty."""
    rng = np.random.default_rng(0)
    recording = np.array(["one"] * 60 + [f"r{i}" for i in range(40)])
    logits = rng.normal(0, 2, (100, 20)).astype(np.float32)
    truth = (logits > 0).astype(np.float32)
    truth[:60] = 1 - truth[:60]
    mask = np.ones_like(truth)
    known = recording_weights(mask, recording)
    assert known[0, 0] == pytest.approx(60**-0.5)
    assert (known[60:] == 1).all()
    assert fit_platt(logits, truth, mask).scale.mean() < 0.1 < 0.5 < fit_platt(logits, truth, known).scale.mean()
