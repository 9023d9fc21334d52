"""The work on one file: a pure function of the file and the job, the same in any process."""

import math
import os
import pickle
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from instrec_live.models.arrays import FloatArray
from instrec_live.models.files import atomic_file
from instrec_live.models.logmel import SAMPLE_RATE, WINDOW_SECONDS, StreamingLogMel
from instrec_live.models.segments import Lookahead
from instrec_live.models.streaming import Window
from instrec_live.models.tagger import Tagger
from instrec_live.realtime import outputs
from instrec_live.realtime.audio import FileSource
from instrec_live.realtime.commands.tag.find import Item
from instrec_live.realtime.commands.tag.results import Record, RecordBuilder
from instrec_live.realtime.errors import InputFileError, InstrecError, ModelError, printable
from instrec_live.realtime.logs import Warnings
from instrec_live.realtime.stream.analysis import AHEAD_SECONDS, Analysis, AnalysisConfig, PendingHop, hop_samples
from instrec_live.realtime.stream.capture import MonoReader, batched, check_channel, split_hops
from instrec_live.realtime.stream.offline import OfflineAnalysis
from instrec_live.realtime.stream.smoothing import by_instrument
from instrec_live.realtime.stream.stream import Stream, stream_info
from instrec_live.realtime.stream.update import CaptureStats, StreamInfo, Update

# A long file is split into chunks for several processes, with the same results as the whole file, to the last bit.
# The expensive part, the networks' output for a window, depends on the last ten seconds only. So a process reads the
# file from its start, which is cheap, and runs the networks on its chunk alone. Smoothing is cheap: it is done for all
# chunks at the end, in order.


Answers = Mapping[Window, Mapping[str, FloatArray]]

AnalyzedHop = tuple[PendingHop, int, Answers]

PART_SECONDS = 300.0  # no chunk is shorter

MOST = 8  # chunks of a file: each reads everything before it

BATCH = 16  # hops that go through the networks together, as `Stream` has them

_REACH = WINDOW_SECONDS + 2.0  # s that an output may depend on, with a margin


@dataclass(frozen=True, slots=True)
class Span:
    """Batches of hops, [first, stop); None: to the end."""

    first: int
    stop: int | None


@dataclass(frozen=True)
class ChunkResult:
    """What the networks gave for a chunk, before smoothing. Can be pickled.

    Attributes:
        info: the facts of the whole file; None if it could not be opened.
        hops: those of the chunk, of which `unpacked` gives (hop, bad samples so far, calibrated logits [20] of each
            network by window). Packed, because an hour then takes 5 MB and not 11.
        fault: the fault of the sound after the last hop, or None.
        warnings: what was said of the file meanwhile.
    """

    info: StreamInfo | None
    hops: tuple[bytes, ...]
    fault: str | None
    warnings: tuple[str, ...] = ()

    def unpacked(self) -> Iterator[AnalyzedHop]:
        for packed in self.hops:
            yield from pickle.loads(packed)


