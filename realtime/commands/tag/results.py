"""The results of a run: a file that grows record by record and can be resumed, or stdout."""

import csv
import hashlib
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from instrec_live.models.arrays import DoubleArray
from instrec_live.models.audioset import KIND_ROWS
from instrec_live.models.errors import cannot_begin, write_failed
from instrec_live.models.fetch.lock import file_lock
from instrec_live.models.files import atomic_file, atomic_text, read_regular
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.segments import Segment
from instrec_live.realtime.errors import UsageError, printable
from instrec_live.realtime.outputs import Summary
from instrec_live.realtime.outputs.sink import SegmentTracker
from instrec_live.realtime.stream.update import State, Update

log = logging.getLogger(__name__)

KINDS = tuple(kind for kind in KIND_ROWS if kind != "silence")  # silence has its own column

_MOMENT = 2.0  # s; shorter runs of a kind of sound are ignored

# The figures of a whole recording per instrument.


@dataclass(frozen=True, slots=True)
class Tag:
    """One instrument in one recording.

    Attributes:
        instrument: its name.
        mean: of its probability over all of the sound that is no silence; None if all is silence.
        peak: its highest probability.
        active_seconds: how long it was shown as sounding.
        first_s, last_s: when it came in first and went out last, s from the start; None if it never did.
    """

    instrument: str
    mean: float | None
    peak: float | None
    active_seconds: float
    first_s: float | None
    last_s: float | None


@dataclass(frozen=True, slots=True)
class Record:
    """The result of one file.

    Attributes:
        name: what the results call it.
        duration_s: seconds that were analysed.
        silence_s: how much of that is below the gate.
        tags: one for each instrument listened for, in their order; none if there was no sound.
        error: what is wrong with it, or None. There may be tags of the sound before the fault.
        warning: what is unusual about it, though it was read to its end, or None.
        kinds_s: how long it was music, speech, applause, noise; empty where no network can tell.
        segments: when each instrument sounded, in order of onset.
        kinds: (kind, start, end), s, of the kinds of sound.
    """

    name: str
    duration_s: float | None
    silence_s: float | None
    tags: tuple[Tag, ...]
    error: str | None = None
    warning: str | None = None
    kinds_s: Mapping[str, float] = field(default_factory=dict)
    segments: tuple[Segment, ...] = ()
    kinds: tuple[tuple[str, float, float], ...] = ()


