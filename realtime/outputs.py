"""Updates as data: JSON lines, a tidy CSV, Audacity labels, and plain lines to read."""

import csv
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.errors import UsageError
from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.realtime.smoothing import Smoothing
from instrec_live.realtime.update import StreamInfo, Update


@dataclass(frozen=True, slots=True)
class Summary:
    """What there is to say at the end.

    Attributes:
        updates: how many.
        time: of the last update, s.
        ended: "end" of the sound, "stopped" by the user, or "failed".
        active_seconds: how long each instrument that sounded at all was active, s.
        skipped, xruns, bad_samples: as of the last update.
    """

    updates: int
    time: float
    ended: str
    active_seconds: dict[str, float]
    skipped: int
    xruns: int
    bad_samples: int

    @property
    def in_words(self) -> str:
        """ "piano 12.5 s, voice 3.0 s", the longest first."""
        longest = sorted(self.active_seconds.items(), key=lambda item: -item[1])
        return ", ".join(f"{DISPLAY_NAMES[name]} {s:.1f} s" for name, s in longest) or "no instrument recognised"


class Sink(Protocol):
    """Where updates go. Raises OSError when it can take no more."""

    def write(self, update: Update) -> None: ...
    def close(self, summary: Summary) -> None: ...


def header(info: StreamInfo, smoothing: Smoothing, gate_db: float) -> dict[str, Any]:
    """All that a reader of the data needs to know about how it was made."""
    return {
        "type": "header",
        "program": "instrec-live",
        "version": version("instrec-live"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": info.source,
        "rate": info.source_rate,
        "channels": info.source_channels,
        "duration": None if info.duration is None else round(info.duration, 3),
        "hop": info.hop,
        "pace": info.pace,
        "engine": info.engine,
        "models": dict(info.sha256s),
        "weights": dict(info.weights),
        "thresholds": {name: round(level, 4) for name, level in info.thresholds.items()},
        "model_thresholds": {
            model: {name: round(level, 4) for name, level in levels.items()}
            for model, levels in info.model_thresholds.items()
        },
        "gate_db": gate_db,
        "smoothing": asdict(smoothing),
        "instruments": list(INSTRUMENTS),
    }


class JsonLines:
    """A header, one line per update, a summary; each an object with a "type"."""

    def __init__(self, file: TextIO, head: dict[str, Any]) -> None:
        self._file = file
        self._line(head)

    def write(self, update: Update) -> None:
        self._line(
            {
                "type": "update",
                "time": round(update.time, 3),
                "probabilities": _by_instrument(update.probabilities),
                "active": list(update.active),
                "by_model": {name: _by_instrument(p) for name, p in update.by_model.items()},
                "level_db": round(update.level_db, 1),
                "peak_db": round(update.peak_db, 1),
                "state": update.state.value,
                "age_s": round(update.age_s, 3),
                "skipped": update.skipped,
                "xruns": update.xruns,
                "bad_samples": update.bad_samples,
            }
        )

    def close(self, summary: Summary) -> None:
        self._line({"type": "summary", **asdict(summary)})

    def _line(self, content: dict[str, Any]) -> None:
        self._file.write(json.dumps(content, allow_nan=False) + "\n")
        self._file.flush()


def _by_instrument(probabilities: NDArray[np.float32]) -> dict[str, float]:
    return {name: round(float(p), 4) for name, p in zip(INSTRUMENTS, probabilities, strict=True)}


class TidyCsv:
    """One row per update and instrument: time, instrument, probability, active (1 or 0)."""

    def __init__(self, file: TextIO, head: dict[str, Any]) -> None:
        self._file, self._csv = file, csv.writer(file, lineterminator="\n")
        self._csv.writerow(["time", "instrument", "probability", "active"])
        file.flush()

    def write(self, update: Update) -> None:
        time = round(update.time, 3)
        for name, p in zip(INSTRUMENTS, update.probabilities, strict=True):
            self._csv.writerow([time, name, round(float(p), 4), int(name in update.active)])
        self._file.flush()

    def close(self, summary: Summary) -> None:
        self._file.flush()


class Labels:
    """A label track for Audacity: onset, offset and name of each time that an instrument sounds."""

    def __init__(self, file: TextIO, head: dict[str, Any]) -> None:
        self._file = file
        self._onsets: dict[str, float] = {}

    def write(self, update: Update) -> None:
        for name in [name for name in self._onsets if name not in update.active]:
            self._label(name, update.time)
        for name in update.active:
            self._onsets.setdefault(name, update.time)

    def close(self, summary: Summary) -> None:
        for name in list(self._onsets):
            self._label(name, summary.time)

    def _label(self, name: str, offset: float) -> None:
        self._file.write(f"{self._onsets.pop(name):.3f}\t{offset:.3f}\t{DISPLAY_NAMES[name]}\n")
        self._file.flush()


class Changes:
    """One line each time that an instrument comes or goes, for people: `00:12.5  + piano .83`."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._active: tuple[str, ...] = ()

    def write(self, update: Update) -> None:
        time = clock(update.time)
        for name in self._active:
            if name not in update.active:
                self._file.write(f"{time}  - {DISPLAY_NAMES[name]}\n")
        for name in update.active:
            if name not in self._active:
                p = float(update.probabilities[INSTRUMENTS.index(name)])
                self._file.write(f"{time}  + {DISPLAY_NAMES[name]} {min(p, 0.99):.2f}\n".replace(" 0.", " ."))
        if update.active != self._active:
            self._file.flush()
        self._active = update.active

    def close(self, summary: Summary) -> None:
        self._file.flush()


def clock(seconds: float) -> str:
    """12.5 -> 00:12.5, 3723 -> 1:02:03.0."""
    minutes, tenths = divmod(round(seconds * 10), 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:" if hours else "") + f"{minutes:02d}:{tenths / 10:04.1f}"


FORMATS: dict[str, Callable[[TextIO, dict[str, Any]], Sink]] = {".jsonl": JsonLines, ".csv": TidyCsv, ".txt": Labels}


def check_writable(path: Path, force: bool) -> None:
    """Refuse early what could not be written later; creates nothing.

    Raises:
        UsageError: the file exists and `force` is not given, or its folder is missing or closed to us.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder", "name a file in it")
    if path.exists() and not force:
        raise UsageError(f"{path} exists already", "choose another name, or replace it with --force")
    if not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"{path} cannot be written: permission denied")


def open_text(path: Path, force: bool) -> TextIO:
    """A new text file, UTF-8; an existing one is replaced only with `force`.

    Raises:
        UsageError: it cannot be made.
    """
    check_writable(path, force)
    try:
        return open(path, "w" if force else "x", encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
