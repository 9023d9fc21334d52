"""The table as Parquet: the rows and columns of the CSV, typed."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

SCHEMA = pyarrow.schema([
    ("file", pyarrow.string()),
    ("duration_s", pyarrow.float64()),
    ("silence_s", pyarrow.float64()),
    ("instrument", pyarrow.string()),
    ("mean", pyarrow.float64()),
    ("peak", pyarrow.float64()),
    ("active_seconds", pyarrow.float64()),
    ("first_s", pyarrow.float64()),
    ("last_s", pyarrow.float64()),
    ("error", pyarrow.string()),
])  # fmt: skip
_FILES = 5_000  # whose rows are in memory at a time


def write(path: Path, lines: Iterable[str]) -> None:
    """Make the table of lines as `TaggedJsonLines` writes them. It takes its name when all is written.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(os.path.realpath(path))  # a link stays one
    part = path.with_name(path.name + ".part")
    try:
        with pyarrow.parquet.ParquetWriter(part, SCHEMA, compression="zstd") as writer:
            rows: list[dict[str, Any]] = []
            for number, line in enumerate(lines, start=1):
                rows += _rows(json.loads(line))
                if number % _FILES == 0:
                    writer.write_table(pyarrow.Table.from_pylist(rows, SCHEMA))
                    rows = []
            writer.write_table(pyarrow.Table.from_pylist(rows, SCHEMA))
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _rows(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for each instrument; one without for a file of which nothing was heard."""
    about = {name: content[name] for name in ("file", "duration_s", "silence_s", "error")}
    for instrument, tag in content["instruments"].items():
        yield about | {"instrument": instrument} | tag
    if not content["instruments"]:
        yield about