class RecordBuilder:
    """Takes updates, and at the end their summary, as the outputs do; then `record` has it all.

    Args:
        instruments: those listened for.

    Attributes:
        warnings: what was said of the file meanwhile.
    """

    def __init__(self, instruments: Sequence[str] = INSTRUMENTS) -> None:
        self._instruments = instruments
        self._time = self._silence = 0.0
        self._classes = tuple(instruments)  # those of the updates, which may be more
        self._sum: DoubleArray = np.zeros(1)
        self._peak: DoubleArray = np.zeros(1)
        self._tracker = SegmentTracker({})
        self._segments: list[Segment] = []
        self._kinds: list[tuple[str, float, float]] = []
        self._active_seconds: dict[str, float] = {}
        self.warnings: list[str] = []

    def begin(self, head: Mapping[str, Any]) -> None:
        """Take the header of the run."""
        self._tracker = SegmentTracker(head)

    def write(self, update: Update) -> None:
        before, self._time = self._time, update.time
        self._classes = update.instruments
        if update.state is State.QUIET:
            self._silence += update.time - before
        else:
            p = update.probabilities.astype(np.float64)
            self._sum = self._sum + (update.time - before) * p
            self._peak = np.maximum(self._peak, p)
        self._segments += self._tracker.after(update)
        if update.kind is not None:
            if self._kinds and self._kinds[-1][0] == update.kind and self._kinds[-1][2] == before:
                before = self._kinds.pop()[1]
            self._kinds.append((update.kind, before, update.time))

    def close(self, summary: Summary) -> None:
        self._segments += self._tracker.rest()
        self._active_seconds = summary.active_seconds

    def record(self, name: str, error: str | None) -> Record:
        """The result of the file called `name`, and what is wrong with it."""
        warning = "; ".join(dict.fromkeys(self.warnings)) or None
        if not self._time:
            return Record(name, None, None, (), error, warning)
        sound = self._time - self._silence
        first: dict[str, float] = {}
        last: dict[str, float] = {}
        for each in self._segments:
            first[each.name] = min(each.onset, first.get(each.name, each.onset))
            last[each.name] = max(each.offset, last.get(each.name, 0.0))
        tags = tuple(
            Tag(
                instrument,
                mean=round(float(total / sound), 4) if sound > 1e-6 else None,
                peak=round(float(peak), 4) if sound > 1e-6 else None,
                active_seconds=round(self._active_seconds.get(instrument, 0.0), 2),
                first_s=_rounded(first.get(instrument)),
                last_s=_rounded(last.get(instrument)),
            )
            for instrument, total, peak in zip(self._classes, *self._totals(), strict=True)
            if instrument in self._instruments
        )
        kinds = _steady(self._kinds)
        seconds = dict.fromkeys(KINDS, 0.0) if any(kind in KINDS for kind, _, _ in kinds) else {}
        for kind, start, end in kinds:
            if kind in seconds:
                seconds[kind] += end - start
        return Record(
            name,
            round(self._time, 2),
            round(self._silence, 2),
            tags,
            error,
            warning,
            {kind: round(each, 2) for kind, each in seconds.items()},
            tuple(sorted(self._segments, key=lambda each: (each.onset, self._classes.index(each.name)))),
            tuple(kinds),
        )

    def _totals(self) -> tuple[DoubleArray, DoubleArray]:
        """Sums and peaks, one for each class, also if all was silence."""
        count = len(self._classes)
        return np.broadcast_to(self._sum, count), np.broadcast_to(self._peak, count)


