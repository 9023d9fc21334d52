"""Labelled data by name, KIND:PATH, and the command that merges several into one table.

    python -m training.data table --data openmic:DIR --data table:synthetic/table.csv --to all.csv

Data are named KIND:PATH:

    openmic:DIR  openmic-subset:DIR  irmas-train:DIR  irmas-train-subset:DIR  irmas-test:DIR  irmas-test-subset:DIR
    clips:DIR  songs:DIR  table:FILE.csv

irmas-train knows of each excerpt its one predominant instrument; all others are masked, for they may sound too. songs
are whole ones (songs.csv), whose labels sound somewhere in them.

Protocol "masked" uses only what is known: unknown cells are masked; OpenMIC's official split; validation by artists.
Protocol "paper" repeats the paper's: OpenMIC's unknown cells count as absent, and OpenMIC and synthetic clips are split
by its seeds; other clips keep their split. --variant chooses among its four splits (training.data.splits); without it,
A where there are synthetic clips, else B. --without-synthetic leaves out the synthetic clips after splitting: the rest
has the test clips of the whole, so that one test set serves networks with and without them.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.training.data.clips import read_clip_table, read_songs
from instrec_live.training.data.irmas import read_irmas_test, read_irmas_train
from instrec_live.training.data.openmic import Unlabelled, read_openmic
from instrec_live.training.data.splits import REAL, SYNTHETIC, Variant, paper_split
from instrec_live.training.data.table import SPLITS, Table, check_audio, read_table, write_table

Protocol = Literal["masked", "paper"]
PROTOCOLS: tuple[Protocol, ...] = ("masked", "paper")
_UNLABELLED: dict[Protocol, Unlabelled] = {"masked": "masked", "paper": "negative"}

KINDS: dict[str, Callable[[Path, Unlabelled], Table]] = {
    "openmic": lambda path, unlabelled: read_openmic(path, unlabelled=unlabelled),
    "openmic-subset": lambda path, unlabelled: read_openmic(path, unlabelled=unlabelled, subset=True),
    "irmas-train": lambda path, _: read_irmas_train(path).table,
    "irmas-train-subset": lambda path, _: read_irmas_train(path, subset=True).table,
    "irmas-test": lambda path, _: read_irmas_test(path),
    "irmas-test-subset": lambda path, _: read_irmas_test(path, subset=True),
    "clips": lambda path, _: read_clip_table(path),
    "songs": lambda path, _: read_songs(path),
    "table": lambda path, unlabelled: _with_absent(read_table(path), unlabelled),
}


def open_data(spec: str, protocol: Protocol = "masked") -> Table:
    """The clips that one KIND:PATH names.

    Raises:
        UsageError: no such kind or protocol.
        InputFileError: the data are not of that kind, have no clips, or audio is missing.
    """
    return open_all([spec], protocol)


def open_all(
    specs: Sequence[str],
    protocol: Protocol = "masked",
    variant: Variant | None = None,
    without_synthetic: bool = False,
) -> Table:
    """The clips of several KIND:PATH, joined; `variant` and `without_synthetic` as in the paper's protocol.

    Raises:
        UsageError: none given, no such kind or protocol, or a clip is in two of them.
        InputFileError: the data are not of that kind, have no clips, or audio is missing.
    """
    if protocol not in PROTOCOLS:
        raise UsageError(f"there is no protocol {protocol!r}", f"known: {', '.join(PROTOCOLS)}")
    if not specs:
        raise UsageError("no data given", f"KIND:PATH, with a KIND of {', '.join(KINDS)}")
    table = Table.join([_read(spec, _UNLABELLED[protocol]) for spec in specs])
    seen: set[Path] = set()
    for path in (path.resolve() for path in table.paths):
        if path in seen:
            raise UsageError(f"{path} appears twice in the data", "name each clip once")
        seen.add(path)
    if protocol != "paper":
        if variant is not None or without_synthetic:
            raise UsageError("the paper's variants belong to its protocol", "--protocol paper")
        return table
    table = _paper_split(table, variant)
    return table[table.source != SYNTHETIC] if without_synthetic else table


def add_variant(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the options that choose the paper's split."""
    parser.add_argument("--variant", choices=get_args(Variant), help="which of the paper's four splits "
                        "(A with synthetic clips, B without)")  # fmt: skip
    parser.add_argument("--without-synthetic", action="store_true", help="leave out the synthetic clips after "
                        "splitting: the test clips stay the same")  # fmt: skip


