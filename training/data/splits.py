"""Splits of labelled clips: a validation set by groups, and the paper's splits by its seeds.

The paper's splits are not clean: its variants test on different clips, three quarters of its ensemble's test clips were
in its networks' training sets, and artists are on both sides. The variants:

    A  PaSST with synthetic clips, MS-CRNN: all clips shuffled, 80 % train, 10 % valid, 10 % test
    B  PaSST without synthetic clips: the OpenMIC clips shuffled likewise
    C  CBAM-CNN: as B, and all synthetic clips in train
    D  the ensemble: scikit-learn's random split, 20 % off train, halved; all synthetic clips in train

In each, synthetic clips come first, by name, then OpenMIC's, by key.
"""

import logging
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.errors import UsageError
from instrec_live.training.data.table import Table

log = logging.getLogger(__name__)

TRIES = 64


def carve_valid(table: Table, share: float, seed: int = 0) -> Table:
    """The same clips, with about `share` of the groups in "train" moved to "valid".

    Of some random divisions of the groups, the one is chosen whose share of every instrument's known labels, present
    and absent, is nearest to `share`. Fewer than two groups are left unchanged.

    Raises:
        UsageError: `share` is not in 0…1.
    """
    if not 0 <= share < 1:
        raise UsageError(f"the share of validation clips must be at least 0 and below 1, not {share}")
    from sklearn.model_selection import GroupShuffleSplit  # slow to load, and --help does without

    rows = np.flatnonzero(table.split == "train")
    groups = table.group[rows]
    if share == 0 or len(np.unique(groups)) < 2:
        return table
    known = table.mask[rows] > 0
    present = table.labels[rows] >= 0.5
    cells = np.concatenate([known & present, known & ~present, np.ones((len(rows), 1), bool)], axis=1)
    total = cells.sum(0)
    divisions = GroupShuffleSplit(TRIES, test_size=share, random_state=seed).split(rows, groups=groups)
    distances = []
    for _, taken in divisions:
        off = cells[taken].sum(0)[total > 0] / total[total > 0] - share
        distances.append((float(np.square(off).sum()), taken))
    split = table.split.astype("<U5")
    split[rows[min(distances, key=lambda pair: pair[0])[1]]] = "valid"
    return table.resplit(split)


Variant = Literal["A", "B", "C", "D"]
SYNTHETIC, REAL = "synthetic", "openmic"
SIZES = {SYNTHETIC: 2_200, REAL: 20_000}  # the paper's


def paper_split(table: Table, variant: Variant, seed: int = 42) -> Table:
    """The clips of source "synthetic" (except for B) and "openmic" in the paper's order, with its split.

    Args:
        table: clips of these two sources; the file name is the key: `<key>.ogg`, `mix_00000.wav`.
        variant: of the paper's four splits.
        seed: the paper's is 42.

    Raises:
        UsageError: no such variant, clips of another source, or too few to split.
    """
    if variant not in get_args(Variant):
        raise UsageError(f"there is no split {variant!r}", "the paper has A, B, C and D")
    if others := sorted(set(table.source.tolist()) - {SYNTHETIC, REAL}):
        raise UsageError(f"the paper split openmic and synthetic clips, not {others[0]}")
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
            log.warning("%d %s clips, not the paper's %d: the split will differ from it", found, source, SIZES[source])
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
