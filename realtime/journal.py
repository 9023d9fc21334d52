"""A stream whose updates are written down while they pass."""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import TextIO

from instrec_live.models.errors import InstrecError
from instrec_live.realtime.outputs import Sink, Summary
from instrec_live.realtime.recorder import Recorder
from instrec_live.realtime.stream import FloatArray, Stream
from instrec_live.realtime.update import State, StreamInfo, Update

log = logging.getLogger(__name__)


class TooSlow(InstrecError):  # noqa: N818 - like the errors of the models' room
    """More than a tenth of the last minute's windows were skipped, and the user is strict about it."""

    exit_code = 6


class Journal:
    """Looks like the stream inside it (info, iteration, close), and hands each update to sinks on its way.

    An output that fails (a full disk) is given up with a word in the log, and the listening goes on; a reader
    of stdout that hangs up ends it.

    Attributes:
        info: the stream's.
        failed: whether an output had to be given up.
    """

    def __init__(self, stream: Stream, strict: bool = False) -> None:
        self._stream, self._strict = stream, strict
        self._sinks: list[tuple[str, Sink, TextIO | None]] = []
        self._recorder: Recorder | None = None
        self._lock = threading.Lock()  # the screen may end while its thread still hands on an update
        self._closed = self._stopping = self._hung_up = False
        self._last: Update | None = None
        self._updates = 0
        self._active_seconds: dict[str, float] = {}
        self._ended = "stopped"
        self.failed = False

    @property
    def info(self) -> StreamInfo:
        return self._stream.info

    def add(self, name: str, sink: Sink, file: TextIO | None = None) -> None:
        """Also write to `sink`; `file`, if given, is closed after it."""
        self._sinks.append((name, sink, file))

    def record(self, recorder: Recorder) -> None:
        """Also write the sound."""
        self._recorder = recorder
        self._stream.tap(self._hear)

    def __iter__(self) -> Iterator[Update]:
        try:
            for update in self._stream:
                with self._lock:
                    if self._closed:
                        return
                    self._note(update)
                if self._hung_up:
                    raise BrokenPipeError
                if self._strict and update.state is State.CATCHING_UP:
                    raise TooSlow(
                        f"the networks cannot keep up: {update.skipped} windows skipped so far",
                        "take fewer --models, a longer --hop or more --threads",
                    )
                yield update
            if not self._stopping:
                self._ended = "end"
        except BrokenPipeError:
            raise
        except Exception as error:
            # A signal that strikes inside a lock's own code shows as that lock's error.
            if not isinstance(error.__context__, KeyboardInterrupt):
                self._ended = "failed"
            raise

    def close(self) -> None:
        """End the listening. The outputs stay open until `finish`."""
        self._stopping = True
        self._stream.close()

    def finish(self) -> Summary:
        """End the listening and the outputs, each with its summary."""
        self.close()
        with self._lock:
            self._closed = True
            last = self._last
            summary = Summary(
                updates=self._updates,
                time=round(last.time, 3) if last else 0.0,
                ended=self._ended,
                active_seconds={name: round(s, 3) for name, s in self._active_seconds.items()},
                skipped=last.skipped if last else 0,
                xruns=last.xruns if last else 0,
                bad_samples=last.bad_samples if last else 0,
            )
            self._each(lambda sink: sink.close(summary))
            for name, _, file in self._sinks:
                if file is not None:
                    self._guard(name, file.close)
            if self._recorder is not None:
                self._guard(str(self._recorder.path), self._recorder.close)
        return summary

    def _note(self, update: Update) -> None:
        since = self._last.time if self._last else update.time - self.info.hop
        for name in update.active:
            self._active_seconds[name] = self._active_seconds.get(name, 0.0) + update.time - since
        self._last = update
        self._updates += 1
        self._each(lambda sink: sink.write(update))

    def _each(self, action: Callable[[Sink], None]) -> None:
        self._sinks = [
            (name, sink, file)
            for name, sink, file in self._sinks
            if self._guard(name, lambda sink=sink: action(sink))  # type: ignore[misc]
        ]

    def _hear(self, samples: FloatArray) -> None:
        recorder = self._recorder
        if recorder is not None and not self._guard(str(recorder.path), lambda: recorder.write(samples)):
            self._recorder = None

    def _guard(self, name: str, action: Callable[[], None]) -> bool:
        try:
            action()
        except BrokenPipeError:
            self._hung_up = True
            return False
        except OSError as error:
            return self._give_up(name, error.strerror or str(error))
        return True

    def _give_up(self, name: str, why: str) -> bool:
        log.error("%s can be written no further: %s; the listening goes on without it", name, why)
        self.failed = True
        return False
