"""The protocol of all outputs, several outputs as one, and the summary of a run."""

import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from queue import Empty, SimpleQueue
from typing import Any, ClassVar, TextIO

from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.models.segments import Segment
from instrec_live.realtime.outputs.files import close_file, cut_back, size_of
from instrec_live.realtime.stream.capture import Drift
from instrec_live.realtime.stream.smoothing import Smoothing
from instrec_live.realtime.stream.update import StreamInfo, Update

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Summary:
    """The summary of a run.

    Attributes:
        updates: how many.
        time: of the last update, s.
        ended: "end" of the sound, "stopped" by the user, or "failed".
        active_seconds: how long each instrument that sounded at all was active, s.
        skipped, xruns, bad_samples: as of the last update.
        drift_s: how far the device's clock is ahead of this machine's, s; None where it was not measured.
        drift_ppm: how much faster it runs, in millionths; None before five minutes.
        heard_s: seconds of sound; what was played twice counts twice.
    """

    updates: int
    time: float
    ended: str
    active_seconds: dict[str, float]
    skipped: int
    xruns: int
    bad_samples: int
    drift_s: float | None = None
    drift_ppm: float | None = None
    heard_s: float = 0.0

    @property
    def in_words(self) -> str:
        """ "piano 12.5 s, voice 3.0 s", the longest first."""
        longest = sorted(self.active_seconds.items(), key=lambda item: -item[1])
        return ", ".join(f"{DISPLAY_NAMES[name]} {s:.1f} s" for name, s in longest) or "no instrument recognised"


class Sink(ABC):
    """One output. Raises OSError when it cannot be written; it ignores what it cannot hold.

    Attributes:
        keeps_labels: whether a label is still there after the run.
    """

    keeps_labels: ClassVar[bool] = False

    @abstractmethod
    def write(self, update: Update) -> None: ...

    def label(self, time: float, text: str) -> None:  # noqa: B027 - not every sink can
        """A label of the user at `time`, s; `text` is one line."""

    def change(self, record: Mapping[str, Any]) -> None:  # noqa: B027
        """Something about the run has changed: {"type": "thresholds", "source", "lost" or "found",
        "time": s, …}.
        """

    def pause(self, paused: bool, time: float, jumped: bool = False) -> None:  # noqa: B027
        """A file is paused at `time` (s), or resumed; `jumped`: it was paused before, and has been sought in."""

    def at_end(self, update: Update) -> None:  # noqa: B027
        """A file has ended, and a seek may follow; `update` is the last one, with the state ENDED."""

    @abstractmethod
    def close(self, summary: Summary) -> None: ...


class ControlSink(Sink):
    """Controls an instrument or a program, in which nothing sounds while a file is paused, and from its end on."""

    _paused = False

    def pause(self, paused: bool, time: float, jumped: bool = False) -> None:
        self._paused = paused
        if paused:
            self._release()

    def at_end(self, update: Update) -> None:
        self._release()

    def _sounding(self, update: Update) -> tuple[str, ...]:
        return () if self._paused else update.active  # a late one is of sound before the pause

    @abstractmethod
    def _release(self) -> None:
        """Tell it that nothing sounds."""


class SinkLost(OSError):  # noqa: N818 - describes a message, not the sink
    """A message did not arrive; the next one may."""


