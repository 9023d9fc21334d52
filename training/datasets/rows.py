"""Rows of a csv file with a header, checked before anyone relies on them."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from instrec_live.models.errors import InputFileError

Row = dict[str, str]


def read_rows(path: Path, columns: Sequence[str]) -> tuple[list[str], list[tuple[int, Row]]]:
    """The header, and every row with the number of the line it ends on.

    Raises:
        InputFileError: no such file, no csv, one of `columns` is missing, or a row is shorter than the header.
    """
    if not path.is_file():
        raise InputFileError(f"{path}: not found")
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            header = list(reader.fieldnames or [])
            for column in columns:
                if column not in header:
                    raise InputFileError(f"{path}: column {column!r} is missing")
            return header, list(_whole(path, reader))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputFileError(f"{path}: not a csv file: {error}") from error


def _whole(path: Path, reader: "csv.DictReader[str]") -> Iterator[tuple[int, Row]]:
    for row in reader:
        if None in row.values():
            raise InputFileError(f"{path}, line {reader.line_num}: shorter than the header")
        yield reader.line_num, row
