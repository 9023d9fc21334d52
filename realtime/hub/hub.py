"""Many sources in, the updates of all of them out. The Python API; no UI."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from queue import Empty, Full, Queue
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any

from instrec_live.models.bundle import DEFAULT_MODELS
from instrec_live.models.errors import UsageError
from instrec_live.realtime.analysis import hop_samples, warm_up
from instrec_live.realtime.hub.batcher import Batcher
from instrec_live.realtime.hub.channel import Channel, Outputs, Said
from instrec_live.realtime.smoothing import Smoothing
from instrec_live.realtime.stream import Stream
from instrec_live.realtime.update import Update

if TYPE_CHECKING:
    from instrec_live.models.tagger import Tagger

_ROOM = 4  # updates of each source that may wait for who iterates
_GLANCE = 0.2  # s between looks at whether the hub is closed
_CLOSE_WITHIN = 5.0  # s


class Hub:
    """Listens to many sources at the pace realtime, through one set of networks.

    Each source is a `Stream` of its own, with its own clock, ring, smoothing and counters; only the networks are
    shared (see `Batcher`). A source that ends or fails leaves the others as they are.

    Use as a context manager and iterate it once: pairs of a source's name and what it says. That is an `Update`, and as
    its last word a `Summary`, or the error that ended it.

    Args:
        sources: by name, the arguments of `Stream` that say what to listen to: {"file": "a.wav"}, {"device": 0},
            {"stdin": open("pipe", "rb")}. A function in place of such a mapping returns one when the source is to be
            opened, in a thread of its own; a "stdin" that it opens is closed with the source.
        hop: seconds between updates of each source, 0.1…60.
        models, engine, threads, weights, tagger: as of `Stream`.
        outputs: name, stream -> (name, sink, file to close or None) of what to write a source's updates to.
        listening: other arguments of `Stream`, for all sources.

    Raises:
        UsageError, ModelError: on construction.
    """

    def __init__(
        self,
        sources: Mapping[str, Any],
        *,
        hop: float = 1.0,
        models: Sequence[str] = DEFAULT_MODELS,
        engine: str = "auto",
        threads: int = 1,
        weights: Sequence[float] | None = None,
        tagger: "Tagger | None" = None,
        outputs: Outputs = lambda name, stream: (),
        **listening: Any,
    ) -> None:
        if not sources:
            raise UsageError("a hub needs a source")
        step = hop_samples(hop)
        if tagger is None:
            from instrec_live.models.tagger import Tagger

            tagger = Tagger.load(models=tuple(models), engine=engine, threads=threads, weights=weights)
        warm_up(tagger, step, listening.get("smoothing") or Smoothing())
        self.engine_name = tagger.engine_name
        self._batcher = batcher = Batcher(tagger)
        self._said: Queue[tuple[str, Said]] = Queue(_ROOM * len(sources))
        self._closed = threading.Event()

        @contextmanager
        def opening(about: Any) -> Iterator[Stream]:
            asked = about() if callable(about) else about
            ours = asked.get("stdin") if callable(about) else None
            with (
                ours or nullcontext(),
                Stream(**asked, hop=hop, tagger=tagger, batcher=batcher, **listening) as stream,
            ):
                yield stream

        self.channels = {
            name: Channel(name, lambda about=about: opening(about), outputs, self._tell)  # type: ignore[misc]
            for name, about in sources.items()
        }

    def __enter__(self) -> "Hub":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[str, Said]]:
        for channel in self.channels.values():
            channel.start()
        speaking = set(self.channels)  # those that have more to say
        try:
            while speaking and not self._closed.is_set():
                try:
                    name, said = self._said.get(timeout=_GLANCE)
                except Empty:
                    continue
                if not isinstance(said, Update):
                    speaking.discard(name)
                yield name, said
        finally:
            self.close()

    def close(self) -> None:
        """End all listening, and the outputs with their summaries. From any thread, any number of times."""
        self._closed.set()
        until = monotonic() + _CLOSE_WITHIN
        for channel in self.channels.values():
            channel.close()
        for channel in self.channels.values():
            channel.join(max(0.0, until - monotonic()))
        self._batcher.close()

    def _tell(self, name: str, said: Said) -> None:
        """Hand on what a source says; where nobody takes it, the source waits and skips windows, as if it were slow."""
        while not self._closed.is_set():
            try:
                self._said.put((name, said), timeout=_GLANCE)
                return
            except Full:
                continue