def batch_hops(hop: int) -> int:
    """Number of hops of so many samples that go through the networks together."""
    return max(1, min(BATCH, int(AHEAD_SECONDS * SAMPLE_RATE) // hop))


def chunk_spans(path: Path, hop: float, share: int) -> tuple[Span, ...]:
    """At most `share` chunks of nearly the same length, for a file that is long enough; otherwise none.

    Raises:
        InputFileError: it cannot be opened.
    """
    source = FileSource(path, quiet=True)
    source.close()
    count = min(share, MOST, int((source.duration or 0.0) // PART_SECONDS))
    if count < 2:
        return ()
    samples = hop_samples(hop)
    batches = math.ceil((source.duration or 0.0) * SAMPLE_RATE / (samples * batch_hops(samples)))
    borders = [round(k * batches / count) for k in range(count)]
    return tuple(Span(first, stop) for first, stop in zip(borders, [*borders[1:], None], strict=True))


def analyze_chunk(path: Path, job: "Job", tagger: "Tagger", span: Span) -> ChunkResult:
    """Run the networks on a chunk of a file. What is wrong with the file is in the result; nothing is raised for it."""
    info: StreamInfo | None = None
    packed: list[bytes] = []
    hops: list[AnalyzedHop] = []
    fault = None
    try:
        # The chunk that reads the whole file logs what is unusual.
        source = FileSource(path, track=job.config.track, quiet=span.stop is not None)
        try:
            config = job.config
            check_channel(source, config.channel)
            hop = config.hop_samples
            info = stream_info(source, "max", tagger, config.thresholds_of(tagger, lookahead=True), config)
            analysis = job.analysis(tagger)
            for piece, answers in _asked(source, analysis, hop, span, config.channel):
                hops.append((piece, source.bad_samples, answers))
                if len(hops) == BATCH:
                    packed.append(pickle.dumps(hops))
                    hops.clear()
        finally:
            source.close()
    except InstrecError as error:
        fault = error.message
    except Exception as error:  # as in Job.tag
        fault = f"caused an internal error: {printable(repr(error))}"
    if hops:
        packed.append(pickle.dumps(hops))
    return ChunkResult(info, tuple(packed), fault)


def _asked(
    source: FileSource, analysis: Analysis, hop: int, span: Span, channel: str | int | None
) -> Iterator[tuple[PendingHop, Answers]]:
    """The hops of the chunk, with the networks' outputs for the windows that end there.

    The networks start before the chunk, so that they get the same patches and batches as for the whole file: the
    last bits of a patch may depend on its batch. They start two reaches earlier: after one, the patches of every
    batch are the same; after the second, no output depends on an earlier one.
    """
    most = batch_hops(hop)
    reach = math.ceil(_REACH * SAMPLE_RATE / (hop * most))  # batches
    reader = MonoReader(source, None, channel, None if span.stop is None else lambda _: None)
    for number, batch in enumerate(batched(split_hops(reader, hop, lambda: False), most)):
        if number == span.stop:
            return
        if number < span.first - 3 * reach:
            for samples in batch:
                analysis.skip(samples)
            continue
        taken = analysis.begin_hops(batch)
        if number < span.first - 2 * reach:
            continue
        analysis.inference.prepare([window for piece in taken for window in piece.windows])
        for piece in taken:
            answers = {window: analysis.inference.calibrated(*window) for window in piece.windows}
            if number >= span.first:
                yield piece, answers


def merged_updates(parts: Sequence[ChunkResult], job: "Job", tagger: "Tagger") -> Iterator[Update]:
    """The updates of the whole file from its chunks, in order.

    Raises:
        InputFileError: where the file's sound ends in a fault.
    """
    inference = RecordedInference(tagger, {})
    analysis = job.offline(inference)
    for part in parts:
        for piece, bad_samples, inference.recorded in part.unpacked():
            stats = CaptureStats(bad_samples=bad_samples)
            yield from analysis.finish_hop(piece, lambda _, stats=stats: stats)  # type: ignore[misc]
        if part.fault is not None:
            yield from analysis.rest()
            raise InputFileError(part.fault)
    yield from analysis.rest()
    if not any(part.hops for part in parts):
        raise InputFileError("there is no sound in it")


class RecordedInference:
    """Stands in for the networks and gives the recorded outputs.

    Attributes:
        recorded: those that may be asked for.
    """

    def __init__(self, tagger: "Tagger", recorded: Answers) -> None:
        self._tagger, self.recorded = tagger, recorded

    @property
    def models(self) -> tuple[str, ...]:
        return self._tagger.models

    @property
    def instruments(self) -> tuple[str, ...]:
        return self._tagger.instruments

    @property
    def thresholds(self) -> FloatArray:
        return self._tagger.thresholds

    def follow(self, mel: StreamingLogMel, hop: int, /) -> "RecordedInference":
        return self

    def ensemble(self, calibrated: Mapping[str, FloatArray], /) -> FloatArray:
        return self._tagger.ensemble(calibrated)

    def calibrated(self, end: int, length: int, whole: bool = True, /) -> Mapping[str, FloatArray]:
        return self.recorded[Window(end, length, whole)]

    def prepare(self, windows: Sequence[Window], /) -> None:
        """Nothing to do."""


@dataclass(frozen=True, slots=True)
class FileTask:
    """Process a whole file; or, if `share` processes are idle and the file is long, split it into chunks."""

    item: Item
    share: int = 1


@dataclass(frozen=True, slots=True)
class ChunkTask:
    """Run the networks on a chunk of a file."""

    item: Item
    number: int
    span: Span


@dataclass(frozen=True, slots=True)
class MergeTask:
    """Merge the results of all chunks into one record."""

    item: Item
    parts: tuple[ChunkResult, ...]


@dataclass(frozen=True, slots=True)
class SplitResult:
    """The result of a `FileTask` that splits the file into these chunks."""

    spans: tuple[Span, ...]


Task = FileTask | ChunkTask | MergeTask


def output_path(folder: Path, place: Path, suffix: str) -> Path:
    """Path of an output about the file at `place`: below `folder`, and different for every place.

    Each step up is a folder `_up`, an absolute path starts in `_root`; names that begin like these get one more `_`.
    """
    root = ["_root" + re.sub(r"\W", "", place.drive)] if place.anchor else []
    parts = [*root, *map(_tamed, place.parts[len(root) :])]
    return folder.joinpath(*parts[:-1], parts[-1] + suffix)


def _tamed(part: str) -> str:
    if os.name == "nt" and re.search(r"[\\/:]", part):  # of an address: on Windows these lead elsewhere
        part = "_win" + re.sub(r"[\\/:]", lambda found: f"%{ord(found[0]):02x}", part)
    return "_up" if part == ".." else re.sub(r"^(_+(?:up|root))", r"_\1", part)


@contextmanager
def atomic_text(folder: Path, place: Path, suffix: str) -> Iterator[TextIO]:
    """A text file, UTF-8, that appears once it is complete; see `output_path` for its path.

    Raises:
        OSError: it cannot be written.
    """
    path = output_path(folder, place, suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        text = TextIOWrapper(cast(BinaryIO, file), encoding="utf-8", newline="")
        yield text
        text.detach()  # which writes what is still buffered


@dataclass(frozen=True, slots=True)
class Job:
    """How every file is to be tagged. Can be pickled.

    Attributes:
        config: the networks and how their results are processed.
        labels: folder for an Audacity label track of each file, or None.
        per_hop: folder for the JSON lines of each file, or None.
    """

    config: AnalysisConfig
    labels: Path | None = None
    per_hop: Path | None = None

    def load(self) -> Tagger:
        """The networks, which serve for any number of files.

        Raises:
            ModelError, UsageError: as `Tagger.load`, and for whatever else a library may raise: the caller is in
                another process.
        """
        try:
            return self.config.load_tagger()
        except InstrecError:
            raise
        except Exception as error:
            raise ModelError(f"the networks cannot be loaded: {printable(repr(error))}") from error

    def analysis(self, tagger: Any) -> Analysis:
        """An analysis of a file from its start."""
        config = self.config
        return Analysis(
            tagger,
            config.hop_samples,
            config.thresholds_of(tagger),
            config.gate_db,
            config.smoothing,
            instruments=config.instruments_of(tagger),
            others=config.only is None,
            lookahead=config.lookahead,
        )

    def offline(self, tagger: Any) -> OfflineAnalysis:
        """The analysis of a file as `Stream` has it."""
        config = self.config
        thresholds, short = config.thresholds_of(tagger, lookahead=True), config.smoothing.short_seconds
        return OfflineAnalysis(self.analysis(tagger), config.lookahead or Lookahead(), thresholds, short)

    def facts(self, tagger: Tagger) -> dict[str, Any]:
        """All that the results depend on besides the files, ready for JSON."""
        own = by_instrument(self.config.thresholds_of(tagger, lookahead=True), tagger.instruments)
        return {
            "program": "instrec-live",
            "version": version("instrec-live"),
            "engine": tagger.engine_name,
            "models": dict(tagger.sha256s),
            "weights": dict(tagger.weights),
            "hop": self.config.hop,
            "thresholds": {name: round(each, 4) for name, each in own.items()},
            "gate_db": self.config.gate_db,
            "smoothing": asdict(self.config.smoothing),
            "lookahead": None if self.config.lookahead is None else asdict(self.config.lookahead),
            "instruments": list(self.config.instruments_of(tagger)),
            **{name: value for name in ("channel", "track") if (value := getattr(self.config, name)) is not None},
            "labels": None if self.labels is None else str(self.labels),
            "per_hop": None if self.per_hop is None else str(self.per_hop),
        }

    def do(self, task: Task, tagger: Tagger) -> Record | SplitResult | ChunkResult:
        """Do a task; the result of a whole file is nearly always a record. Nothing is raised because of a file."""
        match task:
            case FileTask(item, share):
                spans = self._spans(item, share)
                return SplitResult(spans) if spans else self.tag(item, tagger)
            case ChunkTask(item, span=span):
                return self._part(item, span, tagger)
            case MergeTask(item, parts):
                return _recorded(
                    item, self.config.instruments_of(tagger), lambda tally: self._joined(item, parts, tagger, tally)
                )

    def tag(self, item: Item, tagger: Tagger) -> Record:
        """Process a whole file. What is wrong with it is in the record; nothing is raised for it."""
        return _recorded(item, self.config.instruments_of(tagger), lambda tally: self._heard(item, tagger, tally))

    def _spans(self, item: Item, share: int) -> tuple[Span, ...]:
        if share < 2 or item.fault is not None:
            return ()
        try:
            with _at_hand(item) as path:
                return chunk_spans(path, self.config.hop, share)
        except Exception:  # processing the whole file will report it
            return ()

    def _heard(self, item: Item, tagger: Tagger, tally: RecordBuilder) -> str | None:
        """What is wrong with the sound from some point on, or None; the sound before it is in the builder."""
        if item.fault is not None:
            return item.fault
        with _at_hand(item) as path:
            with (
                _warnings_in(path, tally.warnings),
                Stream(path, pace="max", config=self.config, tagger=tagger) as stream,
            ):
                fault = self._written(item, stream.info, stream, tally)
            return fault and _without(fault, path)

    def _part(self, item: Item, span: Span, tagger: Tagger) -> ChunkResult:
        try:
            with _at_hand(item) as path:
                warnings: list[str] = []
                with _warnings_in(path, warnings):
                    result = analyze_chunk(path, self, tagger, span)
                return replace(result, fault=result.fault and _without(result.fault, path), warnings=tuple(warnings))
        except InstrecError as error:
            return ChunkResult(None, (), error.message)

    def _joined(self, item: Item, parts: tuple[ChunkResult, ...], tagger: Tagger, tally: RecordBuilder) -> str | None:
        info = parts[0].info
        tally.warnings += [each for part in parts for each in part.warnings]
        if info is None:
            return parts[0].fault
        return self._written(item, info, merged_updates(parts, self, tagger), tally)

    def _written(self, item: Item, info: StreamInfo, updates: Iterable[Update], tally: RecordBuilder) -> str | None:
        """Write updates to the builder and the files; returns what is wrong with the sound after the last, or None.

        Raises:
            _NotWritten: a file cannot be written.
        """
        sinks, count = outputs.SinkGroup(), outputs.SummaryBuilder(info.hop)
        fault = None
        with _writing(), ExitStack() as files:
            head = outputs.header(info, self.config.smoothing, self.config.gate_db)
            tally.begin(head)
            lost: list[OSError] = []  # the numbers of a file do not depend on whether its other outputs can be opened
            for folder, suffix, name, kind in (
                (self.labels, ".txt", "labels", outputs.Labels),
                (self.per_hop, ".jsonl", "JSON lines", outputs.JsonLines),
            ):
                if folder is not None:
                    try:
                        sinks.add(name, kind(files.enter_context(atomic_text(folder, item.place, suffix)), head))
                    except OSError as error:
                        lost.append(OSError(error.errno, error.strerror, str(folder)))
            ended = "failed"
            try:
                for update in updates:
                    count.note(update)
                    sinks.write(update)
                    tally.write(update)
                ended = "end"
            except InstrecError as error:
                fault = error.message
            except OSError as error:  # not of an output, whose errors the group of them keeps
                fault = f"cannot be read any further: {error.strerror or error}"
            finally:
                summary = count.summary(ended)
                sinks.close(summary)
                tally.close(summary)
            if lost:
                raise lost[0]
            if sinks.failed:
                raise OSError("no space or no permission")
        return fault


class _NotWritten(Exception):  # noqa: N818 - becomes the record's error
    """An output of the file could not be written; in words."""


def _recorded(item: Item, instruments: Sequence[str], process: Callable[[RecordBuilder], str | None]) -> Record:
    """The record of a file, with its faults."""
    tally = RecordBuilder(instruments)
    try:
        fault = process(tally)
    except InstrecError as error:
        fault = error.message
    except _NotWritten as error:
        fault = f"was processed, but its {error}"
    except OSError as error:
        fault = f"cannot be read: {error.strerror or error}"
    except Exception as error:  # a file that hits a bug must not end the run
        fault = f"caused an internal error: {printable(repr(error))}"
    return tally.record(item.name, fault)


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = printable(str(error.filename or "labels"))  # a name of any bytes
        raise _NotWritten(f"{what} could not be written: {error.strerror or error}") from error


@contextmanager
def _warnings_in(path: Path, warnings: list[str]) -> Iterator[None]:
    """Everything that is logged as odd meanwhile is added to `warnings`, without the file's name."""
    with Warnings() as logged:
        try:
            yield
        finally:
            warnings += [_without(message, path) for _, message in logged.records]


@contextmanager
def _at_hand(item: Item) -> Iterator[Path]:
    """The file on this machine. Errors do not begin with its path, which the record names and which may differ
    between machines.

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
    from instrec_live.realtime.commands.tag.find import fetched

    return fetched(item.url)


def _without(message: str, path: Path, url: str | None = None) -> str:
    """A message without the path, or address, at its beginning."""
    for name in (url or "", printable(str(path)), printable(path.name)):
        message = message.removeprefix(name)
    return message.removeprefix(":").strip()
