"""One run for many viewers: its newest records, its last ten minutes, and how far each viewer has read."""

import json
import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from math import floor
from typing import Any

import numpy as np

from instrec_live.models.audioset import OTHER_NAMES
from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.realtime.outputs import Sink, Summary, instruments_of, update_record
from instrec_live.realtime.stream.activity import Decision
from instrec_live.realtime.stream.health import reason
from instrec_live.realtime.stream.update import State, Update

SPAN = 600.0  # s of the past that a viewer who comes late is given
MAX_LAG = 20  # records a source that a viewer may be behind before it skips to the newest
MAX_EVENTS = 300  # of a source: entries, exits, labels
_MIN_STEP = 0.5  # s; a shorter hop shares a column of the history with its neighbours

_END_TYPES = frozenset({"summary", "error"})  # the last record of a source


@dataclass(frozen=True, slots=True)
class Record:
    """One JSON object of the run, encoded once for all viewers.

    Attributes:
        number: its place in the run, 1, 2, …
        source: the name of the source it belongs to; None where there is only one source.
        line: the JSON text, without a newline.
    """

    number: int
    source: str | None
    line: bytes


class Broadcast:
    """Collects the records of a run and gives every viewer what it has not had yet.

    Sources write from their own threads (see `add`); viewers read from the server's (see `Viewer`). Memory does not
    grow with the number of viewers, nor with the length of the run.

    Args:
        sources: the names of the sources, in order, where there are many; empty for a single source.
        discreet: whether viewers do not see why a source failed: the message may contain file names.

    Attributes:
        run: a random name of this run, so that a viewer of an earlier run starts again.
        address: where it is served, for people.
        discreet: as above.
    """

    def __init__(self, sources: Sequence[str] = (), discreet: bool = False) -> None:
        self.discreet = discreet
        self.run = secrets.token_hex(4)
        self.address = ""
        self._names = tuple(sources)
        self._lock = threading.Lock()  # of all that follows
        self._number = 0
        self._records: deque[Record] = deque(maxlen=MAX_LAG * max(1, len(sources)))
        self._sources: dict[str | None, Source] = {}
        self._closed = False
        self._wake: Callable[[], None] | None = None

    def add(self, name: str | None, head: Mapping[str, Any]) -> "Source":
        """A sink for a source that begins with the JSON header `head`. From any thread."""
        names = {each: DISPLAY_NAMES[each] for each in instruments_of(head)}
        source = Source(self, name, {**head, "names": OTHER_NAMES | names})
        self.publish(source.head, source)
        return source

    def fail(self, name: str, error: str) -> None:
        """Report that a source has failed, or could not be opened. From any thread."""
        with self._lock:
            source = self._sources.get(name)
        if self.discreet:
            error = "the source failed"
        self.publish({"type": "error", "error": error}, source or Source(self, name, {"type": "header"}))

    def publish(self, record: Mapping[str, Any], source: "Source") -> None:
        """Give the viewers a record of a source. From any thread."""
        line = encoded(record, source.name)
        with self._lock:
            self._number += 1
            self._records.append(Record(self._number, source.name, line))
            self._sources[source.name] = source
            source.note(record, line)
        self._wake_server()

    def on_news(self, wake: Callable[[], None] | None) -> None:
        """Call `wake`, in the writer's thread, when there is something new; None: no longer."""
        with self._lock:
            self._wake = wake

    def close(self) -> None:
        """Let every viewer go: the program ends."""
        self._closed = True
        self._wake_server()

    @property
    def closed(self) -> bool:
        return self._closed

    def finished(self, source: str | None) -> bool:
        """Whether a source, or all (None), has ended."""
        with self._lock:
            names = [source] if source is not None or not self._names else list(self._names)
            return all(name in self._sources and self._sources[name].finished for name in names)

    def knows(self, source: str) -> bool:
        """Whether there is a source of that name."""
        return source in self._names

    def after(self, number: int | None, source: str | None, begins: bool) -> tuple[int, list[bytes]]:
        """What a viewer lacks.

        Args:
            number: of the last record it has; None for a viewer who has nothing yet.
            source: its only source, or None for all.
            begins: whether it has just connected.

        Returns:
            the number of the last record it has now, and the lines it is to be given. One that has fallen far behind
            gets the newest state, and a record with the number of dropped ones.
        """
        with self._lock:
            newest = self._number
            behind = None if number is None or number > newest else newest - number
            if number is None or behind is None or (begins and behind > len(self._records)):
                return newest, self._snapshot(source, history=True)
            if behind > len(self._records):
                left_out = encoded({"type": "missed", "records": behind}, None)
                return newest, [*self._snapshot(source, history=False), left_out]
            new = (record for record in self._records if record.number > number)
            return newest, [record.line for record in new if source is None or record.source == source]

    def _snapshot(self, source: str | None, history: bool) -> list[bytes]:
        lines = [encoded({"type": "sources", "sources": self._names}, None)] if self._names and source is None else []
        wanted = self._sources.items() if source is None else [(source, self._sources.get(source))]
        for _, each in wanted:
            if each is not None:
                lines += each.snapshot(history)
        return lines

    def _wake_server(self) -> None:
        with self._lock:
            wake = self._wake
        if wake is not None:
            wake()


