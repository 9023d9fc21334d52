"""A folder of single-instrument sounds grows by a source: its files, and its rows in sources.csv."""

import csv
import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from instrec_live.models.errors import UsageError
from instrec_live.training.datasets.rows import read_rows

COLUMNS = ("source", "licence", "package", "class", "n_files", "seconds", "kind")
NEEDED = ("source", "licence", "package", "class", "kind")  # what sources.csv is read for


def check_free(to: Path, name: str, instruments: Sequence[str]) -> None:
    """Whether a source may be called so.

    Raises:
        UsageError: one is already, of one of these instruments.
    """
    table = to / "sources.csv"
    taken = [row["class"] for _, row in read_rows(table, NEEDED)[1] if row["source"] == name] if table.exists() else []
    for instrument in instruments:
        if instrument in taken or (to / instrument / name).exists():
            raise UsageError(f"{to / instrument / name}: already there", "give another --name, or remove it first")


def move_in(partial: Path, to: Path, name: str, rows: list[list[object]]) -> None:
    """Folders `partial`/INSTRUMENT to their places in `to`, then the table that names them: all or nothing.

    Args:
        rows: of sources.csv, in the order of COLUMNS.
    """
    table, lines = to / "sources.csv", io.StringIO()
    before = table.read_bytes() if table.exists() else (",".join(COLUMNS) + "\n").encode()
    end = "\r\n" if b"\r\n" in before else "\n"
    header = next(csv.reader([before.decode("utf-8-sig").splitlines()[0]]))
    writer = csv.DictWriter(lines, header, restval="", extrasaction="ignore", lineterminator=end)
    writer.writerows(dict(zip(COLUMNS, row, strict=True)) for row in rows)
    glue = b"" if before.endswith(b"\n") else end.encode()
    (partial / table.name).write_bytes(before + glue + lines.getvalue().encode())
    moved: list[Path] = []
    try:
        for row in rows:
            place = to / str(row[3]) / name
            place.parent.mkdir(exist_ok=True)
            os.replace(partial / str(row[3]), place)
            moved.append(place)
        os.replace(partial / table.name, table)
    except BaseException:
        for place in moved:
            shutil.rmtree(place, ignore_errors=True)
        raise
