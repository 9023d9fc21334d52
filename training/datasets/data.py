"""Labelled data by name: KIND:PATH, for the options of commands.

    openmic:DIR  openmic-subset:DIR  irmas-test:DIR  irmas-test-subset:DIR  clips:DIR  table:FILE.csv

Protocol "masked" keeps to what is known: unknown cells are masked, OpenMIC's official split, validation by artists.
Protocol "paper" does as the reference did: OpenMIC's unknown cells count as absent, and OpenMIC and synthetic clips are
split by its seeds (variant A of training.datasets.protocol, or B where nothing is synthetic); other clips stay.
"""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import numpy as np

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.training.datasets.clips import read_clip_table
from instrec_live.training.datasets.irmas import read_irmas_test
from instrec_live.training.datasets.openmic import Unlabelled, read_openmic
from instrec_live.training.datasets.protocol import REAL, SYNTHETIC, Variant, reference_split
from instrec_live.training.datasets.table import Table, check_audio, read_table

Protocol = Literal["masked", "paper"]
PROTOCOLS: tuple[Protocol, ...] = ("masked", "paper")
_UNLABELLED: dict[Protocol, Unlabelled] = {"masked": "masked", "paper": "negative"}

KINDS: dict[str, Callable[[Path, Unlabelled], Table]] = {
    "openmic": lambda path, unlabelled: read_openmic(path, unlabelled=unlabelled),
    "openmic-subset": lambda path, unlabelled: read_openmic(path, unlabelled=unlabelled, subset=True),
    "irmas-test": lambda path, _: read_irmas_test(path),
    "irmas-test-subset": lambda path, _: read_irmas_test(path, subset=True),
    "clips": lambda path, _: read_clip_table(path),
    "table": lambda path, unlabelled: _with_absent(read_table(path), unlabelled),
}


def open_data(spec: str, protocol: Protocol = "masked") -> Table:
    """The clips that one KIND:PATH names.

    Raises:
        UsageError: no such kind or protocol.
        InputFileError: what is found there is not what the kind says, or has no clips, or audio is missing.
    """
    return open_all([spec], protocol)


def open_all(specs: Sequence[str], protocol: Protocol = "masked") -> Table:
    """The clips of several KIND:PATH, joined.

    Raises:
        UsageError: none given, no such kind or protocol, or a clip is in two of them.
        InputFileError: what is found there is not what the kind says, or has no clips, or audio is missing.
    """
    if protocol not in PROTOCOLS:
        raise UsageError(f"there is no protocol {protocol!r}", f"known: {', '.join(PROTOCOLS)}")
    if not specs:
        raise UsageError("no data given", f"KIND:PATH, with a KIND of {', '.join(KINDS)}")
    table = Table.join([_read(spec, _UNLABELLED[protocol]) for spec in specs])
    seen: set[Path] = set()
    for path in (path.resolve() for path in table.paths):
        if path in seen:
            raise UsageError(f"{path} is in the data twice", "name each clip once")
        seen.add(path)
    return _split_as_the_paper(table) if protocol == "paper" else table


def _read(spec: str, unlabelled: Unlabelled) -> Table:
    kind, colon, path = spec.partition(":")
    if not colon or not path or kind not in KINDS:
        close = get_close_matches(kind, KINDS, 1)
        said = f"{spec!r} is no KIND:PATH" if not colon or not path else f"unknown kind of data {kind!r}"
        raise UsageError(said, f"did you mean {close[0]}:PATH?" if close else f"known kinds: {', '.join(KINDS)}")
    table = KINDS[kind](Path(path), unlabelled)
    if not len(table):
        raise InputFileError(f"{path}: no clips in it")
    check_audio(table, path)
    return table


def _with_absent(table: Table, unlabelled: Unlabelled) -> Table:
    """A table's clips; OpenMIC's unknown cells absent, if so wished."""
    if unlabelled == "masked":
        return table
    real = (table.source == REAL)[:, None]
    labels = np.where(real, (table.labels >= 0.5) & (table.mask > 0), table.labels).astype(np.float32)
    mask = np.where(real, 1, table.mask).astype(np.float32)
    return Table(table.paths, table.source, table.group, table.split, labels, mask)


def _split_as_the_paper(table: Table) -> Table:
    theirs = np.isin(table.source, (REAL, SYNTHETIC))
    if not (table.source == REAL).any():
        return table
    variant: Variant = "A" if (table.source == SYNTHETIC).any() else "B"
    return Table.join([reference_split(table[theirs], variant), table[~theirs]])
