"""The work on one file: a pure function of the file and the job, whoever runs it and wherever."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.tagger import Tagger
from instrec_live.realtime import outputs
from instrec_live.realtime.errors import InputFileError, InstrecError, ModelError, printable
from instrec_live.realtime.smoothing import Smoothing, live_thresholds
from instrec_live.realtime.stream import Stream
from instrec_live.realtime.tagging import part
from instrec_live.realtime.tagging.draft import draft
from instrec_live.realtime.tagging.find import Item
from instrec_live.realtime.tagging.tally import Record, Tally
from instrec_live.realtime.tagging.task import Cut, Joined, Part, Task, Whole
from instrec_live.realtime.thresholds import by_instrument, merged_thresholds
from instrec_live.realtime.update import StreamInfo, Update


@dataclass(frozen=True, slots=True)
class Job:
    """How every file is to be tagged. Can be pickled.

    Attributes:
        models, engine, threads, weights: as `Tagger.load` takes them.
        hop, thresholds, gate_db, smoothing: as `Stream` takes them.
        labels: folder for an Audacity label track of each file, or None.
        per_hop: folder for the JSON lines of each file, or None.
    """

    models: tuple[str, ...]
    engine: str = "auto"
    threads: int = 1
    weights: tuple[float, ...] | None = None
    hop: float = 0.5
    thresholds: Mapping[str, float] | None = None
    gate_db: float = -60.0
    smoothing: Smoothing = field(default_factory=Smoothing)
    labels: Path | None = None
    per_hop: Path | None = None

    def load(self) -> Tagger:
        """The networks, which serve for any number of files.

        Raises:
            ModelError, UsageError: as `Tagger.load`, and of whatever else a library may raise: who asked for the work
                is in another process.
        """
        try:
            return Tagger.load(self.models, self.engine, self.threads, self.weights)
        except InstrecError:
            raise
        except Exception as error:
            raise ModelError(f"the networks cannot be loaded: {printable(repr(error))}") from error

    def levels(self, tagger: Tagger) -> NDArray[np.float32]:
        """The thresholds in force, float32 [20]."""
        return merged_thresholds(live_thresholds(tagger.thresholds, self.smoothing), self.thresholds)

    def facts(self, tagger: Tagger) -> dict[str, Any]:
        """All that the results depend on beside the files, ready for JSON; the same wherever it is the same self."""
        return {
            "program": "instrec-live",
            "version": version("instrec-live"),
            "engine": tagger.engine_name,
            "models": dict(tagger.sha256s),
            "weights": dict(tagger.weights),
            "hop": self.hop,
            "thresholds": {name: round(level, 4) for name, level in by_instrument(self.levels(tagger)).items()},
            "gate_db": self.gate_db,
            "smoothing": asdict(self.smoothing),
            "instruments": list(INSTRUMENTS),
            "labels": None if self.labels is None else str(self.labels),
            "per_hop": None if self.per_hop is None else str(self.per_hop),
        }

    def do(self, task: Task, tagger: Tagger) -> Record | Cut | part.Heard:
        """What comes of a task; of a whole file nearly always a record. Nothing is raised for a file's sake."""
        match task:
            case Whole(item, share):
                spans = self._spans(item, share)
                return Cut(spans) if spans else self.tag(item, tagger)
            case Part(item, span=span):
                return self._part(item, span, tagger)
            case Joined(item, parts):
                return _recorded(item, lambda tally: self._joined(item, parts, tagger, tally))

    def tag(self, item: Item, tagger: Tagger) -> Record:
        """Hear a file from beginning to end. What is wrong with it stands in the record; nothing is raised for it."""
        return _recorded(item, lambda tally: self._heard(item, tagger, tally))

    def _spans(self, item: Item, share: int) -> tuple[part.Span, ...]:
        if share < 2 or item.fault is not None:
            return ()
        try:
            with _at_hand(item) as path:
                return part.spans(path, self.hop, share)
        except Exception:  # whoever hears it as a whole will say what is wrong
            return ()

    def _heard(self, item: Item, tagger: Tagger, tally: Tally) -> str | None:
        """What is wrong with the sound, from some point on, or None; the sound before is in the tally."""
        if item.fault is not None:
            return item.fault
        with _at_hand(item) as path:
            stream = Stream(
                path,
                hop=self.hop,
                pace="max",
                tagger=tagger,
                thresholds=self.thresholds,
                gate_db=self.gate_db,
                smoothing=self.smoothing,
            )
            with stream:
                fault = self._written(item, stream.info, stream, tally)
            return fault and _without(fault, path)

    def _part(self, item: Item, span: part.Span, tagger: Tagger) -> part.Heard:
        try:
            with _at_hand(item) as path:
                heard = part.heard(path, self, tagger, span)
                return replace(heard, fault=heard.fault and _without(heard.fault, path))
        except InstrecError as error:
            return part.Heard(None, (), {}, error.message)

    def _joined(self, item: Item, parts: tuple[part.Heard, ...], tagger: Tagger, tally: Tally) -> str | None:
        info = parts[0].info
        if info is None:
            return parts[0].fault
        return self._written(item, info, part.updates(parts, self, tagger), tally)

    def _written(self, item: Item, info: StreamInfo, updates: Iterable[Update], tally: Tally) -> str | None:
        """Updates into the tally and the files beside it; what is wrong with the sound after the last, or None.

        Raises:
            OSError: a file beside it cannot be written.
        """
        outlets, count = outputs.Outlets(), outputs.Tally(info.hop)
        fault = None
        with ExitStack() as drafts:
            head = outputs.header(info, self.smoothing, self.gate_db)
            if self.labels is not None:
                file = drafts.enter_context(draft(self.labels, item.place, ".txt"))
                outlets.add("labels", outputs.Labels(file, head))
            if self.per_hop is not None:
                file = drafts.enter_context(draft(self.per_hop, item.place, ".jsonl"))
                outlets.add("JSON lines", outputs.JsonLines(file, head))
            ended = "failed"
            try:
                for update in updates:
                    count.note(update)
                    outlets.write(update)
                    tally.write(update)
                ended = "end"
            except InstrecError as error:
                fault = error.message
            finally:
                summary = count.summary(ended)
                outlets.close(summary)
                tally.close(summary)
            if outlets.failed:
                raise OSError("no room or no right to write")
        return fault


