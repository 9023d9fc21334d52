"""Carving a validation set out of the training set, without tearing a group apart."""

import numpy as np

from instrec_live.models.errors import UsageError
from instrec_live.training.datasets.table import Table

TRIES = 64


def carve_valid(table: Table, share: float, seed: int = 0) -> Table:
    """The same clips; of the groups in "train", about `share` go to "valid".

    Of some random divisions of the groups the one is taken whose share of every instrument's known labels, present and
    absent, is nearest to `share`. Fewer than two groups stay as they are.

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