def _read(spec: str, unlabelled: Unlabelled) -> Table:
    kind, colon, path = spec.partition(":")
    if not colon or not path or kind not in KINDS:
        close = get_close_matches(kind, KINDS, 1)
        said = f"{spec!r} is not KIND:PATH" if not colon or not path else f"unknown kind of data {kind!r}"
        raise UsageError(said, f"did you mean {close[0]}:PATH?" if close else f"known kinds: {', '.join(KINDS)}")
    table = KINDS[kind](Path(path), unlabelled)
    if not len(table):
        raise InputFileError(f"{path}: no clips in it")
    check_audio(table, path)
    return table


def _with_absent(table: Table, unlabelled: Unlabelled) -> Table:
    """A table's clips; with "negative", OpenMIC's unknown cells count as absent."""
    if unlabelled == "masked":
        return table
    real = (table.source == REAL)[:, None]
    labels = np.where(real, (table.labels >= 0.5) & (table.mask > 0), table.labels).astype(np.float32)
    mask = np.where(real, 1, table.mask).astype(np.float32)
    return replace(table, labels=labels, mask=mask)


def _paper_split(table: Table, variant: Variant | None) -> Table:
    theirs = np.isin(table.source, (REAL, SYNTHETIC))
    if not (table.source == REAL).any():
        return table
    if variant is None:
        variant = "A" if (table.source == SYNTHETIC).any() else "B"
    return Table.join([paper_split(table[theirs], variant), table[~theirs]])


def summary(table: Table) -> str:
    """What is in a table, in lines: clips by source and split, labels by instrument, and groups that are torn."""
    columns = [*(split or "undecided" for split in SPLITS), "all"]
    lines = [f"{'clips':20}{''.join(f'{column:>12}' for column in columns)}"]
    for source in [*np.unique(table.source), "all"]:
        of = table.source == source if source != "all" else np.ones(len(table), bool)
        counts = [int((of & (table.split == split)).sum()) for split in SPLITS]
        lines.append(f"{source:20}{''.join(f'{count:12,}' for count in (*counts, int(of.sum())))}")
    lines += ["", f"{'instrument':20}{'present':>12}{'absent':>12}{'unknown':>12}"]
    known, present = table.mask > 0, table.labels >= 0.5
    for i, name in enumerate(DISPLAY_NAMES.values()):
        counts = [int(cells[:, i].sum()) for cells in (known & present, known & ~present, ~known)]
        lines.append(f"{name:20}{''.join(f'{count:12,}' for count in counts)}")
    sides = {(group, split) for group, split in zip(table.group, table.split, strict=True) if split}
    torn = len(sides) - len({group for group, _ in sides})
    lines += ["", f"{len(np.unique(table.group)):,} recordings or artists, {torn:,} of them on more than one side"]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.data table",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", action="append", required=True, metavar="KIND:PATH", help="may be given repeatedly")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="masked",
                        help="how unknown labels count, and which split (masked)")  # fmt: skip
    parser.add_argument("--to", type=Path, required=True, help="the csv to write")
    add_variant(parser)
    args = parser.parse_args(argv)
    if args.to.is_dir() or args.to.suffix != ".csv":
        raise UsageError(f"--to {args.to}: give the name of a .csv file")
    table = open_all(args.data, args.protocol, args.variant, args.without_synthetic)
    write_table(args.to, table)
    print(f"{summary(table)}\n\n{len(table):,} clips in {args.to}")
