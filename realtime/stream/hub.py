"""Many sources in, the updates of all of them out. The Python API; no screen."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields, replace
from queue import Empty, Full, Queue
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any

from instrec_live.models.errors import UsageError
from instrec_live.realtime.outputs import Sink, Summary
from instrec_live.realtime.outputs.session import Session
from instrec_live.realtime.stream.analysis import AnalysisConfig, warm_up
from instrec_live.realtime.stream.batcher import Batcher
from instrec_live.realtime.stream.stream import Stream
from instrec_live.realtime.stream.update import Update

if TYPE_CHECKING:
    from typing import TextIO

    from instrec_live.models.tagger import Tagger

HubEvent = Update | Summary | BaseException  # one of the last two comes once, as the last event of a source
Outputs = Callable[[str, Stream], Iterable[tuple[str, Sink, "TextIO | None"]]]

_ROOM = 4  # updates of each source that may wait for the one who iterates
_POLL = 0.2  # s between checks whether the hub is closed
_CLOSE_WITHIN = 5.0  # s


class SourceWorker:
    """Runs one source of a hub: a `Stream` with its outputs, in its own thread.

    Args:
        name: of the source in this hub.
        open_stream: opens it, which may take any time (a pipe without a writer).
        outputs: where to write its updates, once it is open.
        publish: takes each event with the name, in this worker's thread.

    Attributes:
        session: of the stream, once it is open.
    """

    def __init__(
        self,
        name: str,
        open_stream: Callable[[], AbstractContextManager[Stream]],
        outputs: Outputs,
        publish: Callable[[str, HubEvent], None],
    ) -> None:
        self.name = name
        self.session: Session | None = None
        self._open, self._outputs, self._publish = open_stream, outputs, publish
        self._lock = threading.Lock()  # between opening and closing
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"source {name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End the stream soon. From any thread, any number of times."""
        with self._lock:
            self._closed = True
            if self.session is not None:
                self.session.close()

    def join(self, timeout: float) -> None:
        """Wait for the last event, unless the source is still being opened."""
        if self.session is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            summary = self._listen()
        except BaseException as error:  # for the one who iterates the hub
            self._publish(self.name, error)
        else:
            self._publish(self.name, summary)

    def _listen(self) -> Summary:
        with self._open() as stream:
            session = Session(stream, channel=self.name)
            for output in self._outputs(self.name, stream):
                session.add(*output)
            with self._lock:
                self.session = session
                if self._closed:
                    session.close()
            try:
                for update in session:
                    self._publish(self.name, update)
            finally:
                summary = session.finish()
        return summary


class Hub:
    """Listens to many sources at pace "realtime", through one set of networks.

    Each source is a `Stream` with its own clock, ring, smoothing and counters; only the networks are shared (see
    `Batcher`). A source that ends or fails does not affect the others.

    Use as a context manager and iterate it once: pairs of a source's name and an event. That is an `Update`, and at
    the end a `Summary` or the error that ended the source.

    Args:
        sources: by name, the arguments of `Stream` that say what to listen to: {"file": "a.wav"}, {"device": 0},
            {"stdin": open("pipe", "rb")}. A function instead of such a mapping returns one when the source is to be
            opened, in its own thread; a "stdin" that it opens is closed with the source.
        config: which networks run and what is made of their results; without one, every hop is 1 s.
        tagger: networks already loaded, instead of those of the config.
        outputs: name, stream -> (name, sink, file to close or None) of the outputs of a source.
        options: fields of `AnalysisConfig`, and other arguments of `Stream` for all sources; a source's own come first.

    Raises:
        UsageError, ModelError: on construction.
    """

    def __init__(
        self,
        sources: Mapping[str, Any],
        *,
        config: AnalysisConfig | None = None,
        tagger: "Tagger | None" = None,
        outputs: Outputs = lambda name, stream: (),
        **options: Any,
    ) -> None:
        if not sources:
            raise UsageError("a hub needs a source")
        analysis = {field.name: options.pop(field.name) for field in fields(AnalysisConfig) if field.name in options}
        config = replace(config or AnalysisConfig(hop=1.0), **analysis)
        step = config.hop_samples
        tagger = config.load_tagger() if tagger is None else tagger
        warm_up(tagger, step, config.smoothing)
        self.engine_name = tagger.engine_name
        self._batcher = batcher = Batcher(tagger)
        self._events: Queue[tuple[str, HubEvent]] = Queue(_ROOM * len(sources))
        self._closed = threading.Event()

        @contextmanager
        def opened(about: Any) -> Iterator[Stream]:
            arguments = about() if callable(about) else about
            ours = arguments.get("stdin") if callable(about) else None
            with (
                ours or nullcontext(),
                Stream(**{**options, **arguments}, config=config, tagger=tagger, batcher=batcher) as stream,
            ):
                yield stream

        self.workers = {
            name: SourceWorker(name, lambda about=about: opened(about), outputs, self._publish)  # type: ignore[misc]
            for name, about in sources.items()
        }

    def __enter__(self) -> "Hub":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[str, HubEvent]]:
        for worker in self.workers.values():
            worker.start()
        running = set(self.workers)
        try:
            while running and not self._closed.is_set():
                try:
                    name, event = self._events.get(timeout=_POLL)
                except Empty:
                    continue
                if not isinstance(event, Update):
                    running.discard(name)
                yield name, event
        finally:
            self.close()

    def close(self) -> None:
        """End all streams, and their outputs with summaries. From any thread, any number of times."""
        self._closed.set()
        until = monotonic() + _CLOSE_WITHIN
        for worker in self.workers.values():
            worker.close()
        for worker in self.workers.values():
            worker.join(max(0.0, until - monotonic()))
        self._batcher.close()

    def _publish(self, name: str, event: HubEvent) -> None:
        """Queue an event; while the queue is full, the source waits and skips windows as if it were slow."""
        while not self._closed.is_set():
            try:
                self._events.put((name, event), timeout=_POLL)
                return
            except Full:
                continue
