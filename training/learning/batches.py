"""The batches of a run. A batch depends on (seed, step) alone, not on the number of worker or training processes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from instrec_live.models.arrays import FloatArray
from instrec_live.models.errors import InstrecError
from instrec_live.models.logmel import PATCH
from instrec_live.training.data.table import FAMILIES
from instrec_live.training.example import Example, Supply
from instrec_live.training.synthesis.augment import spec_augment


@dataclass(frozen=True, slots=True)
class Batch:
    """log_mel float32 [B, 128, T]; labels and mask float32 [B, classes]; real bool [B]; some float32 [B, 6]: how much
    it counts that an instrument of each family sounds, or [B, 0]."""

    log_mel: Tensor
    labels: Tensor
    mask: Tensor
    real: Tensor
    some: Tensor = field(default_factory=lambda: torch.zeros(0, 0))

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(part.to(device, non_blocking=True) for part in self._tensors()))

    def parts(self, count: int) -> "list[Batch]":
        """The rows in `count` parts."""
        split = (part.tensor_split(count) for part in self._tensors())
        return [Batch(*tensors) for tensors in zip(*split, strict=True)]

    def pin_memory(self) -> "Batch":
        """Called by a DataLoader, for faster copies to a GPU."""
        return Batch(*(part.pin_memory() for part in self._tensors()))

    def _tensors(self) -> tuple[Tensor, ...]:
        some = self.some if len(self.some) else self.labels[:, :0]
        return self.log_mel, self.labels, self.mask, self.real, some


class BatchLoader:
    """Batches of examples from one or several supplies.

    Args:
        supplies: each with its share of the examples; shares need not sum to 1.
        batch: rows of a batch, all processes together.
        windows: instead of seconds, (patches of 0.96 s, share of the batches): all examples of a batch are as long.
        seconds: minimum and maximum length of a batch's examples; short ones are more likely (and cheaper).
        mixup: Beta parameter of mixing two examples (Zhang et al., ICLR 2018); 0: none.
        spec_masks: maximum width of SpecAugment's masks in bands and in frames (Park et al., Interspeech 2019).
    """

    def __init__(
        self,
        supplies: Sequence[tuple[Supply, float]],
        batch: int,
        seconds: tuple[float, float] = (2.0, 6.0),
        mixup: float = 0.0,
        spec_masks: tuple[int, int] = (0, 0),
        seed: int = 0,
        windows: tuple[tuple[int, float], ...] = (),
    ) -> None:
        self.supplies = [supply for supply, _ in supplies]
        shares = np.array([share for _, share in supplies], float)
        self.edges = np.cumsum(shares / shares.sum())
        self.size, self.seconds, self.mixup, self.spec_masks, self.seed = batch, seconds, mixup, spec_masks, seed
        self.windows = windows

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The rows rank, rank + world, … of batch number `step`."""
        shortest, longest = self.seconds
        # self.size is not the number of a row: numpy treats (seed, step) as (seed, step, 0), the first row's.
        lengths = np.random.default_rng((self.seed, step, self.size))
        frames = round(100 * (shortest + (longest - shortest) * lengths.random() ** 3))
        if self.windows:
            patches, weights = zip(*self.windows, strict=True)
            frames = PATCH * int(lengths.choice(patches, p=np.array(weights) / sum(weights)))
        rows = as_wide([self.row(step, row, frames) for row in range(rank, self.size, world)])
        return Batch(
            torch.from_numpy(np.stack([row.log_mel for row in rows])),
            torch.from_numpy(np.stack([row.labels for row in rows])),
            torch.from_numpy(np.stack([row.mask for row in rows])),
            torch.tensor([row.real for row in rows]),
            torch.from_numpy(np.stack([families(row) for row in rows])),
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
        if any(self.spec_masks):
            spec_augment(mel[None], rng, *self.spec_masks)
        return replace(example, log_mel=mel)

    def _draw(self, index: int, rng: np.random.Generator, frames: int) -> Example:
        supply = self.supplies[
            int(np.searchsorted(self.edges, rng.random(), side="right").clip(0, len(self.edges) - 1))
        ]
        return supply.example(index, rng, frames)


def mixed(one: Example, other: Example, share: float) -> Example:
    """`share` of one example and the rest of another, as log-mels."""
    one, other = as_wide((one, other))
    labels, mask = mixed_labels((one.labels, one.mask), (other.labels, other.mask), share)
    mel = share * one.log_mel + (1 - share) * other.log_mel
    some = share * families(one) + (1 - share) * families(other)
    return Example(mel.astype(np.float32), labels, mask, one.real or other.real, some.astype(np.float32))


def families(example: Example) -> FloatArray:
    """Its `some`, float32 [6]; zeros where it has none."""
    return np.zeros(len(FAMILIES), np.float32) if example.some is None else example.some


def as_wide(examples: Sequence[Example]) -> list[Example]:
    """Examples with labels for as many classes as the one of most has; of further classes nothing is known."""
    classes = max(len(example.labels) for example in examples)
    wide = []
    for example in examples:
        more = (0, classes - len(example.labels))
        labels, mask = np.pad(example.labels, more), np.pad(example.mask, more)
        wide.append(replace(example, labels=labels, mask=mask))
    return wide


def mixed_labels(
    one: tuple[FloatArray, FloatArray], other: tuple[FloatArray, FloatArray], share: float
) -> tuple[FloatArray, FloatArray]:
    """(labels, mask) of a mixture whose masked cross-entropy is the mixture of the two cross-entropies.

    Cross-entropy is linear in the label. So a cell's mask is the known share, and its label the weighted mean of the
    known labels; the label of a masked cell has no effect.
    """
    weights = share * one[1], (1 - share) * other[1]
    total = weights[0] + weights[1]
    weighted = np.where(one[1] > 0, one[0], 0) * weights[0] + np.where(other[1] > 0, other[0], 0) * weights[1]
    labels = np.divide(weighted, total, out=np.zeros_like(total), where=total > 0)
    return labels.astype(np.float32), total.astype(np.float32)


class _Steps(Dataset[Batch | InstrecError]):
    """Batches by step. Errors are returned, since a raised one would reach the user wrapped in a worker's traceback."""

    def __init__(self, loader: BatchLoader, rank: int, world: int) -> None:
        self.loader, self.rank, self.world = loader, rank, world

    def __getitem__(self, step: int) -> Batch | InstrecError:
        try:
            return self.loader.batch(step, self.rank, self.world)
        except InstrecError as error:
            return error


def batches(
    loader: BatchLoader,
    steps: range,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
    device: torch.device | None = None,
) -> Iterator[Batch]:
    """The batches of these steps, in order, prepared ahead by `workers` processes (0: on demand).

    Raises:
        InstrecError: an error of a supply.
    """
    device = device or torch.device("cpu")
    data_loader = DataLoader(
        _Steps(loader, rank, world),
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="fork" if workers and "fork" in torch.multiprocessing.get_all_start_methods() else None,
        worker_init_fn=_one_thread,
        pin_memory=device.type == "cuda",
        collate_fn=_as_it_is,
    )
    for batch in data_loader:
        if isinstance(batch, InstrecError):
            raise batch
        yield batch.to(device)


def _as_it_is(item: Any) -> Any:
    return item


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)  # under other load, a second thread makes it slower
