"""A sound's hops when nobody is in a hurry: every one of them, and what is left at the end."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.errors import InstrecError
from instrec_live.models.logmel import HOP

FloatArray = NDArray[np.float32]


def all_hops(blocks: Iterable[FloatArray], hop: int, stopped: Callable[[], bool]) -> Iterator[FloatArray]:
    """Pieces float32 [hop] of the blocks, and what is left at the end, until `stopped`."""
    pending, heard = np.empty(0, np.float32), 0
    for block in blocks:
        if stopped():
            return
        pending = np.concatenate([pending, block])
        while len(pending) >= hop:
            yield pending[:hop]
            pending, heard = pending[hop:], heard + hop
    rest = last_piece(pending, heard)
    if len(rest):
        yield rest


def last_piece(rest: FloatArray, heard: int) -> FloatArray:
    """Whole 10 ms frames of the rest; a sound shorter than one frame is filled up to one."""
    if heard == 0 and 0 < len(rest) < HOP:
        return np.pad(rest, (0, HOP - len(rest)))
    return rest[: len(rest) // HOP * HOP]


def batched(pieces: Iterator[FloatArray], most: int) -> Iterator[list[FloatArray]]:
    """Pieces in lists of so many; what came before an error is handed on before the error is."""
    batch: list[FloatArray] = []
    try:
        for piece in pieces:
            batch.append(piece)
            if len(batch) == most:
                yield batch
                batch = []
    except InstrecError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch
