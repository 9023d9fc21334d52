"""A tidy CSV, and beside it what a table has no place for."""

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.outputs.files import write_whole
from instrec_live.realtime.outputs.sink import Sink, Summary
from instrec_live.realtime.update import State, Update


class TidyCsv(Sink):
    """One row per hop and instrument: time, instrument, probability, active and gap (1 or 0)."""

    def __init__(self, file: TextIO, head: Mapping[str, Any]) -> None:
        self._file, self._csv = file, csv.writer(file, lineterminator="\n")
        self._csv.writerow(["time", "instrument", "probability", "active", "gap"])
        file.flush()

    def write(self, update: Update) -> None:
        if update.state is State.DEVICE_LOST:  # no hop: one a second, all of the same time
            return
        time = round(update.time, 3)
        for name, p in zip(INSTRUMENTS, update.probabilities, strict=True):
            self._csv.writerow([time, name, round(float(p), 4), int(name in update.active), int(update.gap)])
        self._file.flush()

    def close(self, summary: Summary) -> None:
        self._file.flush()


class Sidecar(Sink):
    """A JSON file beside a CSV: the header at once, labels and changes as they come, the summary at the end."""

    def __init__(self, path: Path, head: Mapping[str, Any], force: bool) -> None:
        self._path = path
        self._content: dict[str, Any] = {"header": dict(head), "labels": [], "changes": []}
        self._save(force)

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

    def _save(self, force: bool = True) -> None:
        write_whole(self._path, (json.dumps(self._content, indent=1, allow_nan=False) + "\n").encode(), force)
