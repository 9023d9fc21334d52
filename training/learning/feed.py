"""The batches of a run. What is in a batch depends on (seed, step) alone: not on who asks, how many worker processes
render it, or which of several training processes gets which of its rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from instrec_live.models.errors import InstrecError
from instrec_live.training.augment import spec_augment
from instrec_live.training.example import Example, Supply

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Batch:
    """log_mel float32 [B, 128, T]; labels and mask float32 [B, 20]; real bool [B]."""

    log_mel: Tensor
    labels: Tensor
    mask: Tensor
    real: Tensor

    def to(self, device: torch.device) -> "Batch":
        parts = (self.log_mel, self.labels, self.mask, self.real)
        return Batch(*(part.to(device, non_blocking=True) for part in parts))

    def pin_memory(self) -> "Batch":
        """What a DataLoader calls, for faster copies to a GPU."""
        return Batch(*(part.pin_memory() for part in (self.log_mel, self.labels, self.mask, self.real)))


class Feed:
    """Examples of one or several supplies, in batches.

    Args:
        supplies: each with its share of the examples; shares need not add up to 1.
        batch: rows of a batch, all processes together.
        seconds: shortest and longest length of a batch's examples; short ones are likelier (and cheaper).
        mixup: Beta parameter of the mixing of two examples (Zhang et al., ICLR 2018); 0: none.
        stripes: SpecAugment's widest blank of bands and of frames (Park et al., Interspeech 2019).
    """

    def __init__(
        self,
        supplies: Sequence[tuple[Supply, float]],
        batch: int,
        seconds: tuple[float, float] = (2.0, 6.0),
        mixup: float = 0.0,
        stripes: tuple[int, int] = (0, 0),
        seed: int = 0,
    ) -> None:
        self.supplies = [supply for supply, _ in supplies]
        shares = np.array([share for _, share in supplies], float)
        self.edges = np.cumsum(shares / shares.sum())
        self.size, self.seconds, self.mixup, self.stripes, self.seed = batch, seconds, mixup, stripes, seed

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The rows rank, rank + world, … of batch number `step`."""
        shortest, longest = self.seconds
        # A number that no row has: numpy takes (seed, step) for (seed, step, 0), the first row's.
        lengths = np.random.default_rng((self.seed, step, self.size))
        frames = round(100 * (shortest + (longest - shortest) * lengths.random() ** 3))
        rows = [self.row(step, row, frames) for row in range(rank, self.size, world)]
        return Batch(
            torch.from_numpy(np.stack([row.log_mel for row in rows])),
            torch.from_numpy(np.stack([row.labels for row in rows])),
            torch.from_numpy(np.stack([row.mask for row in rows])),
            torch.tensor([row.real for row in rows]),
        )

    def row(self, step: int, row: int, frames: int) -> Example:
        """One row of a batch."""
        rng = np.random.default_rng((self.seed, step, row))
        example = self._draw(step * self.size + row, rng, frames)
        if self.mixup:
            share = rng.beta(self.mixup, self.mixup)
            other = self._draw(int(rng.integers(2**31)), rng, frames)
            example = mixed(example, other, float(max(share, 1 - share)))
        mel = example.log_mel.astype(np.float32)
        if any(self.stripes):
            spec_augment(mel[None], rng, *self.stripes)
        return Example(mel, example.labels, example.mask, example.real)

    def _draw(self, index: int, rng: np.random.Generator, frames: int) -> Example:
        supply = self.supplies[
            int(np.searchsorted(self.edges, rng.random(), side="right").clip(0, len(self.edges) - 1))
        ]
        return supply.example(index, rng, frames)


def mixed(one: Example, other: Example, share: float) -> Example:
    """`share` of one example and the rest of another, as log-mels."""
    labels, mask = mixed_labels((one.labels, one.mask), (other.labels, other.mask), share)
    mel = share * one.log_mel + (1 - share) * other.log_mel
    return Example(mel.astype(np.float32), labels, mask, one.real or other.real)


def mixed_labels(
    one: tuple[FloatArray, FloatArray], other: tuple[FloatArray, FloatArray], share: float
) -> tuple[FloatArray, FloatArray]:
    """(labels, mask) of a mixture, so that its masked cross-entropy is the mixture of theirs.

    Cross-entropy is linear in the label. So a cell weighs what is known of it, and its label is the mean of what is
    known: a masked cell adds nothing here either, whatever stands in it.
    """
    weights = share * one[1], (1 - share) * other[1]
    total = weights[0] + weights[1]
    told = np.where(one[1] > 0, one[0], 0) * weights[0] + np.where(other[1] > 0, other[0], 0) * weights[1]
    labels = np.divide(told, total, out=np.zeros_like(total), where=total > 0)
    return labels.astype(np.float32), total.astype(np.float32)


class _Steps(Dataset[Batch | InstrecError]):
    """Batches by step. A user's mistake is handed over, since a worker would wrap it in its traceback."""

    def __init__(self, feed: Feed, rank: int, world: int) -> None:
        self.feed, self.rank, self.world = feed, rank, world

    def __getitem__(self, step: int) -> Batch | InstrecError:
        try:
            return self.feed.batch(step, self.rank, self.world)
        except InstrecError as error:
            return error


def batches(
    feed: Feed, steps: range, workers: int = 0, rank: int = 0, world: int = 1, device: torch.device | None = None
) -> Iterator[Batch]:
    """The batches of these steps, in order, rendered ahead by `workers` processes (0: as they are needed).

    Raises:
        InstrecError: what a supply raised.
    """
    device = device or torch.device("cpu")
    loader = DataLoader(
        _Steps(feed, rank, world),
        batch_size=None,
        sampler=steps,  # type: ignore[arg-type]
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="fork" if workers and "fork" in torch.multiprocessing.get_all_start_methods() else None,
        worker_init_fn=_one_thread,
        pin_memory=device.type == "cuda",
        collate_fn=_as_it_is,
    )
    for batch in loader:
        if isinstance(batch, InstrecError):
            raise batch
        yield batch.to(device)


def _as_it_is(item: Batch | InstrecError) -> Batch | InstrecError:
    return item


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)  # a second thread beside any other load makes it slower, not faster
