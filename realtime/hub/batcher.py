"""Windows of many streams through one set of networks, in batches: first come, first served."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.errors import InstrecError
from instrec_live.models.logmel import HOP, SAMPLE_RATE
from instrec_live.realtime.analysis import Analysis, Piece

if TYPE_CHECKING:
    from instrec_live.realtime.update import Update

FloatArray = NDArray[np.float32]

MOST = 8  # in a batch: more save nothing, and the first would wait for the last
_PATIENCE = 0.1  # s; sound comes in blocks as long


class Tagger(Protocol):
    """What a batcher needs of `instrec_live.models.Tagger`."""

    def prepare(self, wanted: Sequence[tuple[Any, Sequence[tuple[int, int]]]], /) -> None: ...


@dataclass(eq=False)
class _Job:
    """A piece of one stream's sound, and what became of it."""

    analysis: Analysis
    samples: FloatArray
    skipped: int
    done: threading.Event = field(default_factory=threading.Event)
    update: "Update | None" = None
    error: BaseException | None = None


class Batcher:
    """Hears for many streams, each of which waits for its answer in a thread of its own.

    A batch is what has come, at most `MOST` pieces, in the order they came. A stream has one piece here at a time and
    comes again behind all others; so where the networks are too slow for all, all are served alike: each skips the
    same windows, counts them, and hears next what is newest then.

    Streams that come at the same moment are cheaper than those that come one by one, so they are told where to begin
    (`first_hop`), and a batch waits a moment for those that are about to come.

    Args:
        tagger: the networks of all the streams.
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
        """For as long as a stream listens."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def first_hop(self, hop: int) -> int:
        """How many samples a stream that begins now should hear first, for its hops to end when those of the others do.

        Returns:
            a multiple of 320, more than half of `hop` and at most half as much again.
        """
        seconds = hop / SAMPLE_RATE
        left = seconds - (time.monotonic() - self._began) % seconds
        frames, least = round(left * SAMPLE_RATE / HOP), hop // HOP // 2 + 1
        return (frames if frames >= least else frames + hop // HOP) * HOP

    def hear(self, analysis: Analysis, samples: FloatArray, skipped: int) -> "Update":
        """`analysis.hear(samples, skipped)`, when it is this stream's turn.

        Raises:
            ModelError: no network gave numbers.
        """
        job = _Job(analysis, samples, skipped)
        with self._lock:
            alone = self._closed
            if not alone:
                self._jobs.put(job)
        if alone:
            return analysis.hear(samples, skipped)
        job.done.wait()
        if job.error is not None:
            raise job.error
        assert job.update is not None
        return job.update

    def close(self) -> None:
        """End the thread, once it has heard what it was given; who comes later is heard alone."""
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
                self._hear(batch)
            except BaseException as error:  # raised where the answers are awaited
                for job in batch:
                    job.error = job.error or error
            for job in batch:
                job.done.set()
            if ends:
                return

    def _batch(self, first: _Job) -> tuple[list[_Job], bool]:
        """What goes together with the first piece, and whether nothing comes after it."""
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

    def _hear(self, batch: Sequence[_Job]) -> None:
        began = time.perf_counter()
        pieces = [job.analysis.take(job.samples, job.skipped) for job in batch]
        error = self._prepare([(job, piece) for job, piece in zip(batch, pieces, strict=True) if not piece.quiet])
        loud = sum(not piece.quiet for piece in pieces)
        shared = (time.perf_counter() - began) / max(1, loud)
        for job, piece in zip(batch, pieces, strict=True):
            try:
                update = job.analysis.answer(piece)
            except InstrecError as own:
                job.error = error or own
            else:
                job.update = update if piece.quiet else replace(update, inference_s=update.inference_s + shared)

    def _prepare(self, wanted: Sequence[tuple[_Job, Piece]]) -> InstrecError | None:
        """Let the networks hear all together; where that fails, each is heard alone."""
        try:
            self._tagger.prepare([(job.analysis.follower, piece.windows) for job, piece in wanted])
        except InstrecError as error:
            return error
        return None
