"""The work on one file: a pure function of the file and the job, whoever runs it and wherever."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.tagger import Tagger
from instrec_live.realtime.errors import InstrecError, printable
from instrec_live.realtime.journal import Journal
from instrec_live.realtime.outputs import JsonLines, Labels, header
from instrec_live.realtime.smoothing import Smoothing, live_thresholds
from instrec_live.realtime.stream import Stream
from instrec_live.realtime.tagging.draft import draft
from instrec_live.realtime.tagging.find import Item
from instrec_live.realtime.tagging.tally import Record, Tally
from instrec_live.realtime.thresholds import by_instrument, merged_thresholds


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
            ModelError, UsageError: as `Tagger.load`.
        """
        return Tagger.load(self.models, self.engine, self.threads, self.weights)

    def facts(self, tagger: Tagger) -> dict[str, Any]:
        """All that the results depend on beside the files, ready for JSON; the same wherever it is the same self."""
        levels = merged_thresholds(live_thresholds(tagger.thresholds, self.smoothing), self.thresholds)
        return {
            "program": "instrec-live",
            "version": version("instrec-live"),
            "engine": tagger.engine_name,
            "models": dict(tagger.sha256s),
            "weights": dict(tagger.weights),
            "hop": self.hop,
            "thresholds": {name: round(level, 4) for name, level in by_instrument(levels).items()},
            "gate_db": self.gate_db,
            "smoothing": asdict(self.smoothing),
            "instruments": list(INSTRUMENTS),
            "labels": None if self.labels is None else str(self.labels),
            "per_hop": None if self.per_hop is None else str(self.per_hop),
        }

    def tag(self, item: Item, tagger: Tagger) -> Record:
        """Hear a file from beginning to end. What is wrong with it stands in the record; nothing is raised for it."""
        tally, fault = Tally(), item.fault
        try:
            if fault is None:
                fault = _heard(item, self, tagger, tally)
        except InstrecError as error:
            fault = error.message
        except OSError as error:  # of the files written beside
            fault = f"is heard, but its {error.filename or 'labels'} cannot be written: {error.strerror or error}"
        except Exception as error:  # a file that finds a defect of ours must not end the run of the others
            fault = f"finds a defect of the program: {printable(repr(error))}"
        return tally.record(item.name, fault and _without(item.path, fault))


def _heard(item: Item, job: Job, tagger: Tagger, tally: Tally) -> str | None:
    """What is wrong with the sound, from some point on, or None; the sound before is in the tally."""
    stream = Stream(
        item.path,
        hop=job.hop,
        pace="max",
        tagger=tagger,
        thresholds=job.thresholds,
        gate_db=job.gate_db,
        smoothing=job.smoothing,
    )
    with stream, ExitStack() as drafts:
        head = header(stream.info, stream.smoothing, job.gate_db)
        journal = Journal(stream)
        if job.labels is not None:
            journal.add("labels", Labels(drafts.enter_context(draft(job.labels, item.place, ".txt")), head))
        if job.per_hop is not None:
            journal.add("JSON lines", JsonLines(drafts.enter_context(draft(job.per_hop, item.place, ".jsonl")), head))
        fault = None
        try:
            for update in journal:
                tally.write(update)
        except InstrecError as error:
            fault = error.message
        finally:
            tally.close(journal.finish())
        if journal.failed:
            raise OSError("no room or no right to write")
    return fault


def _without(path: Path, message: str) -> str:
    """A message without the path at its beginning, which differs from machine to machine and stands beside it."""
    for name in (printable(str(path)), printable(path.name)):
        message = message.removeprefix(name)
    return message.removeprefix(":").strip()