class SinkGroup(Sink):
    """Writes everything to its sinks. One that fails (a full disk) is logged and dropped.

    Attributes:
        failed: whether one was dropped.
        hung_up: whether the reader of stdout is gone.
    """

    def __init__(self) -> None:
        self._sinks: list[tuple[str, Sink, TextIO | None]] = []
        self._unheard: set[str] = set()
        self.failed = self.hung_up = False
        self._notices: SimpleQueue[str] = SimpleQueue()

    def add(self, name: str, sink: Sink, file: TextIO | None = None) -> None:
        """Also write to `sink`; `file`, if given, is closed after it, unless it is stdout.

        What a full disk leaves of the sink's last write is cut off, so that the file ends with a whole line.
        """
        self._sinks.append((name, sink, file))

    def write(self, update: Update) -> None:
        self._each(lambda sink: sink.write(update))

    def at_end(self, update: Update) -> None:
        self._each(lambda sink: sink.at_end(update))

    def label(self, time: float, text: str) -> None:
        self._each(lambda sink: sink.label(time, text))

    def change(self, record: Mapping[str, Any]) -> None:
        self._each(lambda sink: sink.change(record))

    def pause(self, paused: bool, time: float, jumped: bool = False) -> None:
        self._each(lambda sink: sink.pause(paused, time, jumped))

    @property
    def keeps_labels_somewhere(self) -> bool:
        """Whether one of them keeps labels."""
        return any(sink.keeps_labels for _, sink, _ in self._sinks)

    def close(self, summary: Summary) -> None:
        """Close every sink and file, even if one of them fails; its error is raised at the end."""
        defects: list[Exception] = []

        def closed(action: Callable[[], None], name: str) -> None:
            try:
                self.guard(name, action)
            except Exception as defect:
                defects.append(defect)

        for name, sink, file in self._sinks:
            failed_before, size = self.failed, None if file is None else size_of(file)
            closed(lambda sink=sink: sink.close(summary), name)  # type: ignore[misc]
            if file is not None and self.failed and not failed_before:
                cut_back(file, size)
            if file is not None and file is not sys.stdout:
                closed(lambda file=file: close_file(file), name)  # type: ignore[misc]
        self._sinks = []
        if defects:
            raise defects[0]

    def notify(self, words: str) -> None:
        """Add a line to the notices. From any thread."""
        self._notices.put(words)

    def notices(self) -> list[str]:
        """Problems since the last call, in short lines. From any thread."""
        lines = []
        with suppress(Empty):
            while True:
                lines.append(self._notices.get_nowait())
        return lines

    def guard(self, name: str, action: Callable[[], None]) -> bool:
        """Run an action of the output `name`; returns whether the output can continue."""
        try:
            action()
        except SinkLost as error:
            if name not in self._unheard:
                self._unheard.add(name)
                log.warning("cannot reach %s: %s; will retry", name, error)
                self._notices.put(f"cannot reach {name}")
        except BrokenPipeError:
            self.hung_up = True
            return False
        except OSError as error:
            return self._give_up(name, error.strerror or str(error))
        else:
            self._unheard.discard(name)
        return True

    def _each(self, action: Callable[[Sink], None]) -> None:
        kept = []
        for name, sink, file in self._sinks:
            size = None if file is None else size_of(file)
            if self.guard(name, lambda sink=sink: action(sink)):  # type: ignore[misc]
                kept.append((name, sink, file))
            elif file is not None:
                cut_back(file, size)
        self._sinks = kept

    def _give_up(self, name: str, why: str) -> bool:
        log.error("cannot write %s (%s); continuing without it", name, why)
        self._notices.put(f"{name}: {why}; continuing without it")
        self.failed = True
        return False


def in_words(segment: Segment) -> str:
    """ "piano 0.87": an instrument, and the mean of its probability."""
    return f"{DISPLAY_NAMES[segment.name]} {segment.mean:.2f}"


@cache
def _version() -> str:
    return version("instrec-live")  # reads a file


def header(info: StreamInfo, smoothing: Smoothing, gate_db: float) -> dict[str, Any]:
    """The run's parameters, as JSON can hold them."""
    return {
        "type": "header",
        "program": "instrec-live",
        "version": _version(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": info.source,
        "rate": info.source_rate,
        "channels": info.source_channels,
        "start": round(info.start, 3),
        "duration": None if info.duration is None else round(info.duration, 3),
        "hop": info.hop,
        "pace": info.pace,
        "decisions": info.decisions,
        "engine": info.engine,
        "models": dict(info.sha256s),
        "weights": dict(info.weights),
        **threshold_record(info),
        "model_thresholds": {model: rounded(thresholds, info) for model, thresholds in info.model_thresholds.items()},
        "gate_db": gate_db,
        "smoothing": asdict(smoothing),
        "instruments": list(info.instruments),
    }


def threshold_record(info: StreamInfo) -> dict[str, dict[str, float]]:
    """The thresholds in force, those that switch on and those that switch off, as JSON holds them."""
    return {"thresholds": rounded(info.thresholds, info), "off_thresholds": rounded(info.off_thresholds, info)}


def rounded(thresholds: Mapping[str, float], info: StreamInfo) -> dict[str, float]:
    """Of the instruments listened for, to four digits."""
    return {name: round(each, 4) for name, each in thresholds.items() if name in info.instruments}


def day_of(head: Mapping[str, Any]) -> str:
    """When the run began, for people: "2026-11-24 20:13 UTC"."""
    created = str(head.get("created", ""))
    try:
        return datetime.fromisoformat(created).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError):  # outside the years 1 to 9999 in UTC
        return created