class Source(Sink):
    """One source of a broadcast: takes its updates, and keeps its last ten minutes.

    Attributes:
        name: None where there is only one.
        head: the JSON header as it would be written now.
        finished: whether nothing more will come.
    """

    def __init__(self, broadcast: Broadcast, name: str | None, head: Mapping[str, Any]) -> None:
        self.name, self.head = name, deepcopy(dict(head))
        self.finished = False
        self._broadcast = broadcast
        self._instruments = instruments_of(head)
        self._history = History(float(head.get("hop", 1.0)), self._instruments)
        self._newest: bytes | None = None  # the update shown now
        self._paused: bytes | None = None  # the record of a pause that lasts
        self._standing: bytes | None = None  # later records that stay valid: ended, lost, the summary

    def write(self, update: Update) -> None:
        why = reason(update)
        record = update_record(update, self._instruments) | {"states": self._states(update)}
        self._broadcast.publish(record | ({"reason": why} if why else {}), self)

    def _states(self, update: Update) -> dict[str, str]:
        """How each active instrument is to be drawn: "on", "held" or "leaving" (see `Activity`)."""
        on_at, off_below = self.head["thresholds"], self.head["off_thresholds"]
        return {
            name: Decision.of(update.probability(name), True, on_at[name], off_below[name]).activity.value
            for name in update.active
            if name in on_at
        }

    def label(self, time: float, text: str) -> None:
        self._broadcast.publish({"type": "label", "time": round(time, 3), "text": text}, self)

    def change(self, record: Mapping[str, Any]) -> None:
        self._broadcast.publish(record, self)

    def pause(self, paused: bool, time: float, jumped: bool = False) -> None:
        record = {"type": "paused", "paused": paused, "time": round(time, 3)}
        self._broadcast.publish(record | ({"jumped": True} if jumped else {}), self)

    def at_end(self, update: Update) -> None:
        self._broadcast.publish({"type": "ended", "time": round(update.time, 3)}, self)

    def close(self, summary: Summary) -> None:
        self._broadcast.publish({"type": "summary", **asdict(summary)}, self)

    def note(self, record: Mapping[str, Any], line: bytes) -> None:
        """Take a record that is being published into the state that late viewers are given. Called by the broadcast,
        under its lock."""
        kind = record["type"]
        if kind == "update":
            self._newest, self._standing = line, None
        elif kind == "paused":
            self._paused = line if record["paused"] else None
            if record.get("jumped"):  # results from elsewhere do not apply here
                self._newest = self._standing = None
        elif kind in ("ended", "lost") or kind in _END_TYPES:
            self._standing = line
        elif kind in ("thresholds", "source", "found"):
            for name in ("thresholds", "off_thresholds", "source", "rate", "channels"):
                if name in record:
                    self.head[name] = record[name]
        self.finished = kind in _END_TYPES
        self._history.note(record)

    def snapshot(self, history: bool) -> list[bytes]:
        """The lines with the present state and (`history`) the last ten minutes, for a new viewer. Called by the
        broadcast, under its lock."""
        lines = [encoded(self.head, self.name)] if "hop" in self.head else []  # else it could not be opened
        if history and lines:
            lines.append(self._history.encoded(self.name))
        return [*lines, *(line for line in (self._newest, self._paused, self._standing) if line is not None)]


