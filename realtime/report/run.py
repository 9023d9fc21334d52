"""An earlier run, read again from its JSON lines."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from instrec_live.models.errors import InputFileError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import WINDOW_SECONDS
from instrec_live.realtime.drift import Drift
from instrec_live.realtime.errors import printable
from instrec_live.realtime.update import State, Update

_LONGEST = 1_000_000  # bytes; no line of a run is as long
_LAST = 1e9  # s, as --start and --duration
_HINT = "give a file that --json or --output FILE.jsonl has made"


class Run:
    """Opens a file of JSON lines; iterate it once for its records after the header, as JSON has them.

    Args:
        path: of the file.
        channel: of a run of many sources, the name of the one that is meant.

    Attributes:
        head: the header.
        hop: seconds between updates.
        cut_off: how its last line, which was only begun, is to be spoken of; None where there is no such line.

    Raises:
        InputFileError: no such file, or not one of ours; while iterating, a line that is damaged.
    """

    def __init__(self, path: Path, channel: str | None = None) -> None:
        self._path, self._number, self._channel = path, 0, channel
        self.cut_off: str | None = None
        try:
            self._file = open(path, "rb")  # noqa: SIM115 - closed after the last line
        except OSError as error:
            raise InputFileError(f"{path}: {error.strerror}", _HINT) from error
        try:
            self.head = self._header()
        except BaseException:
            self._file.close()
            raise
        self.hop = float(self.head["hop"])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with self._file:
            while line := self._line():
                record = _object(line)
                if record is not None:
                    if record.pop("channel", None) == self._channel:  # as if it had been alone
                        yield record
                elif self._file.peek(1):
                    raise self.damaged("it is not JSON")
                else:
                    self.cut_off = f"line {self._number}"

    def _begins(self, record: Mapping[str, Any]) -> bool:
        """Whether the channel that is meant begins with this record."""
        return record.get("channel") == self._channel and record.get("type") == "header" and _tells_of_us(record)

    def _channels(self, first: Mapping[str, Any]) -> str:
        """ "choose one with --channel NAME: studio, …"."""
        name = first.get("channel")
        return "choose one with --channel NAME" + (f", as in --channel {printable(str(name))}" if name else "")

    def damaged(self, why: str) -> InputFileError:
        return InputFileError(f"{self._path}, line {self._number}: {why}", "what came before it was read")

    def _line(self) -> bytes:
        self._number += 1
        return self._file.readline(_LONGEST)

    def _header(self) -> dict[str, Any]:
        try:
            head = first = _object(self._line())
            while head is not None and self._channel is not None and not self._begins(head):
                head = _object(self._line())
        except OSError as error:  # a folder
            raise InputFileError(f"{self._path}: {error.strerror}", _HINT) from error
        if first is None or not _tells_of_us(first):
            raise InputFileError(f"{self._path} is no run of instrec-live", _HINT)
        if head is None:
            raise InputFileError(f"{self._path}: there is no channel {self._channel!r}", self._channels(first))
        if self._channel is None and "channel" in head:
            raise InputFileError(f"{self._path} tells of many sources", self._channels(first))
        head.pop("channel", None)
        if head.get("instruments") != list(INSTRUMENTS):
            raise InputFileError(f"{self._path} tells of other instruments than this version knows")
        hop = head.get("hop")
        if isinstance(hop, bool) or not isinstance(hop, int | float) or not 0 < hop < 3600:
            raise InputFileError(f"{self._path}: its header is damaged")
        return head


def _tells_of_us(record: Mapping[str, Any]) -> bool:
    return record.get("type") == "error" or (record.get("type"), record.get("program")) == ("header", "instrec-live")


def _object(line: bytes) -> dict[str, Any] | None:
    """The JSON object of a line, None if it holds none."""
    try:
        value = json.loads(line, parse_constant=_refused, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    """A number of the file; what is too large for one would come out as Infinity, which is not JSON."""
    value = float(text)
    return value if math.isfinite(value) else _refused(text)


def update_of(record: Mapping[str, Any]) -> Update:
    """An update as it was written; what was not written of it is as in a good run.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    active = [str(name) for name in record["active"]]
    if not set(active) <= set(INSTRUMENTS):
        raise ValueError("an unknown instrument is active")
    return Update(
        time=moment(record["time"]),
        probabilities=_probabilities(record["probabilities"]),
        active=tuple(active),
        by_model={str(name): _probabilities(p) for name, p in record["by_model"].items()},
        level_db=number(record["level_db"]),
        peak_db=number(record["peak_db"]),
        state=State(record["state"]),
        filled_s=WINDOW_SECONDS,
        age_s=number(record["age_s"]),
        inference_s=0.0,
        skipped=_count(record["skipped"]),
        xruns=_count(record["xruns"]),
        bad_samples=_count(record["bad_samples"]),
        jumped=bool(record.get("jumped", False)),
        gap=bool(record.get("gap", False)),
        no_signal=bool(record.get("no_signal", False)),
    )


def drift_of(record: Mapping[str, Any]) -> Drift | None:
    """How far the device's clock was off, of a summary; None where that was not measured.

    Raises:
        ValueError: it is no number.
    """
    seconds, ppm = record.get("drift_s"), record.get("drift_ppm")
    return None if seconds is None else Drift(number(seconds), None if ppm is None else number(ppm))


def number(value: object) -> float:
    """A finite number.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def moment(value: object) -> float:
    """A time, s.

    Raises:
        ValueError: it is none, or beyond all that could have been heard.
    """
    if not 0 <= number(value) <= _LAST:
        raise ValueError(f"{value!r} is no time")
    return number(value)


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def line_of(text: object) -> str:
    """A label's text, on one line whatever the file holds."""
    return printable(str(text))


def _probabilities(by_name: Mapping[str, Any]) -> "np.ndarray[Any, np.dtype[np.float32]]":
    p = [number(by_name[name]) for name in INSTRUMENTS]
    if min(p) < 0 or max(p) > 1:
        raise ValueError("a probability is not between 0 and 1")
    return np.array(p, np.float32)
