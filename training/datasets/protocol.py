"""The reference's splits, by its seeds, so that its tables can be had again. They are not clean: its variants test on
different clips, its ensemble's test clips were three quarters seen in training, and artists are on both sides.

    A  PaSST with synthetic clips, MS-CRNN: all clips shuffled, 80 % train, 10 % valid, 10 % test
    B  PaSST without synthetic clips: the OpenMIC clips shuffled likewise
    C  CBAM-CNN: as B, and all synthetic clips in train
    D  the ensemble: scikit-learn's random split, 20 % off train, halved; all synthetic clips in train

In each, synthetic clips come first in their order of name, then OpenMIC's in order of key.
"""

import logging
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.errors import UsageError
from instrec_live.training.datasets.table import Table

Variant = Literal["A", "B", "C", "D"]
SYNTHETIC, REAL = "synthetic", "openmic"
SIZES = {SYNTHETIC: 2_200, REAL: 20_000}  # the reference's

log = logging.getLogger(__name__)


def reference_split(table: Table, variant: Variant, seed: int = 42) -> Table:
    """The clips of source "synthetic" (but for B) and "openmic" in the reference's order, split as it split them.

    Args:
        table: clips of these two sources; where a clip is tells its key: `<key>.ogg`, `mix_00000.wav`.
        variant: which of the reference's four splits.
        seed: the reference's is 42.

    Raises:
        UsageError: no such variant, clips of another source, or too few to split.
    """
    if variant not in get_args(Variant):
        raise UsageError(f"there is no split {variant!r}", "the reference has A, B, C and D")
    if strangers := sorted(set(table.source.tolist()) - {SYNTHETIC, REAL}):
        raise UsageError(f"the reference split openmic and synthetic clips, and none of {strangers[0]}")
    table = table[_in_order(table)]
    synthetic = int((table.source == SYNTHETIC).sum())
    if variant == "B":
        table, synthetic = table[synthetic:], 0
    apart = 0 if variant == "A" else synthetic  # these rows are not shuffled: they are training clips
    if len(table) - apart < 5:
        raise UsageError(f"{len(table) - apart} clips are too few for train, valid and test")
    rows = _by_sklearn(len(table) - apart, seed) if variant == "D" else _by_numpy(len(table) - apart, seed)
    for source in sorted(set(table.source.tolist())):
        if (found := int((table.source == source).sum())) != SIZES[source]:
            log.warning(
                "%d %s clips, not the reference's %d: its split comes out otherwise", found, source, SIZES[source]
            )
    split = np.full(len(table), "train")
    split[rows[1] + apart] = "valid"
    split[rows[2] + apart] = "test"
    return table.resplit(split)


def _in_order(table: Table) -> NDArray[np.int64]:
    keys = [(source != SYNTHETIC, path.stem) for source, path in zip(table.source, table.paths, strict=True)]
    return np.array(sorted(range(len(table)), key=keys.__getitem__), np.int64)


def _by_numpy(count: int, seed: int) -> list[NDArray[np.int64]]:
    train, valid = int(0.8 * count), int(0.1 * count)
    return np.split(np.random.default_rng(seed).permutation(count), [train, train + valid])


def _by_sklearn(count: int, seed: int) -> list[NDArray[np.int64]]:
    from sklearn.model_selection import train_test_split  # slow to load, and --help does without

    train, others = train_test_split(np.arange(count), test_size=0.2, random_state=seed)
    return [train, *train_test_split(others, test_size=0.5, random_state=seed)]
