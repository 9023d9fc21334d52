"""Records as text that can be read back: a tidy CSV, or JSON lines."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.tagging.tally import Record

COLUMNS = (
    "file", "duration_s", "silence_s", "instrument", "mean", "peak", "active_seconds", "first_s", "last_s", "error",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Written:
    """A record as it stands in the results.

    Attributes:
        name: of its file.
        text: its lines, the last newline included.
        failed: whether there is an error in it.
    """

    name: str
    text: str
    failed: bool


class Format(Protocol):
    """How records are written, each in lines of its own."""

    head: str

    def write(self, record: Record) -> Written: ...
    def read(self, lines: Sequence[str]) -> Iterator[Written]:
        """The records in these lines (without the head); one that is not whole may only be the last, and is left out.

        Raises:
            ValueError: a line that is not one of ours, with its number.
        """


class TaggedCsv:
    """One row per file and instrument; one row without an instrument for a file of which nothing was heard."""

    head = ",".join(COLUMNS) + "\n"

    def write(self, record: Record) -> Written:
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        about = (record.name, record.duration_s, record.silence_s)
        for tag in record.tags:
            rows.writerow((*about, *asdict(tag).values(), record.error))
        if not record.tags:
            rows.writerow((*about, *[None] * 6, record.error))
        return Written(record.name, text.getvalue(), record.error is not None)

    def read(self, lines: Sequence[str]) -> Iterator[Written]:
        begun: list[str] = []
        for number, line in enumerate(lines, start=2):
            cells = next(csv.reader([line]), [])
            if len(cells) != len(COLUMNS) or cells[3] != (INSTRUMENTS[len(begun)] if cells[3] else ""):
                raise ValueError(f"line {number} is not what was written there")
            begun.append(line)
            if len(begun) == len(INSTRUMENTS) or not cells[3]:
                yield Written(cells[0], "".join(f"{each}\n" for each in begun), bool(cells[-1]))
                begun = []


class TaggedJsonLines:
    """One object per file, its instruments in an object of theirs."""

    head = ""

    def write(self, record: Record) -> Written:
        content = asdict(record)
        tags = {tag.pop("instrument"): tag for tag in content.pop("tags")}
        line = {"file": content.pop("name"), **content, "instruments": tags}
        text = json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"
        return Written(record.name, text, record.error is not None)

    def read(self, lines: Sequence[str]) -> Iterator[Written]:
        for number, line in enumerate(lines, start=1):
            try:
                content = json.loads(line)
                yield Written(content["file"], line + "\n", content["error"] is not None)
            except (ValueError, TypeError, KeyError):
                raise ValueError(f"line {number} is not what was written there") from None


FORMATS: dict[str, Format] = {".csv": TaggedCsv(), ".jsonl": TaggedJsonLines()}
PARQUET = ".parquet"  # made of JSON lines at the end
