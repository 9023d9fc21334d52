"""Runs one set of networks on the windows of many streams, in batches, in order of arrival."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from instrec_live.models.arrays import FloatArray
from instrec_live.models.errors import InstrecError
from instrec_live.models.logmel import HOP, SAMPLE_RATE
from instrec_live.models.streaming import Window
from instrec_live.realtime.stream.analysis import Analysis, PendingHop, ReadStats, offline

if TYPE_CHECKING:
    from instrec_live.realtime.stream.update import Update


MOST = 8  # hops in a batch: more save nothing, and the first would wait for the last
_PATIENCE = 0.1  # s; sound comes in blocks of this length


class Tagger(Protocol):
    """What a batcher needs of `instrec_live.Tagger`."""

    def prepare(self, wanted: Sequence[tuple[Any, Sequence[Window]]], /) -> None: ...


@dataclass(eq=False)
class _Job:
    """A hop of one stream, and its update or error."""

    analysis: Analysis
    samples: FloatArray
    skipped: int
    capture: ReadStats
    done: threading.Event = field(default_factory=threading.Event)
    update: "Update | None" = None
    error: BaseException | None = None


class Batcher:
    """Runs the networks for many streams, each of which waits for its update in its own thread.

    A batch is what has come, at most `MOST` hops, in order of arrival. A stream has one hop here at a time and queues
    again behind all others, so where the networks are too slow, all streams are served alike: each skips the same
    number of windows, counts them, and continues with its newest sound.

    Streams whose hops end together are cheaper than separate ones, so each asks for the length of its
    first hop (`first_hop`), and a batch waits a moment for streams that are about to come.

    Args:
        tagger: the networks of all streams.
        patience: how long a batch may wait, s.
    """

    def __init__(self, tagger: Tagger, patience: float = _PATIENCE) -> None:
        self._tagger, self._patience = tagger, patience
        self._began = time.monotonic()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()  # of the two below
        self._members, self._closed = 0, False
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    @contextmanager
    def member(self) -> Iterator[None]:
        """Counts a stream as a member while it listens: a full batch has a hop of every member."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def first_hop(self, hop: int) -> int:
        """Samples of the first hop of a stream that starts now, for its hops to end when those of the others do.

        Returns:
            a multiple of 320, more than half of `hop` and at most half as much again.
        """
        seconds = hop / SAMPLE_RATE
        left = seconds - (time.monotonic() - self._began) % seconds
        frames, least = round(left * SAMPLE_RATE / HOP), hop // HOP // 2 + 1
        return (frames if frames >= least else frames + hop // HOP) * HOP

    def process(self, analysis: Analysis, samples: FloatArray, skipped: int, capture: ReadStats = offline) -> "Update":
        """`analysis.process(samples, skipped, capture)`, when it is this stream's turn.

        Raises:
            ModelError: no network gave numbers.
        """
        job = _Job(analysis, samples, skipped, capture)
        with self._lock:
            closed = self._closed
            if not closed:
                self._jobs.put(job)
        if closed:
            return analysis.process(samples, skipped, capture)
        job.done.wait()
        if job.error is not None:
            raise job.error
        assert job.update is not None
        return job.update

    def close(self) -> None:
        """End the thread once it has finished its jobs; hops that come later are processed without it."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _count(self, more: int) -> None:
        with self._lock:
            self._members += more

    def _run(self) -> None:
        while (first := self._jobs.get()) is not None:
            batch, ends = self._batch(first)
            try:
                self._process(batch)
            except BaseException as error:  # raised where the updates are awaited
                for job in batch:
                    job.error = job.error or error
            for job in batch:
                job.done.set()
            if ends:
                return

    def _batch(self, first: _Job) -> tuple[list[_Job], bool]:
        """The jobs that go together with the first, and whether nothing comes after them."""
        batch, until = [first], time.monotonic() + self._patience
        while len(batch) < min(MOST, self._members):
            try:
                job = self._jobs.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                break
            if job is None:
                return batch, True
            batch.append(job)
        return batch, False

    def _process(self, batch: Sequence[_Job]) -> None:
        began = time.perf_counter()
        hops = [job.analysis.begin_hop(job.samples, job.skipped) for job in batch]
        error = self._prepare([(job, hop) for job, hop in zip(batch, hops, strict=True) if not hop.quiet])
        loud = sum(not hop.quiet for hop in hops)
        shared = (time.perf_counter() - began) / max(1, loud)
        for job, hop in zip(batch, hops, strict=True):
            try:
                job.update = job.analysis.finish_hop(hop, job.capture, shared)
            except InstrecError as own:
                job.error = error or own

    def _prepare(self, wanted: Sequence[tuple[_Job, PendingHop]]) -> InstrecError | None:
        """Run the networks for all hops together; returns the error if that fails, and each hop then runs alone."""
        try:
            self._tagger.prepare([(job.analysis.inference, hop.windows) for job, hop in wanted])
        except InstrecError as error:
            return error
        return None
