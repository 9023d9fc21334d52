"""Batches depend on seed and step alone; masks survive mixing; a worker's mistake is a user's line."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

from bands import Bands
from hypothesis import given
from hypothesis import strategies as st

from instrec_live.models.errors import InputFileError
from instrec_live.training.example import Example
from instrec_live.training.learning.batches import BatchLoader, batches, mixed, mixed_labels
from instrec_live.training.learning.losses import masked_bce


def loader(**changes) -> BatchLoader:
    return BatchLoader(
        [(Bands(), 1.0)], **({"batch": 6, "seconds": (1.0, 2.0), "spec_masks": (10, 20), "seed": 3} | changes)
    )


def same(one, other) -> bool:
    return all(torch.equal(getattr(one, k), getattr(other, k)) for k in ("log_mel", "labels", "mask", "real"))


def test_a_batch_depends_on_seed_and_step_alone():
    first = loader().batch(5)
    assert same(first, loader().batch(5))
    assert not same(first, loader(seed=4).batch(5))
    assert first.log_mel.shape[:2] == (6, 128)
    assert 100 <= first.log_mel.shape[2] <= 200
    assert len({loader().batch(step).log_mel.shape[2] for step in range(8)}) > 1


def test_the_length_of_a_batch_is_independent_of_its_rows():
    first = []

    class Dice(Bands):
        def example(self, index, rng, frames):
            first.append(rng.random())
            return super().example(index, rng, frames)

    frames = [
        BatchLoader([(Dice(), 1.0)], batch=1, seconds=(0.2, 1.2)).batch(step).log_mel.shape[2] for step in range(200)
    ]
    # The supply is drawn with a row's first number, so with what comes before the one seen here.
    supply = [np.random.default_rng((0, step, 0)).random() for step in range(200)]
    for dice in (first, supply):
        assert abs(np.corrcoef(np.cbrt((np.array(frames) - 20) / 100), dice)[0, 1]) < 4 / np.sqrt(200)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_change_nothing(workers):
    given_out = list(batches(loader(mixup=0.3), range(4, 9), workers))
    assert len(given_out) == 5
    assert all(same(batch, loader(mixup=0.3).batch(step)) for step, batch in zip(range(4, 9), given_out, strict=True))


def test_processes_share_a_batch_without_overlap():
    whole, parts = loader().batch(2), [loader().batch(2, rank, 3) for rank in range(3)]
    for rank, part in enumerate(parts):
        torch.testing.assert_close(part.log_mel, whole.log_mel[rank::3], rtol=0, atol=0)
        torch.testing.assert_close(part.labels, whole.labels[rank::3], rtol=0, atol=0)


def test_shares_of_supplies_are_kept():
    class Marked(Bands):
        def __init__(self, real):
            super().__init__()
            self.real = real

        def example(self, index, rng, frames):
            example = super().example(index, rng, frames)
            return Example(example.log_mel, example.labels, example.mask, self.real)

    mixed_feed = BatchLoader([(Marked(True), 1), (Marked(False), 3)], batch=50, seconds=(0.2, 0.2))
    share = np.mean([mixed_feed.batch(step).real.numpy().mean() for step in range(20)])
    assert 0.25 - 4 * 0.0137 < share < 0.25 + 4 * 0.0137  # four standard errors of 1,000 draws


@pytest.mark.parametrize("mixup", [0.0, 0.3])
def test_supplies_of_more_and_fewer_classes_share_a_batch(mixup):
    class Wide(Bands):
        def example(self, index, rng, frames):
            example = super().example(index, rng, frames)
            return Example(example.log_mel, np.ones(23, np.float32), np.ones(23, np.float32))

    both = BatchLoader([(Bands(), 1), (Wide(), 1)], batch=20, seconds=(0.2, 0.2), mixup=mixup).batch(0)
    assert both.labels.shape == both.mask.shape == (20, 23)
    unknown = both.mask[:, 20:] == 0
    assert unknown.any()
    assert not unknown.all()
    assert (both.labels[:, 20:][unknown] == 0).all()


def test_all_examples_of_a_batch_are_a_windows_patches_long():
    lengths = [loader(windows=((2, 0.25), (5, 0.75)), batch=1).batch(step).log_mel.shape[2] for step in range(60)]
    assert set(lengths) == {2 * 96, 5 * 96}
    assert lengths.count(5 * 96) > 30


def test_the_loss_is_of_the_classes_that_both_have():
    logits, labels, mask = torch.randn(4, 23), torch.rand(4, 23), torch.ones(4, 23)
    expected = masked_bce(logits[:, :20], labels[:, :20], mask[:, :20])
    torch.testing.assert_close(masked_bce(logits[:, :20], labels, mask), expected)
    torch.testing.assert_close(masked_bce(logits, labels[:, :20], mask[:, :20]), expected)


def test_examples_are_numbered_through_the_run():
    seen = []

    class Counting(Bands):
        def example(self, index, rng, frames):
            seen.append(index)
            return super().example(index, rng, frames)

    counting = BatchLoader([(Counting(), 1.0)], batch=4, seconds=(0.2, 0.2))
    for step in (7, 8):
        counting.batch(step)
    assert seen == list(range(28, 36))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_mistake_in_a_supply_is_one_line(workers):
    class Broken(Bands):
        def example(self, index, rng, frames):
            raise InputFileError("clip.ogg: unreadable", "leave it out")

    with pytest.raises(InputFileError) as caught:
        list(batches(BatchLoader([(Broken(), 1.0)], batch=2), range(2), workers))
    assert str(caught.value) == "clip.ogg: unreadable — leave it out"


cells = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()), min_size=20, max_size=20)


@given(cells, st.floats(0.5, 1.0), st.integers(0, 2**32 - 1))
def test_the_loss_of_a_mixture_is_the_mixture_of_losses(drawn, share, seed):
    """Koutini's and Zhang's mixup, with cells that nobody labelled: they weigh nothing, whatever stands in them."""
    y1, m1, y2, m2 = (np.array(column, np.float32) for column in zip(*drawn, strict=True))
    logits = torch.from_numpy(np.random.default_rng(seed).normal(0, 2, (1, 20)).astype(np.float32))
    labels, mask = mixed_labels((y1, m1), (y2, m2), share)
    lied, _ = mixed_labels((np.where(m1 > 0, y1, 1 - y1), m1), (np.where(m2 > 0, y2, 5.0), m2), share)
    np.testing.assert_array_equal(labels, lied)
    got = masked_bce(logits, torch.from_numpy(labels[None]), torch.from_numpy(mask[None])) * mask.sum()
    parts = [
        masked_bce(logits, torch.from_numpy(y[None]), torch.from_numpy(m[None])) * m.sum()
        for y, m in ((y1, m1), (y2, m2))
    ]
    torch.testing.assert_close(got, share * parts[0] + (1 - share) * parts[1], rtol=1e-4, atol=1e-4)


def test_mixed_examples_are_as_loud_as_their_shares():
    ones = Example(np.ones((128, 4), np.float32), np.ones(20, np.float32), np.ones(20, np.float32))
    zeros = Example(np.zeros((128, 4), np.float32), np.zeros(20, np.float32), np.ones(20, np.float32), real=True)
    mixture = mixed(ones, zeros, 0.75)
    np.testing.assert_allclose(mixture.log_mel, 0.75)
    np.testing.assert_allclose(mixture.labels, 0.75)
    assert mixture.real
