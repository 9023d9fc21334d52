"""Reads an earlier run from its JSON lines."""

import codecs
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS, chosen
from instrec_live.models.learned import class_name
from instrec_live.models.logmel import WINDOW_SECONDS
from instrec_live.realtime.errors import printable
from instrec_live.realtime.stream.capture import Drift
from instrec_live.realtime.stream.update import State, Update

_LONGEST = 1_000_000  # bytes; no line of a run is as long
_LAST = 1e9  # s, as --start and --duration
_HINT = "give a file that --json or --output FILE.jsonl has made"


def _opened(path: Path) -> io.BufferedReader:
    """The file, in UTF-8 without a byte order mark, even if a shell's `>` wrote it differently (PowerShell: UTF-16)."""
    file = open(path, "rb")  # noqa: SIM115 - closed after the last line
    start = file.peek(3)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        with file:
            text = file.read().decode("utf-16", "replace")  # a run that was killed may end in half a letter
        return io.BufferedReader(io.BytesIO(text.encode()))
    if start.startswith(codecs.BOM_UTF8):
        file.read(len(codecs.BOM_UTF8))
    return file


class Run:
    """Opens a file of JSON lines; iterate it once for its records after the header, as JSON has them.

    Args:
        path: of the file.
        channel: the source to read, of a run of many.
        only, exclude: leave out all other, or these, instruments.

    Attributes:
        head: the header.
        hop: seconds between updates.
        others: whether other instruments than the 20 are wanted.
        cut_off: description of an incomplete last line, or None.

    Raises:
        InputFileError: no such file, or not a run; while iterating, a damaged line.
        UsageError: an unknown instrument, or none of the run's is left.
    """

    def __init__(
        self, path: Path, channel: str | None = None, only: Iterable[str] | None = None, exclude: Iterable[str] = ()
    ) -> None:
        self._path, self._number, self._channel = path, 0, channel
        self.cut_off: str | None = None
        try:
            self._file = _opened(path)
        except OSError as error:
            raise InputFileError(f"{path}: {error.strerror}", _HINT) from error
        try:
            head = self._header()
            known = tuple(dict.fromkeys((*INSTRUMENTS, *head["instruments"])))
            self.head = narrowed(head, chosen(only, exclude, known))
        except BaseException:
            self._file.close()
            raise
        self.hop, self.others = float(self.head["hop"]), only is None

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
        """Whether the wanted source begins with this record."""
        return record.get("channel") == self._channel and record.get("type") == "header" and _tells_of_us(record)

    def _has_only(self, channel: object) -> bool:
        """Whether all records are of this source. A pipe, which can be read once, may have more."""
        if not self._path.is_file():
            return False
        with _opened(self._path) as file:
            records = map(_object, iter(lambda: file.readline(_LONGEST), b""))
            return all(record is None or record.get("channel") == channel for record in records)

    def _channels(self, first: Mapping[str, Any]) -> str:
        """ "choose one with --channel NAME: studio, …"."""
        name = first.get("channel")
        return "choose one with --channel NAME" + (f", for example --channel {printable(str(name))}" if name else "")

    def damaged(self, why: str) -> InputFileError:
        return InputFileError(f"{self._path}, line {self._number}: {why}", "everything before it was read")

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
            raise InputFileError(f"{self._path} is not a run of instrec-live", _HINT)
        if head is None:
            raise InputFileError(f"{self._path}: there is no channel {self._channel!r}", self._channels(first))
        if self._channel is None and "channel" in head:
            if not self._has_only(head["channel"]):
                raise InputFileError(f"{self._path} has many sources", self._channels(first))
            self._channel = head["channel"]
        head.pop("channel", None)
        names = head.get("instruments")
        if not _are_instruments(names):
            raise InputFileError(f"{self._path} has instruments that this version does not know")
        for figure, most in ((head.get("hop"), 3600), (head.get("rate", 1), 1e9)):
            if isinstance(figure, bool) or not isinstance(figure, int | float) or not 0 < figure < most:
                raise InputFileError(f"{self._path}: its header is damaged")
        return head


def _are_instruments(names: object) -> bool:
    """Whether these are some of the 20, in their order, and then those that learned bundles add."""
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        return False
    own = [name for name in INSTRUMENTS if name in names]
    new = names[len(own) :]
    try:
        return bool(names[: len(own)] == own and len(set(new)) == len(new) and new == list(map(class_name, new)))
    except ValueError:
        return False


def narrowed(head: dict[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
    """A header with none but these of its instruments.

    Raises:
        UsageError: it has none of them.
    """
    names = [name for name in head["instruments"] if name in wanted]
    if not names:
        raise UsageError("the run has none of these instruments", f"it has {', '.join(head['instruments'])}")

    def some(thresholds: Any) -> Any:
        known = isinstance(thresholds, Mapping)
        return {name: each for name, each in thresholds.items() if name in names} if known else thresholds

    head = {**head, "instruments": names}
    for key in ("thresholds", "off_thresholds"):
        if key in head:
            head[key] = some(head[key])
    if isinstance(head.get("model_thresholds"), Mapping):
        head["model_thresholds"] = {model: some(each) for model, each in head["model_thresholds"].items()}
    return head


def _tells_of_us(record: Mapping[str, Any]) -> bool:
    return record.get("type") == "error" or (record.get("type"), record.get("program")) == ("header", "instrec-live")


def _object(line: bytes) -> dict[str, Any] | None:
    """The JSON object of a line, None if it holds none."""
    try:
        value = json.loads(line, parse_constant=_refused, parse_float=_finite)
        if b"\\ud" in line.lower():  # half a character, which no file and no picture can hold
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    """A number of the file. One that is too large would become Infinity, which is not JSON."""
    value = float(text)
    return value if math.isfinite(value) else _refused(text)


def update_of(record: Mapping[str, Any], instruments: Sequence[str] = INSTRUMENTS, others: bool = True) -> Update:
    """An update as it was written; fields that are not written are as in a run without problems.

    Args:
        record: of the JSON lines.
        instruments: those to read, which must be there; others are left out.
        others: also read instruments other than the 20.

    Raises:
        ValueError, KeyError, TypeError: it is not an update.
    """
    active = [str(name) for name in record["active"]]
    if not set(active) <= record["probabilities"].keys():
        raise ValueError("an unknown instrument is active")
    return Update(
        time=moment(record["time"]),
        probabilities=_probabilities(record["probabilities"], instruments),
        active=tuple(name for name in active if name in instruments),
        by_model={
            str(name): _probabilities(dict.fromkeys(instruments, math.nan) | p, instruments)
            for name, p in record["by_model"].items()
        },
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
        kind=None if record.get("kind") is None else str(record["kind"]),
        also={str(name): number(p) for name, p in record.get("also", {}).items() if others},
        instruments=tuple(instruments),
        sound_s=moment(record["sound_s"]) if "sound_s" in record else None,
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
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def moment(value: object) -> float:
    """A time, s.

    Raises:
        ValueError: it is not a time, or out of range.
    """
    if not 0 <= number(value) <= _LAST:
        raise ValueError(f"{value!r} is not a time")
    return number(value)


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value


def line_of(text: object) -> str:
    """A label's text, always on one line."""
    return printable(str(text))


def _probabilities(by_name: Mapping[str, Any], instruments: Sequence[str]) -> "np.ndarray[Any, np.dtype[np.float32]]":
    values = [by_name[name] for name in instruments]
    p = [math.nan if value is math.nan else number(value) for value in values]  # NaN: what a network does not know
    if any(value < 0 or value > 1 for value in p):
        raise ValueError("a probability is not between 0 and 1")
    return np.array(p, np.float32)