def _recorded(item: Item, hear: Callable[[Tally], str | None]) -> Record:
    """What is heard of a file, and what is wrong with it, whatever that is."""
    tally = Tally()
    try:
        fault = hear(tally)
    except InstrecError as error:
        fault = error.message
    except OSError as error:  # of the files written beside
        what = printable(str(error.filename or "labels"))  # a name of any bytes
        fault = f"is heard, but its {what} cannot be written: {error.strerror or error}"
    except Exception as error:  # a file that finds a defect of ours must not end the run of the others
        fault = f"finds a defect of the program: {printable(repr(error))}"
    return tally.record(item.name, fault)


@contextmanager
def _at_hand(item: Item) -> Iterator[Path]:
    """The file on this machine. An error that ends the block does not begin with its path, which stands beside it and
    may be another on every machine.

    Raises:
        InputFileError: it cannot be fetched.
    """
    path = item.path
    try:
        with _fetched(item) as path:
            yield path
    except InstrecError as error:
        raise InputFileError(_without(error.message, path, item.url)) from error


def _fetched(item: Item) -> AbstractContextManager[Path]:
    if item.url is None:
        return nullcontext(item.path)
    from instrec_live.realtime.tagging.remote import fetched

    return fetched(item.url)


def _without(message: str, path: Path, url: str | None = None) -> str:
    """A message without the path, or address, at its beginning."""
    for name in (url or "", printable(str(path)), printable(path.name)):
        message = message.removeprefix(name)
    return message.removeprefix(":").strip()
