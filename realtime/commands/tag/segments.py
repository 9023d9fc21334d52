"""The second table of a run: when each instrument sounded in each file; and the table that has one row a file."""

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from instrec_live.models.errors import cannot_begin, write_failed
from instrec_live.models.files import atomic_text
from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.realtime.commands.tag.results import KINDS, Record
from instrec_live.realtime.errors import UsageError
from instrec_live.realtime.outputs.tables import moment

COLUMNS = ("file", "instrument", "kind", "start", "end", "mean", "peak")


def rows_of(record: Record) -> list[tuple[Any, ...]]:
    """The segments of a file: its instruments, and then what kind of sound it is."""
    rows: list[tuple[Any, ...]] = [
        (
            record.name,
            each.name,
            None,
            round(each.onset, 3),
            round(each.offset, 3),
            round(each.mean, 4),
            round(each.peak, 4),
        )
        for each in record.segments
    ]
    return rows + [(record.name, None, kind, round(a, 3), round(b, 3), None, None) for kind, a, b in record.kinds]


def text_of(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


class SegmentsFile:
    """Gets the segments of each file in one piece, before its record is written, so that a run that is resumed has
    those of every file that is done.

    Args:
        path: of the CSV.
        done: names of the files whose segments an earlier run has written.
        force: replace what is there.

    Raises:
        UsageError: it is no such table, or cannot be written.
    """

    def __init__(self, path: Path, done: Iterable[str], force: bool) -> None:
        self._path = path
        self._texts: dict[str, str] = {}
        done = frozenset(done)
        try:
            if done and not os.path.exists(path):
                raise _foreign(path, "there is no such file")
            if not force and (done or filled(path)):
                self._texts = _read(path, done)
            atomic_text(self._real, text_of([COLUMNS]) + "".join(self._texts.values()))
            self._file: TextIO = open(path, "a", encoding="utf-8", newline="")  # noqa: SIM115 - until `close`
        except OSError as error:
            raise cannot_begin(path, error) from error

    @property
    def _real(self) -> Path:
        return Path(os.path.realpath(self._path))  # a link stays one

    def add(self, record: Record) -> None:
        """Append the segments of a file.

        Raises:
            OutputError: there is no room for them.
        """
        self._texts[record.name] = text_of(rows_of(record))
        try:
            self._file.write(self._texts[record.name])
            self._file.flush()
        except OSError as error:
            raise write_failed(self._path, error) from error

    def close(self, order: Sequence[str]) -> None:
        """Bring the files into this order of names; those that are no longer there come last."""
        first = {name: self._texts[name] for name in order if name in self._texts}
        try:
            with suppress(OSError):
                self._file.close()
            atomic_text(self._real, text_of([COLUMNS]) + "".join((first | self._texts).values()))
        except OSError as error:
            raise write_failed(self._path, error) from error


def filled(path: Path) -> bool:
    """Whether there is a file that is not empty."""
    return os.path.exists(path) and os.path.getsize(path) > 0


def _read(path: Path, done: frozenset[str]) -> dict[str, str]:
    """The segments of files that are done, as an earlier run has written them; a cut line at the end is of another."""
    texts: dict[str, str] = {}
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            if tuple(next(rows, ())) != COLUMNS:
                raise _foreign(path, "line 1 is not what was written there")
            for row in rows:
                if len(row) == len(COLUMNS) and row[0] in done:
                    texts[row[0]] = texts.get(row[0], "") + text_of([row])
    except (UnicodeDecodeError, csv.Error) as error:
        raise _foreign(path, str(error)) from error
    return texts


def _foreign(path: Path, why: str) -> UsageError:
    return UsageError(f"cannot resume {path}: {why}", "start over with --force")


def wide(records: Iterable[Mapping[str, Any]], instruments: Sequence[str]) -> str:
    """One row a file, a column for the active seconds of each instrument, of the rows of the tidy table."""
    head = ("file", "duration_s", "silence_s", *(f"{kind}_s" for kind in KINDS), *instruments, "error")
    rows: dict[str, dict[str, Any]] = {}
    for record in records:
        row = rows.setdefault(record["file"], {name: record[name] for name in head if name in record})
        if record["instrument"]:
            row[record["instrument"]] = record["active_seconds"]
    text = io.StringIO()
    writer = csv.DictWriter(text, head, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows.values())
    return text.getvalue()


def write_wide(path: Path, rows: Iterable[Mapping[str, Any]], instruments: Sequence[str]) -> None:
    """Write that table.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        atomic_text(Path(os.path.realpath(path)), wide(rows, instruments))
    except OSError as error:
        raise write_failed(path, error) from error


_MOST = 8  # segments in a line


def in_words(record: Record) -> str:
    """ "piano 0:20–1:02, violin 0:41–1:10; speech 12 s": the longest segments, in order of time."""
    longest = sorted(record.segments, key=lambda each: each.onset - each.offset)[:_MOST]
    kept = [each for each in record.segments if each in longest]
    parts = [f"{DISPLAY_NAMES[each.name]} {moment(each.onset)}–{moment(each.offset)}" for each in kept]
    left = len(record.segments) - len(kept)
    words = ", ".join(parts) + (f" and {left} more" if left else "")
    kinds = [f"{kind} {seconds:.0f} s" for kind, seconds in record.kinds_s.items() if kind != "music" and seconds >= 1]
    return "; ".join([words or "no instrument recognised", *([", ".join(kinds)] if kinds else [])])