class History:
    """The last ten minutes of a source, by columns of at least half a second.

    After a jump backwards, later history is dropped, so that times only rise.
    """

    def __init__(self, hop: float, instruments: Sequence[str] = INSTRUMENTS) -> None:
        self._instruments = instruments
        self.step = max(hop, _MIN_STEP)
        self._columns: deque[_Column] = deque()
        self._events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)
        self._active: tuple[str, ...] = ()
        self._time = 0.0  # s, of the newest update
        self._encoded: bytes | None = None

    def note(self, record: Mapping[str, Any]) -> None:
        """Add a record; those without a time are ignored."""
        kind = record["type"]
        if kind == "update":
            self._note_update(record)
        elif kind in ("label", "lost", "found", "source"):
            self._events.append({name: record[name] for name in ("type", "time", "text", "source") if name in record})
        self._encoded = None

    def encoded(self, source: str | None) -> bytes:
        """The record "history" as JSON: for each column its time (s), the probabilities in percent, and the indices
        of the active instruments; and the events in it."""
        if self._encoded is None:
            columns = self._columns
            content = {
                "type": "history",
                "step": self.step,
                "times": [round(column.time, 3) for column in columns],
                "percent": [column.percent for column in columns],
                "active": [sorted(column.active) for column in columns],
                "events": list(self._events),
            }
            self._encoded = encoded(content, source)
        return self._encoded

    def _note_update(self, record: Mapping[str, Any]) -> None:
        time = float(record["time"])
        if time < self._time:
            self._go_back(time)
        left = self._time if record.get("jumped") and self._time < time else time  # when a jump forward ended all
        self._note_changes(left, time, tuple(record["active"]))
        self._time = time
        if record["state"] == State.DEVICE_LOST.value:
            return
        percent = [round(100 * record["probabilities"][name]) for name in self._instruments]
        active = {self._instruments.index(name) for name in record["active"]}
        cell = floor(time / self.step + 1e-6)
        if self._columns and self._columns[-1].cell == cell:
            last = self._columns.pop()
            percent, active = np.maximum(percent, last.percent).tolist(), active | last.active
        self._columns.append(_Column(cell, time, percent, active))
        while self._columns[0].time <= time - SPAN:
            self._columns.popleft()
        while self._events and self._events[0]["time"] <= time - SPAN:
            self._events.popleft()

    def _go_back(self, time: float) -> None:
        """Drop what is later than `time`: an instrument that was active only then gets no exit."""
        while self._columns and self._columns[-1].time > time:
            self._columns.pop()
        kept = [event for event in self._events if event["time"] <= time]
        self._events.clear()
        self._events.extend(kept)
        latest = {event["name"]: event["type"] for event in kept if "name" in event}
        sounded = self._columns[-1].active if self._columns else ()
        names = [self._instruments[n] for n in sorted(sounded)]
        self._active = tuple(name for name in names if latest.get(name) != "exit")

    def _note_changes(self, left: float, time: float, active: tuple[str, ...]) -> None:
        """The exits, at the second `left`, and the entries, at `time`."""
        for name in self._active:
            if name not in active:
                self._events.append({"type": "exit", "time": left, "name": name})
        for name in active:
            if name not in self._active:
                self._events.append({"type": "entry", "time": time, "name": name})
        self._active = active


@dataclass(slots=True)
class _Column:
    cell: int
    time: float
    percent: list[int]
    active: set[int] = field(default_factory=set)


class Viewer:
    """How far one viewer has read.

    Args:
        broadcast: what it reads.
        source: its only source, or None.
        last_id: the last record it had ("RUN.NUMBER"), from an earlier connection; anything else is ignored.
    """

    def __init__(self, broadcast: Broadcast, source: str | None = None, last_id: str = "") -> None:
        self._broadcast, self._source = broadcast, source
        run, _, number = last_id.partition(".")
        known = run == broadcast.run and number.isascii() and number.isdigit() and len(number) < 16
        self._number = int(number) if known else None
        self._begins = True

    @property
    def id(self) -> str:
        """What it has had so far, for `last_id`."""
        return f"{self._broadcast.run}.{self._number or 0}"

    @property
    def finished(self) -> bool:
        """Whether all that it reads has ended."""
        return self._broadcast.finished(self._source)

    def read(self) -> list[bytes]:
        """What is new since the last call, as lines of JSON; at first, the present and the last ten minutes."""
        self._number, lines = self._broadcast.after(self._number, self._source, self._begins)
        self._begins = False
        return lines


def encoded(record: Mapping[str, Any], source: str | None) -> bytes:
    """A record as one line of JSON in ASCII, with its source's name as "channel" where there are many sources."""
    if source is not None:
        record = {"type": record["type"], "channel": source, **record}
    return json.dumps(record, allow_nan=False, separators=(",", ":")).encode("ascii")