def _steady(kinds: Iterable[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """Runs of a kind of sound (kind, start, end), in order; those shorter than a moment belong to what was before."""
    out: list[tuple[str, float, float]] = []
    for kind, start, end in kinds:
        if out and (kind == out[-1][0] or end - start < _MOMENT) and out[-1][2] == start:
            out[-1] = (out[-1][0], out[-1][1], end)
        else:
            out.append((kind, start, end))
    return out


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


# Records as text that can be read back: a tidy CSV, or JSON lines.

COLUMNS = (
    "file", "duration_s", "silence_s", *(f"{kind}_s" for kind in KINDS), "instrument", "mean", "peak",
    "active_seconds", "first_s", "last_s", "error", "warning",
)  # fmt: skip

_ERROR = COLUMNS.index("error")


_NAME = COLUMNS.index("instrument")


@dataclass(frozen=True, slots=True)
class Written:
    """A record as in the results.

    Attributes:
        name: of its file.
        text: its lines, the last newline included.
        failed: whether there is an error in it.
    """

    name: str
    text: str
    failed: bool


class Format(Protocol):
    """The format of records, each in its own lines."""

    head: str

    def write(self, record: Record) -> Written: ...
    def read(self, lines: Sequence[str]) -> Iterator[Written]:
        """The records in these lines (without the head); one that is not whole may only be the last, and is left out.

        Raises:
            ValueError: a line that is not one of ours, with its number.
        """


class TaggedCsv:
    """One row per file and instrument; one row without an instrument for a file without a result.

    Args:
        instruments: those listened for.
    """

    head = ",".join(COLUMNS) + "\n"

    def __init__(self, instruments: Sequence[str] = INSTRUMENTS) -> None:
        self._instruments = instruments

    def write(self, record: Record) -> Written:
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        about = (record.name, record.duration_s, record.silence_s, *(record.kinds_s.get(kind) for kind in KINDS))
        for tag in record.tags:
            rows.writerow((*about, *asdict(tag).values(), record.error, record.warning))
        if not record.tags:
            rows.writerow((*about, *[None] * 6, record.error, record.warning))
        return Written(record.name, text.getvalue(), record.error is not None)

    def read(self, lines: Sequence[str]) -> Iterator[Written]:
        begun: list[str] = []
        for number, line in enumerate(lines, start=2):
            cells = next(csv.reader([line]), [])
            if len(cells) != len(COLUMNS) or cells[_NAME] != (self._instruments[len(begun)] if cells[_NAME] else ""):
                raise ValueError(f"line {number} is not what was written there")
            begun.append(line)
            if len(begun) == len(self._instruments) or not cells[_NAME]:
                yield Written(cells[0], "".join(f"{each}\n" for each in begun), bool(cells[_ERROR]))
                begun = []


class TaggedJsonLines:
    """One object per file, its instruments in an object of theirs."""

    head = ""

    def __init__(self, instruments: Sequence[str] = INSTRUMENTS) -> None:
        """The lines name their instruments themselves."""

    def write(self, record: Record) -> Written:
        content = asdict(record)
        tags = {tag.pop("instrument"): tag for tag in content.pop("tags")}
        kinds = {f"{kind}_s": record.kinds_s.get(kind) for kind in KINDS}
        about = {name: content[name] for name in ("duration_s", "silence_s", "error", "warning")}
        line = {"file": record.name, **about, **kinds, "instruments": tags}
        text = json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"
        return Written(record.name, text, record.error is not None)

    def read(self, lines: Sequence[str]) -> Iterator[Written]:
        for number, line in enumerate(lines, start=1):
            try:
                content = json.loads(line)
                yield Written(content["file"], line + "\n", content["error"] is not None)
            except (ValueError, TypeError, KeyError):
                raise ValueError(f"line {number} is not what was written there") from None


FORMATS: dict[str, Callable[[Sequence[str]], Format]] = {".csv": TaggedCsv, ".jsonl": TaggedJsonLines}

PARQUET = ".parquet"  # made of JSON lines at the end


_FILES = 5_000  # whose rows are in memory at a time


def write_parquet(path: Path, lines: Iterable[str]) -> None:
    """Write the lines of `TaggedJsonLines` as Parquet: the rows and columns of the CSV, typed.

    Raises:
        OSError: it cannot be written.
    """
    import pyarrow
    import pyarrow.parquet

    text, number = pyarrow.string(), pyarrow.float64()
    schema = pyarrow.schema([
        ("file", text), ("duration_s", number), ("silence_s", number),
        *((f"{kind}_s", number) for kind in KINDS), ("instrument", text), ("mean", number),
        ("peak", number), ("active_seconds", number), ("first_s", number), ("last_s", number), ("error", text),
        ("warning", text),
    ])  # fmt: skip
    path = Path(os.path.realpath(path))  # a link stays one
    with atomic_file(path) as file, pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        for count, line in enumerate(lines, start=1):
            rows += _rows(json.loads(line))
            if count % _FILES == 0:
                writer.write_table(pyarrow.Table.from_pylist(rows, schema))
                rows = []
        writer.write_table(pyarrow.Table.from_pylist(rows, schema))


def _rows(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for each instrument; one without for a file without a result."""
    about = {name: content[name] for name in (*COLUMNS[:_NAME], "error", "warning")}
    for instrument, tag in content["instruments"].items():
        yield about | {"instrument": instrument} | tag
    if not content["instruments"]:
        yield about | {"instrument": None}


_KEPT = "its contents are kept; run the same command again to resume"

_WORDS = {"paths": "paths", "segments": "--segments", "gate_db": "gate", "per_hop": "--per-hop", "labels": "--labels"}


class Results(Protocol):
    """Where records go, in the order in which they come.

    Attributes:
        done: names of the files that are done.
    """

    done: frozenset[str]

    def add(self, record: Record) -> None: ...
    def rows(self) -> Iterable[Mapping[str, Any]]:
        """Those of the tidy table so far, by column."""

    def close(self, order: Sequence[str]) -> None:
        """Bring the records into this order of names."""


def growing(path: Path) -> Path:
    """The file that grows record by record: for Parquet, which cannot grow, FILE.jsonl, kept for resuming."""
    return path.with_name(path.name + ".jsonl") if path.suffix.lower() == PARQUET else path


class Printed:
    """CSV on stdout, each record as soon as those before it in `order` are there."""

    done: frozenset[str] = frozenset()

    def __init__(self, order: Sequence[str], instruments: Sequence[str] = INSTRUMENTS) -> None:
        self._format = TaggedCsv(instruments)
        self._order, self._next = order, 0
        self._early: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._print([self._format.head])

    def add(self, record: Record) -> None:
        """Print it, or keep it until its turn.

        Raises:
            OutputError: stdout takes no more.
        """
        self._texts[record.name] = self._early[record.name] = self._format.write(record).text
        ready = []
        while self._next < len(self._order) and (text := self._early.pop(self._order[self._next], None)) is not None:
            ready.append(text)
            self._next += 1
        self._print(ready)

    def rows(self) -> Iterable[Mapping[str, Any]]:
        return csv.DictReader(
            io.StringIO(self._format.head + "".join(self._texts[name] for name in self._order if name in self._texts))
        )

    def close(self, order: Sequence[str]) -> None:
        """Print the rest of an interrupted run."""
        self._print([self._early.pop(name) for name in order if name in self._early])

    def _print(self, texts: Sequence[str]) -> None:
        try:
            sys.stdout.write("".join(texts))
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise write_failed("stdout", error) from error


class ResultsFile:
    """A file to which each record is written at once, and FILE.json, which has the parameters of all of them.

    A file from an earlier run is resumed: complete records without an error count as done; an incomplete record of
    a killed run at the end is cut off.

    Args:
        path: ends in .csv, .jsonl or .parquet. See `growing` for the last.
        facts: all that the results depend on, ready for JSON.
        force: start over, and replace what is there.

    Raises:
        UsageError: the file is of another kind, was made in another way, is being written by another run, or cannot
            be written.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any], force: bool) -> None:
        self._facts = path.with_name(path.name + ".json")
        self._made: dict[str, Any] = {}  # what FILE.json says
        self._table: Path | None = None  # to be made of the records at the end
        if growing(path) != path:
            self._table, path = path, growing(path)
        self.path = path
        if self._table is not None and os.path.exists(self._table) and not os.path.exists(path) and not force:
            raise self._foreign(f"there is no {path.name} to resume from", self._table)
        self._format = FORMATS[path.suffix.lower()](facts.get("instruments", INSTRUMENTS))
        with ExitStack() as begun:
            try:
                begun.enter_context(file_lock(_lock(path), f"{path} is being written by another run"))
                self._file: BinaryIO = begun.enter_context(open(path, "ab", buffering=0))
                earlier = [] if force else self._earlier(facts)
                self._begin(facts, earlier)
            except OSError as error:
                raise cannot_begin(path, error) from error
            self._held = begun.pop_all()  # the file and its lock, until `close`
        self._written = {written.name: written for written in earlier}  # of a file tried again, the last
        self.done = frozenset(written.name for written in self._written.values() if not written.failed)

    def add(self, record: Record) -> None:
        """Append a record.

        Raises:
            OutputError: there is no room for it any more.
        """
        written = self._format.write(record)
        try:
            _append(self._file, written.text)
        except OSError as error:
            raise write_failed(self.path, error, _KEPT) from error
        self._written[record.name] = written

    def close(self, order: Sequence[str]) -> None:
        """Put the records in this order of names; those of files that are no longer there come last."""
        first = {name: self._written[name] for name in order if name in self._written}
        self._written = first | self._written
        texts = [written.text for written in self._written.values()]
        with self._held:  # no other run may begin before all is in its place
            try:
                self._file.close()  # Windows replaces no open file
                whole = "".join([self._format.head, *texts])
                # A link of the user's stays one.
                atomic_text(Path(os.path.realpath(self.path)), whole)
                self._seal(whole.encode())
                if self._table is not None:
                    write_parquet(self._table, texts)
            except OSError as error:
                raise write_failed(self.path, error, _KEPT) from error

    def rows(self) -> Iterable[Mapping[str, Any]]:
        texts = [written.text for written in self._written.values()]
        if self._format.head:
            return csv.DictReader(io.StringIO(self._format.head + "".join(texts)))
        return (row for text in texts for row in _rows(json.loads(text)))

    def _earlier(self, facts: Mapping[str, Any]) -> list[Written]:
        """The complete records of an earlier run."""
        data = self.path.read_bytes()
        if not data:
            return []
        before = self._made = self._facts_before()
        self._check_seal(before, data)
        try:
            whole = data[: data.rfind(b"\n") + 1].decode("utf-8")  # what comes after it, a killed run left
            if not whole.startswith(self._format.head[: len(whole)]):
                raise ValueError("line 1 is not what was written there")
            written = list(self._as_before(before).read(whole.split("\n")[self._format.head.count("\n") : -1]))
        except ValueError as error:
            raise self._foreign(str(error)) from error
        other = [key for key in facts if json.loads(json.dumps(facts[key])) != before.get(key)]
        if written and other:
            raise UsageError(
                f"{self.path} was made with different {' and '.join(_WORDS.get(key, key) for key in other)}"
                + (f": {_short(before.get(other[0]))}, not {_short(facts[other[0]])}" if len(other) == 1 else ""),
                "choose another --output, or start over with --force",
            )
        return written

    def _seal(self, data: bytes) -> None:
        """Note the checksum of the file's content, so that a resumed run detects a change."""
        facts = self._made | {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        atomic_text(self._facts, json.dumps(facts, indent=2) + "\n")

    def _check_seal(self, before: Mapping[str, Any], data: bytes) -> None:
        """Warn of a file that was altered after its run; what a killed run appended has no checksum."""
        length, sha256 = before.get("bytes"), before.get("sha256")
        if isinstance(length, int) and length >= 0 and hashlib.sha256(data[:length]).hexdigest() != sha256:
            log.warning(
                "%s was altered since it was written (its checksum differs); its rows are kept as they are now, "
                "--force starts over",
                self.path,
            )

    def _as_before(self, before: Mapping[str, Any]) -> Format:
        """The format of an earlier run, which may have listened for other instruments."""
        names = before.get("instruments")
        known = isinstance(names, list) and names and all(isinstance(name, str) for name in names)
        return FORMATS[self.path.suffix.lower()](names if known and names else INSTRUMENTS)

    def _facts_before(self) -> dict[str, Any]:
        try:
            before = json.loads(read_regular(self._facts, 10_000_000))
        except FileNotFoundError:
            raise self._foreign(f"there is no {self._facts.name} that says how it was made") from None
        except (ValueError, RecursionError) as error:
            raise self._foreign(f"{self._facts.name} is not valid JSON") from error
        return before if isinstance(before, dict) else {}

    def _begin(self, facts: Mapping[str, Any], written: Sequence[Written]) -> None:
        """Cut the file back to complete records."""
        if not written:
            created = datetime.now(UTC).isoformat(timespec="seconds")
            self._made = {**facts, "created": created}
            atomic_text(self._facts, json.dumps(self._made, indent=2) + "\n")
            self._file.truncate(0)
            _append(self._file, self._format.head)
        else:
            self._file.truncate(len("".join([self._format.head, *(each.text for each in written)]).encode()))

    def _foreign(self, why: str, path: Path | None = None) -> UsageError:
        return UsageError(
            f"cannot resume {path or self.path}: {why}",
            "choose another --output, or replace the file with --force",
        )


def _append(file: BinaryIO, text: str) -> None:
    """Write all of the text; on a full disk a write may be partial without an error."""
    data = text.encode()
    while data:
        data = data[file.write(data) :]


def _lock(path: Path) -> Path:
    """The lock file of this one, the same for every link to it."""
    path = Path(os.path.realpath(path))
    return path.with_name(f".{path.name}.lock")


def _short(value: object) -> str:
    text = printable(json.dumps(value))
    return text if len(text) <= 60 else text[:57] + "…"
