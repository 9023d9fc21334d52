"""What the labels of a training set say before any sound is heard."""

import numpy as np
from numpy.typing import NDArray

from instrec_live.training.datasets.table import Table

FloatArray = NDArray[np.float32]


def counts(table: Table) -> tuple[FloatArray, FloatArray]:
    """(positives, negatives) among the known cells, float32 [20] each."""
    positives = np.where(table.mask > 0, table.labels, 0).sum(0)
    return positives.astype(np.float32), (table.mask.sum(0) - positives).astype(np.float32)


def positive_weights(table: Table, bounds: tuple[float, float]) -> FloatArray:
    """Negatives a positive, within bounds; float32 [20]."""
    positives, negatives = counts(table)
    return np.clip(negatives / np.maximum(positives, 1), *bounds).astype(np.float32)


def log_odds(table: Table) -> FloatArray:
    """log(positives / negatives), one added to each; float32 [20]. Where a network's last bias may begin."""
    positives, negatives = counts(table)
    return np.log((positives + 1) / (negatives + 1)).astype(np.float32)
