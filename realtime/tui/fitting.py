"""Runs of text made to fit cells: pure functions, no Textual."""

import re
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

from instrec_live.realtime.tui.bar import Run


def printable(text: str) -> str:
    """`text` without control characters: names of files and devices come from anywhere."""
    return re.sub(r"\s+", " ", "".join(sign if sign.isprintable() else "?" for sign in text))


def fitted(text: str, width: int, ellipsis: str) -> str:
    """`text` in exactly `width` cells (wide signs count two), shortened with an ellipsis where it must be."""
    if cell_len(text) > width > 0:
        text = set_cell_size(text, width - 1).rstrip() + ellipsis
    return set_cell_size(text, max(0, width))


def length(runs: Sequence[Run]) -> int:
    """How many cells the runs take."""
    return sum(cell_len(text) for _, text in runs)


def spread(left: Sequence[Run], right: Sequence[Run], width: int) -> list[Run]:
    """`left` and `right` at the two ends of `width` cells."""
    return [*left, ("space", " " * max(0, width - length(left) - length(right))), *right]
