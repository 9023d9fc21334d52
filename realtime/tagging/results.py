"""The results of a run: a file that grows record by record and can be gone on with, or stdout."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from instrec_live.models.fetch.lock import alone
from instrec_live.realtime.errors import UsageError, printable
from instrec_live.realtime.tagging.formats import FORMATS, PARQUET, TaggedCsv, Written
from instrec_live.realtime.tagging.tally import Record

_KEPT = "what is in it is kept; the same command goes on from there"
_WORDS = {"paths": "set of paths", "gate_db": "gate", "per_hop": "--per-hop", "labels": "--labels"}


class Results(Protocol):
    """Where records go, in the order in which they come.

    Attributes:
        done: names of the files that need not be heard again.
    """

    done: frozenset[str]

    def add(self, record: Record) -> None: ...
    def close(self, order: Sequence[str]) -> None:
        """Bring the records into this order of names."""


def growing(path: Path) -> Path:
    """The file that gets record by record: of a Parquet file, which cannot grow, FILE.jsonl, which stays to go on
    from."""
    return path.with_name(path.name + ".jsonl") if path.suffix.lower() == PARQUET else path


class Printed:
    """CSV on stdout, each record as soon as those before it in `order` are there."""

    done: frozenset[str] = frozenset()

    def __init__(self, order: Sequence[str]) -> None:
        self._format = TaggedCsv()
        self._order, self._next = order, 0
        self._early: dict[str, str] = {}
        self._print([self._format.head])

    def add(self, record: Record) -> None:
        """Print it, or keep it until its turn.

        Raises:
            UsageError: stdout takes no more.
        """
        self._early[record.name] = self._format.write(record).text
        ready = []
        while self._next < len(self._order) and (text := self._early.pop(self._order[self._next], None)) is not None:
            ready.append(text)
            self._next += 1
        self._print(ready)

    def close(self, order: Sequence[str]) -> None:
        """Print what is left of a run that was stopped."""
        self._print([self._early.pop(name) for name in order if name in self._early])

    def _print(self, texts: Sequence[str]) -> None:
        try:
            sys.stdout.write("".join(texts))
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise UsageError(f"stdout cannot be written: {error.strerror}") from error


class ResultsFile:
    """A file that gets each record in one piece, and beside it FILE.json, which says how all of them were made.

    A file from an earlier run is gone on with: whole records without an error count as done, what a killed run left
    of a record at the end is cut off.

    Args:
        path: ends in .csv, .jsonl or .parquet. See `growing` for the last.
        facts: all that the results depend on, ready for JSON.
        force: begin anew, whatever is there.

    Raises:
        UsageError: the file is of another kind, was made in another way, is being written by another run, or cannot
            be written.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any], force: bool) -> None:
        self._facts = path.with_name(path.name + ".json")
        self._table: Path | None = None  # to be made of the records at the end
        if growing(path) != path:
            self._table, path = path, growing(path)
        self.path = path
        if self._table is not None and os.path.exists(self._table) and not os.path.exists(path) and not force:
            raise self._foreign(f"there is no {path.name} to go on from", self._table)
        self._format = FORMATS[path.suffix.lower()]
        with ExitStack() as begun:
            try:
                begun.enter_context(alone(_lock(path), f"{path} is being written by another run"))
                self._file: BinaryIO = begun.enter_context(open(path, "ab", buffering=0))
                earlier = [] if force else self._earlier(facts)
                self._begin(facts, earlier)
            except OSError as error:
                raise self._unwritable(error) from error
            self._held = begun.pop_all()  # the file and its lock, until `close`
        self._written = {written.name: written for written in earlier}  # of a file tried again, the last
        self.done = frozenset(written.name for written in self._written.values() if not written.failed)

    def add(self, record: Record) -> None:
        """Append a record.

        Raises:
            UsageError: there is no room for it any more.
        """
        written = self._format.write(record)
        try:
            _append(self._file, written.text)
        except OSError as error:
            raise self._unwritable(error, _KEPT) from error
        self._written[record.name] = written

    def close(self, order: Sequence[str]) -> None:
        """Put the records in this order of names; those of files that are no longer there come last."""
        first = {name: self._written[name] for name in order if name in self._written}
        texts = [written.text for written in (first | self._written).values()]
        with self._held:  # no other run may begin before all is in its place
            try:
                self._file.close()  # Windows replaces no open file
                _replace(self.path, "".join([self._format.head, *texts]))
                if self._table is not None:
                    from instrec_live.realtime.tagging import parquet

                    parquet.write(self._table, texts)
            except OSError as error:
                raise self._unwritable(error, _KEPT) from error

    def _earlier(self, facts: Mapping[str, Any]) -> list[Written]:
        """The whole records of an earlier run, as they stand in the file."""
        data = self.path.read_bytes()
        if not data:
            return []
        before = self._facts_before()
        try:
            whole = data[: data.rfind(b"\n") + 1].decode("utf-8")  # what comes after it, a killed run left
            if not whole.startswith(self._format.head[: len(whole)]):
                raise ValueError("line 1 is not what was written there")
            written = list(self._format.read(whole.split("\n")[self._format.head.count("\n") : -1]))
        except ValueError as error:
            raise self._foreign(str(error)) from error
        other = [key for key in facts if json.loads(json.dumps(facts[key])) != before.get(key)]
        if written and other:
            raise UsageError(
                f"{self.path} was made with another {', another '.join(_WORDS.get(key, key) for key in other)}"
                + (f": {_short(before.get(other[0]))}, not {_short(facts[other[0]])}" if len(other) == 1 else ""),
                "choose another --output, or begin anew with --force",
            )
        return written

    def _facts_before(self) -> dict[str, Any]:
        try:
            before = json.loads(self._facts.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise self._foreign(f"there is no {self._facts.name} that says how it was made") from None
        except ValueError as error:
            raise self._foreign(f"{self._facts.name} is not valid JSON") from error
        return before if isinstance(before, dict) else {}

    def _begin(self, facts: Mapping[str, Any], written: Sequence[Written]) -> None:
        """Leave nothing in the file but whole records."""
        if not written:
            created = datetime.now(UTC).isoformat(timespec="seconds")
            _replace(self._facts, json.dumps({**facts, "created": created}, indent=2) + "\n")
            self._file.truncate(0)
            _append(self._file, self._format.head)
        else:
            self._file.truncate(len("".join([self._format.head, *(each.text for each in written)]).encode()))

    def _foreign(self, why: str, path: Path | None = None) -> UsageError:
        return UsageError(
            f"{path or self.path} exists and cannot be gone on with: {why}",
            "choose another --output, or replace it with --force",
        )

    def _unwritable(self, error: OSError, hint: str | None = None) -> UsageError:
        return UsageError(f"{self.path} cannot be written: {error.strerror}", hint)


def _append(file: BinaryIO, text: str) -> None:
    """All of the text; a full disk may take only some of it without a word."""
    data = text.encode()
    while data:
        data = data[file.write(data) :]


def _replace(path: Path, text: str) -> None:
    path = Path(os.path.realpath(path))  # a link stays one
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8", newline="")
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _lock(path: Path) -> Path:
    """The file that says that somebody writes this one, by whatever link."""
    path = Path(os.path.realpath(path))
    return path.with_name(f".{path.name}.lock")


def _short(value: object) -> str:
    text = printable(json.dumps(value))
    return text if len(text) <= 60 else text[:57] + "…"
