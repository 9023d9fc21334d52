"""One table of labelled clips from several data sets, real and synthetic.

    python -m training.datasets table --data openmic:DIR --data table:synthetic/table.csv --to all.csv

Data are named KIND:PATH:
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from instrec_live.models.errors import UsageError
from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.training.datasets import data
from instrec_live.training.datasets.table import SPLITS, Table, write_table


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
    description = f"{__doc__}\n{(data.__doc__ or '').split(':', 1)[1]}"
    parser = argparse.ArgumentParser(
        prog="python -m training.datasets table",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", action="append", required=True, metavar="KIND:PATH", help="may be given repeatedly")
    parser.add_argument("--protocol", choices=data.PROTOCOLS, default="masked",
                        help="what unknown labels count as, and who splits (masked)")  # fmt: skip
    parser.add_argument("--to", type=Path, required=True, help="the csv to write")
    args = parser.parse_args(argv)
    if args.to.is_dir() or args.to.suffix != ".csv":
        raise UsageError(f"--to {args.to}: give the name of a .csv file")
    table = data.open_all(args.data, args.protocol)
    write_table(args.to, table)
    print(f"{summary(table)}\n\n{len(table):,} clips in {args.to}")