def goes_on(update: Update, before: float | None) -> bool:
    """Whether the sound of an update follows that of the update at time `before`, s (None: no such)."""
    return before is not None and not update.jumped and update.time >= before


def hop_began(update: Update, hop: float) -> float:
    """When the sound of an update that follows no other began, s."""
    return max(0.0, update.time - (hop if update.sound_s is None else update.sound_s))


def applies_from(update: Update, before: float | None, hop: float, decisions: str) -> float:
    """The time from which an update applies, s.

    A live update applies from its own time on. One that was decided with look-ahead applies
    for the whole hop that it ends.

    Args:
        update: the update.
        before: time of the update before it, s, or None.
        hop: of the run, s.
        decisions: of the run, "causal" or "lookahead".
    """
    if decisions != "lookahead":
        return update.time
    return before if before is not None and goes_on(update, before) else hop_began(update, hop)


class ChangeTimes:
    """`applies_from` for a run.

    Args:
        head: of the run.
    """

    def __init__(self, head: Mapping[str, Any]) -> None:
        self._hop, self._decisions = float(head.get("hop", 0.5)), str(head.get("decisions"))

    def of(self, update: Update, before: float | None) -> float:
        """`before`: time of the update before it, s, or None."""
        return applies_from(update, before, self._hop, self._decisions)


@dataclass(slots=True)
class _Open:
    """A segment that has not ended."""

    onset: float
    hops: int = 0
    total: float = 0.0
    peak: float = 0.0


class SegmentTracker:
    """Turns updates into segments, each given when it ends. A jump in the sound ends all of them.

    Args:
        head: of the run.
    """

    def __init__(self, head: Mapping[str, Any]) -> None:
        self._open: dict[str, _Open] = {}
        self._times = ChangeTimes(head)
        self._time: float | None = None

    def after(self, update: Update) -> list[Segment]:
        """The segments that end with this update, in order of onset."""
        before, now = self._time, self._times.of(update, self._time)
        if before is None or goes_on(update, before):
            ended = self._ended([name for name in self._open if name not in update.active], now)
        else:
            ended = self._ended(list(self._open), before)
        self._time = update.time
        for name in update.active:
            p = round(update.probability(name), 4)  # as JSON lines have it
            each = self._open.setdefault(name, _Open(now))
            each.hops, each.total, each.peak = each.hops + 1, each.total + p, max(each.peak, p)
        return ended

    def unfinished(self) -> list[tuple[float, float, str]]:
        """Onset, time of the last update, s, and name of each open segment."""
        return [(each.onset, self._time or 0.0, name) for name, each in self._open.items()]

    def rest(self) -> list[Segment]:
        """The open segments, ended at the last update."""
        return self._ended(list(self._open), self._time or 0.0)

    def _ended(self, names: list[str], offset: float) -> list[Segment]:
        ended = [(name, self._open.pop(name)) for name in names]
        return [Segment(name, each.onset, offset, each.total / each.hops, each.peak) for name, each in ended]


class SummaryBuilder:
    """Counts updates and how long each instrument was active.

    Attributes:
        last: the latest update, None before the first.
    """

    def __init__(self, hop: float) -> None:
        self._hop = hop
        self._updates = 0
        self._heard = 0.0
        self._active_seconds: dict[str, float] = {}
        self.last: Update | None = None

    @property
    def time(self) -> float:
        """Of the latest update, s; 0 before the first."""
        return self.last.time if self.last else 0.0

    def note(self, update: Update) -> None:
        since = self.time if self.last and goes_on(update, self.time) else hop_began(update, self._hop)
        for name in update.active:
            self._active_seconds[name] = self._active_seconds.get(name, 0.0) + update.time - since
        self._heard += update.time - since
        self.last = update
        self._updates += 1

    def summary(self, ended: str, drift: Drift | None = None) -> Summary:
        """The summary so far; `ended` as in `Summary`."""
        last = self.last
        return Summary(
            updates=self._updates,
            time=round(self.time, 3),
            ended=ended,
            active_seconds={name: round(s, 3) for name, s in self._active_seconds.items()},
            skipped=last.skipped if last else 0,
            xruns=last.xruns if last else 0,
            bad_samples=last.bad_samples if last else 0,
            drift_s=None if drift is None else round(drift.seconds, 4),
            drift_ppm=None if drift is None or drift.ppm is None else round(drift.ppm, 1),
            heard_s=round(self._heard, 3),
        )
