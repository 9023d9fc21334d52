"""What a model says of clips, as a csv file for any scorer."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.instruments import INSTRUMENTS

FloatArray = NDArray[np.float32]


def write_predictions(path: Path, files: Sequence[str], probabilities: FloatArray, active: NDArray[np.bool_]) -> None:
    """A csv row a clip from probabilities and decisions [n, 20]: file, 20 probabilities, and `active`, the instruments
    decided on, '|'-separated."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["file", *INSTRUMENTS, "active"])
        for file, row, on in zip(files, probabilities, active, strict=True):
            shown = [name for name, yes in zip(INSTRUMENTS, on, strict=True) if yes]
            writer.writerow([file, *(f"{p:.6f}" for p in row), "|".join(shown)])
