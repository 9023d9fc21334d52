"""Updates as data: JSON Lines, a tidy CSV with a JSON file next to it, and plain lines to read."""

import csv
import errno
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.files import atomic_text
from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.realtime.outputs.sink import ChangeTimes, Sink, Summary
from instrec_live.realtime.stream.update import State, Update

# A tidy CSV, and a JSON file for what does not fit into a table.


class TidyCsv(Sink):
    """One row per hop and instrument: time, instrument, probability, active and gap (1 or 0)."""

    def __init__(self, file: TextIO, head: Mapping[str, Any]) -> None:
        self._file, self._csv = file, csv.writer(file, lineterminator="\n")
        self._instruments = instruments_of(head)
        self._csv.writerow(["time", "instrument", "probability", "active", "gap"])
        file.flush()

    def write(self, update: Update) -> None:
        if update.state is State.DEVICE_LOST:  # no hop: one a second, all of the same time
            return
        time = round(update.time, 3)
        for name, p in zip(update.instruments, update.probabilities, strict=True):
            if name not in self._instruments:
                continue
            self._csv.writerow([time, name, round(float(p), 4), int(name in update.active), int(update.gap)])
        self._file.flush()

    def close(self, summary: Summary) -> None:
        self._file.flush()


class Sidecar(Sink):
    """The JSON file of a CSV: the header at once, labels and changes as they occur, the summary at the end."""

    keeps_labels = True

    def __init__(self, path: Path, head: Mapping[str, Any], force: bool) -> None:
        self._path = path
        self._content: dict[str, Any] = {"header": dict(head), "labels": [], "changes": []}
        if not force and os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        self._save()

    def write(self, update: Update) -> None:
        pass

    def label(self, time: float, text: str) -> None:
        self._content["labels"].append({"time": round(time, 3), "text": text})
        self._save()

    def change(self, record: Mapping[str, Any]) -> None:
        self._content["changes"].append(dict(record))
        self._save()

    def close(self, summary: Summary) -> None:
        self._content["summary"] = asdict(summary)
        self._save()

    def _save(self) -> None:
        # The user did not give this name: a link of that name is replaced, not followed.
        atomic_text(self._path, json.dumps(self._content, indent=1, allow_nan=False) + "\n")


# Plain lines to read: entries and exits.


class Changes(Sink):
    """One line for each onset and offset, for people: `00:12.5  + piano .83`.

    `channel`, if given, is in each line: the name of this source among others. `head` is the run's header.
    """

    def __init__(self, file: TextIO, channel: str | None = None, head: Mapping[str, Any] | None = None) -> None:
        self._file = file
        self._times = ChangeTimes(head or {})
        self._before: float | None = None
        self._gap = "  " if channel is None else f"  {channel}  "
        self._active: tuple[str, ...] = ()

    def write(self, update: Update) -> None:
        time = clock(self._times.of(update, self._before))
        self._before = update.time
        for name in self._active:
            if name not in update.active:
                self._file.write(f"{time}{self._gap}- {DISPLAY_NAMES[name]}\n")
        for name in update.active:
            if name not in self._active:
                p = update.probability(name)
                number = f"{min(p, 0.99):.2f}".removeprefix("0")
                self._file.write(f"{time}{self._gap}+ {DISPLAY_NAMES[name]} {number}\n")
        if update.active != self._active:
            self._file.flush()
        self._active = update.active

    def label(self, time: float, text: str) -> None:
        self._file.write(f"{clock(time)}{self._gap}* {text}\n")
        self._file.flush()

    def close(self, summary: Summary) -> None:
        self._file.flush()


def clock(seconds: float) -> str:
    """12.5 -> 00:12.5, 3723 -> 1:02:03.0."""
    minutes, tenths = divmod(round(seconds * 10), 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:" if hours else "") + f"{minutes:02d}:{tenths / 10:04.1f}"


def moment(seconds: float, tenths: bool = False) -> str:
    """90 -> 1:30, 3723 -> 1:02:03."""
    whole, tenth = divmod(round(seconds * 10), 10) if tenths else (round(seconds), 0)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
    return f"{text}.{tenth}" if tenths else text


class JsonLines(Sink):
    """A header, one line per update, label and change, and a summary, each an object with a "type".

    `channel`, if given, is in each line: the name of this source among others.
    """

    keeps_labels = True

    def __init__(self, file: TextIO, head: Mapping[str, Any], channel: str | None = None) -> None:
        self._file, self._channel, self._instruments = file, channel, instruments_of(head)
        self._hop = head.get("hop", 0.5)
        self._line(head)

    def write(self, update: Update) -> None:
        self._line(update_record(update, self._instruments) | self._length(update))

    def label(self, time: float, text: str) -> None:
        self._line({"type": "label", "time": round(time, 3), "text": text})

    def change(self, record: Mapping[str, Any]) -> None:
        self._line(record)

    def close(self, summary: Summary) -> None:
        self._line({"type": "summary", **asdict(summary)})

    def _length(self, update: Update) -> dict[str, float]:
        """How much sound the update is about, where that is not a hop."""
        seconds = update.sound_s
        if seconds is None or math.isclose(seconds, self._hop, abs_tol=5e-4):
            return {}
        return {"sound_s": round(seconds, 3)}

    def _line(self, content: Mapping[str, Any]) -> None:
        if self._channel is not None:
            content = {"type": content["type"], "channel": self._channel, **content}
        self._file.write(json.dumps(content, allow_nan=False) + "\n")
        self._file.flush()


def instruments_of(head: Mapping[str, Any]) -> tuple[str, ...]:
    """Those that a run listened for, by its header."""
    return tuple(head.get("instruments", INSTRUMENTS))


def update_record(update: Update, instruments: Sequence[str] | None = None) -> dict[str, Any]:
    """An update as JSON can hold it, with the probabilities of these instruments (None: all)."""
    record = {
        "type": "update",
        "time": round(update.time, 3),
        "probabilities": _by_instrument(update, update.probabilities, instruments, unknown=False),
        "active": list(update.active),
        "by_model": {name: _by_instrument(update, p, instruments) for name, p in update.by_model.items()},
        "level_db": round(update.level_db, 1),
        "peak_db": round(update.peak_db, 1),
        "state": update.state.value,
        "age_s": round(update.age_s, 3),
        "skipped": update.skipped,
        "xruns": update.xruns,
        "bad_samples": update.bad_samples,
        **({} if update.kind is None else {"kind": update.kind, "also": dict(update.also)}),
    }
    return record | {name: True for name in ("jumped", "gap", "no_signal") if getattr(update, name)}


def _by_instrument(
    update: Update, probabilities: NDArray[np.float32], instruments: Sequence[str] | None, unknown: bool = True
) -> dict[str, float]:
    """`unknown`: leave out the instruments that a network does not know, which are NaN."""
    pairs = zip(update.instruments, probabilities.tolist(), strict=True)
    some = [(name, p) for name, p in pairs if instruments is None or name in instruments]
    return {name: round(p, 4) for name, p in some if not (unknown and math.isnan(p))}
