"""JSON Lines: a header, one line per update, label and change, a summary; each an object with a "type"."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.outputs.sink import Sink, Summary
from instrec_live.realtime.update import Update


class JsonLines(Sink):
    """Everything, as it comes. `channel`, if given, stands in each line: the name of this source among others."""

    def __init__(self, file: TextIO, head: Mapping[str, Any], channel: str | None = None) -> None:
        self._file, self._channel = file, channel
        self._line(head)

    def write(self, update: Update) -> None:
        line = {
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
        self._line(line | {name: True for name in ("jumped", "gap", "no_signal") if getattr(update, name)})

    def label(self, time: float, text: str) -> None:
        self._line({"type": "label", "time": round(time, 3), "text": text})

    def change(self, record: Mapping[str, Any]) -> None:
        self._line(record)

    def close(self, summary: Summary) -> None:
        self._line({"type": "summary", **asdict(summary)})

    def _line(self, content: Mapping[str, Any]) -> None:
        if self._channel is not None:
            content = {"type": content["type"], "channel": self._channel, **content}
        self._file.write(json.dumps(content, allow_nan=False) + "\n")
        self._file.flush()


def _by_instrument(probabilities: NDArray[np.float32]) -> dict[str, float]:
    return {name: round(float(p), 4) for name, p in zip(INSTRUMENTS, probabilities, strict=True)}
