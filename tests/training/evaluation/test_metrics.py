"""Figures agree with independent implementations, ignore masked cells, and have intervals by recording."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="training needs the [train] extra")

from instrec_live.training.evaluation import metrics
from instrec_live.training.evaluation.scorecard import OVERALL, Known, compare, drawn, interval, macro, resamples, score

CLASSES = np.ones(20, bool)
OWN = np.linspace(0.2, 0.7, 20).astype(np.float32)


def clips(seed: int, count: int = 60, decimals: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, probabilities (many of them equal) and mask, [count, 20]."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((count, 20)) < 0.4).astype(np.float32)
    p = np.clip(np.round(rng.random((count, 20)) * 0.7 + 0.3 * truth, decimals), 0, 1).astype(np.float32)
    mask = (rng.random((count, 20)) < 0.6).astype(np.float32)
    mask[:3] = 1  # some clips of which everything is known, one instrument each
    truth[:3] = np.eye(20)[:3]
    return truth, p, mask


def known_of(truth: np.ndarray, mask: np.ndarray, weights: np.ndarray | None = None) -> Known:
    return Known(truth, mask, CLASSES, np.zeros((0, len(truth))) if weights is None else weights)


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray], exactly: bool = False) -> None:
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=0 if exactly else 1e-9, atol=0 if exactly else 1e-12,
                                   err_msg=name)  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_figures_of_each_instrument_are_those_of_scikit_learn(seed: int) -> None:
    truth, p, mask = clips(seed)
    for c in range(20):
        rows = mask[:, c] > 0
        y, s = truth[rows, c], p[rows, c]
        assert metrics.average_precision(truth, p, mask)[c] == pytest.approx(
            sklearn_metrics.average_precision_score(truth[:, c], p[:, c], sample_weight=mask[:, c])
        )
        assert metrics.roc_auc(truth, p, mask)[c] == pytest.approx(sklearn_metrics.roc_auc_score(y, s))
        found = metrics.counts(truth, p >= 0.5, mask)
        expected = sklearn_metrics.precision_recall_fscore_support(y, s >= 0.5, average="binary")
        for ours, theirs in zip((metrics.precision, metrics.recall, metrics.f1), expected, strict=False):
            assert ours(found)[c] == pytest.approx(theirs)
        both = sklearn_metrics.f1_score(y, s >= 0.5, average="macro")
        assert metrics.f1_both(found)[c] == pytest.approx(both)


@pytest.mark.parametrize("seed", range(3))
def test_figures_of_all_cells_are_those_of_scikit_learn(seed: int) -> None:
    truth, p, mask = clips(seed)
    y, s = truth[mask > 0], p[mask > 0]
    assert metrics.log_loss(truth, p, mask) == pytest.approx(sklearn_metrics.log_loss(y, s), rel=1e-6)
    assert metrics.brier(truth, p, mask) == pytest.approx(sklearn_metrics.brier_score_loss(y, s))
    assert metrics.micro_average_precision(truth, p, mask) == pytest.approx(
        sklearn_metrics.average_precision_score(y, s)
    )


def test_sure_probabilities_have_a_finite_loss() -> None:
    truth, mask = np.eye(20, dtype=np.float32), np.ones((20, 20), np.float32)
    for p in (truth, 1 - truth):
        expected = sklearn_metrics.log_loss(truth.ravel(), p.ravel())
        assert metrics.log_loss(truth, p, mask) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def calibration_error_as_defined(y: np.ndarray, p: np.ndarray) -> float:
    parts = np.array_split(np.argsort(p), 15)
    return float(sum(len(b) * abs(p[b].mean() - y[b].mean()) for b in parts if len(b)) / len(p))


@pytest.mark.parametrize("count", [1, 7, 60])
def test_calibration_error_is_as_defined(count: int) -> None:
    rng = np.random.default_rng(count)
    truth, mask = (rng.random((count, 20)) < 0.3).astype(np.float32), (rng.random((count, 20)) < 0.5).astype(np.float32)
    p = rng.permutation(count * 20).reshape(count, 20).astype(np.float32) / (count * 20)  # no two are equal
    expected = calibration_error_as_defined(truth[mask > 0], p[mask > 0].astype(np.float64))
    assert metrics.calibration_error(metrics.reliability(truth, p, mask)) == pytest.approx(expected)


def test_a_toy_case_by_hand() -> None:
    """Instrument 0: four clips, ranked +, -, +, and one that nobody labelled on top of them."""
    truth, mask, p = (np.zeros((4, 20), np.float32) for _ in range(3))
    truth[[0, 2], 0], mask[[0, 1, 2], 0] = 1, 1
    p[:, 0] = 0.8, 0.6, 0.3, 0.9
    assert metrics.average_precision(truth, p, mask, 1)[0] == pytest.approx((1 + 2 / 3) / 2)
    assert np.isnan(metrics.average_precision(truth, p, mask, 3)[0])
    assert metrics.roc_auc(truth, p, mask, 1)[0] == pytest.approx(0.5)
    found = metrics.counts(truth, p >= 0.5, mask)
    assert [x[0] for x in found] == [1, 1, 1, 0]
    assert [metrics.precision(found)[0], metrics.recall(found)[0], metrics.f1(found)[0]] == [0.5, 0.5, 0.5]
    assert metrics.measured(truth, mask, 2).tolist() == [True] + [False] * 19
    assert np.isnan(metrics.f1(found)[1:]).all()


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), lie=st.sampled_from(["flip", "nan", "noise"]))
def test_a_masked_cell_adds_exactly_nothing_to_any_figure(seed: int, lie: str) -> None:
    truth, p, mask = clips(seed, 30)
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 3, (4, 30)).astype(float)
    false = {"flip": 1 - truth, "nan": np.full_like(truth, np.nan), "noise": rng.random(truth.shape)}[lie]
    lied = np.where(mask > 0, truth, false).astype(np.float32)
    unheard = np.where(mask > 0, p, {"flip": 1 - p, "nan": np.nan, "noise": false}[lie]).astype(np.float32)
    honest = score(known_of(truth, mask, weights), p, OWN)
    for t, s in ((lied, p), (truth, unheard), (lied, unheard)):
        card = score(known_of(t, mask, weights), s, OWN)
        same(card.value, honest.value, exactly=True)
        same(card.draws, honest.draws, exactly=True)
        np.testing.assert_array_equal(card.reliability, honest.reliability)
    np.testing.assert_array_equal(metrics.measured(lied, mask), metrics.measured(truth, mask))


def test_an_unmasked_cell_does_count() -> None:
    truth, p, mask = clips(0)
    lied = truth.copy()
    lied[5] = np.where(mask[5] > 0, 1 - truth[5], truth[5])
    honest, card = (score(known_of(t, mask), p, OWN).value for t in (truth, lied))
    assert all(honest[name] != card[name] for name in OVERALL if name != "top-1")


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_weights_count_as_repeated_clips_do(seed: int) -> None:
    truth, p, mask = clips(seed, 25)
    weights = np.random.default_rng(seed).integers(0, 4, (3, 25)).astype(float)
    weights[:, :3] = 1
    drawn_at_once = score(known_of(truth, mask, weights), p, OWN).draws
    for b, row in enumerate(weights.astype(int)):
        repeated = [np.repeat(x, row, axis=0) for x in (truth, mask, p)]
        again = score(known_of(*repeated[:2]), repeated[2], OWN).value
        # Instruments without a positive in all clips have no figure in any resample.
        same({n: v[b] for n, v in drawn_at_once.items()}, again)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_clips_does_not_matter(seed: int) -> None:
    truth, p, mask = clips(seed, 30, decimals=1)
    order = np.random.default_rng(seed).permutation(30)
    one = score(known_of(truth, mask), p, OWN).value
    same(one, score(known_of(truth[order], mask[order]), p[order], OWN).value)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_rankings_survive_any_rising_change_of_the_scores(seed: int) -> None:
    truth, p, mask = clips(seed, 30)
    for figure in (metrics.average_precision, metrics.roc_auc):
        np.testing.assert_allclose(figure(truth, p, mask), figure(truth, 5 * p**3 - 2, mask))
    np.testing.assert_allclose(metrics.roc_auc(truth, p, mask, 1), 1 - metrics.roc_auc(truth, -p, mask, 1), atol=1e-12)


def test_top1_is_of_solos_alone() -> None:
    truth, p, mask = clips(1)
    mask[1, 7] = 0  # nobody knows that nothing else sounds in it
    solo = metrics.solos(truth, mask)
    assert solo[[0, 2]].all()
    assert not solo[1]
    p[0, 0], p[2, 2] = 1.0, 0.0
    alone = np.isin(np.arange(60), [0, 2])
    assert metrics.top1(truth, p, alone) == 0.5
    np.testing.assert_array_equal(metrics.top1(truth, p, alone, np.eye(60)[[0, 2, 5]]), [1.0, 0.0, np.nan])


def test_a_score_that_is_not_finite_is_refused_in_labelled_cells() -> None:
    truth, p, mask = clips(0)
    p[np.nonzero(mask)[0][0], np.nonzero(mask)[1][0]] = np.nan
    for figure in (metrics.average_precision, metrics.roc_auc, metrics.micro_average_precision, metrics.reliability):
        with pytest.raises(ValueError, match="not finite"):
            figure(truth, p, mask)


def test_macro_leaves_out_what_has_no_figure() -> None:
    values = np.array([[0.2, np.nan, 0.6, 0.9], [np.nan] * 4])
    np.testing.assert_allclose(macro(values, np.array([True, True, True, False])), [0.4, np.nan])


# Bootstrap


def test_recordings_are_drawn_whole() -> None:
    group = np.array(["a", "b", "a", "c", "c", "c"])
    weights = resamples(group, 500, seed=1)
    assert weights.shape == (500, 6)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 3], weights[:, 5])
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(1), 3)  # as many recordings as there are
    assert weights.mean() == pytest.approx(1, abs=0.1)
    np.testing.assert_array_equal(weights, resamples(group, 500, seed=1))
    assert (weights != resamples(group, 500, seed=2)).any()


def test_the_interval_of_a_mean_has_the_expected_width() -> None:
    """Brier of a constant probability is a mean: its interval is 1.96 standard errors to either side."""
    rng = np.random.default_rng(0)
    truth = np.zeros((400, 20), np.float32)
    truth[:, 0] = rng.random(400) < 0.3
    mask = np.zeros_like(truth)
    mask[:, 0] = 1
    p = np.zeros_like(truth)
    weights = resamples(np.arange(400).astype(str), 2000)
    low, high = interval(drawn(lambda w: {"x": metrics.brier(truth, p, mask, w)}, weights)["x"])
    error = 1.96 * truth[:, 0].std() / 20
    assert (low, high) == pytest.approx((truth[:, 0].mean() - error, truth[:, 0].mean() + error), abs=0.005)


def test_clips_of_one_recording_widen_the_interval() -> None:
    truth, p, mask = (np.repeat(x, 10, axis=0) for x in clips(3, 30))
    widths = []
    for group in (np.repeat(np.arange(30), 10), np.arange(300)):
        card = score(known_of(truth, mask, resamples(group.astype(str), 200)), p, OWN)
        low, high = card.interval("mAP")
        assert low < card.value["mAP"] < high
        widths.append(high - low)
    assert widths[0] > 2 * widths[1]


def test_an_interval_leaves_out_resamples_without_a_figure() -> None:
    low, high = interval(np.array([[0.0, np.nan], [1.0, np.nan], [np.nan, np.nan]]))
    np.testing.assert_allclose([low, high], [[0.025, np.nan], [0.975, np.nan]])


# Two models


def test_a_model_has_nothing_over_itself() -> None:
    truth, p, mask = clips(0)
    known = known_of(truth, mask, resamples(np.arange(60).astype(str), 50))
    found = compare(score(known, p, OWN), score(known, p, OWN), CLASSES)
    for values in (found.value, found.low, found.high):
        assert set(map(float, values.values())) == {0.0}
    assert (found.up("F1@0.5"), found.down("F1@0.5")) == (0, 0)


def test_a_difference_is_of_the_same_clips() -> None:
    """Three instruments: one gained, one lost, one the same; a fourth is not measured."""
    truth = np.tile(np.eye(4, 20, dtype=np.float32), (10, 1))
    mask = np.zeros_like(truth)
    mask[:, :4] = 1
    old, new = np.zeros_like(truth), np.zeros_like(truth)
    old[:, 1], new[:, 0] = truth[:, 1], truth[:, 0]
    old[:, 2] = new[:, 2] = truth[:, 2]
    classes = np.arange(20) < 3
    known = Known(truth, mask, classes, resamples(np.arange(40).astype(str), 100))
    found = compare(score(known, new, OWN), score(known, old, OWN), classes)
    np.testing.assert_allclose(found.each["F1@0.5"][:3], [1, -1, 0])
    assert np.isnan(found.each["F1@0.5"][3:]).all()
    assert (found.up("F1@0.5"), found.down("F1@0.5")) == (1, 1)
    assert (found.value["F1@0.5"], found.value["median F1@0.5"]) == (0, 0)
    # On the same resamples a model that always gains as much as it loses has no interval at all.
    assert (found.low["F1@0.5"], found.high["F1@0.5"]) == (0, 0)
    assert found.low["loss"] < found.high["loss"]
