"""Several sinks as one, of which each may fail without the others."""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TextIO

from instrec_live.realtime.outputs.sink import LostOnTheWay, Sink, Summary
from instrec_live.realtime.update import Update

log = logging.getLogger(__name__)


class Outlets(Sink):
    """Hands everything on to its sinks. One that fails (a full disk) is given up with a word in the log.

    Attributes:
        failed: whether one had to be given up.
        hung_up: whether the reader of one (stdout) has gone.
    """

    def __init__(self) -> None:
        self._sinks: list[tuple[str, Sink, TextIO | None]] = []
        self._unheard: set[str] = set()
        self.failed = self.hung_up = False
        self._notices: SimpleQueue[str] = SimpleQueue()

    def add(self, name: str, sink: Sink, file: TextIO | None = None) -> None:
        """Also write to `sink`; `file`, if given, is closed after it."""
        self._sinks.append((name, sink, file))

    def write(self, update: Update) -> None:
        self._each(lambda sink: sink.write(update))

    def label(self, time: float, text: str) -> None:
        self._each(lambda sink: sink.label(time, text))

    def change(self, record: Mapping[str, Any]) -> None:
        self._each(lambda sink: sink.change(record))

    def close(self, summary: Summary) -> None:
        """Close every sink and file, also where one of them has a defect; that is raised after."""
        defects: list[Exception] = []

        def closed(action: Callable[[], None], name: str) -> None:
            try:
                self.guard(name, action)
            except Exception as defect:
                defects.append(defect)

        for name, sink, file in self._sinks:
            closed(lambda sink=sink: sink.close(summary), name)  # type: ignore[misc]
            if file is not None:
                closed(file.close, name)
        self._sinks = []
        if defects:
            raise defects[0]

    def told(self) -> list[str]:
        """What has gone wrong since the last call, in short lines, for whoever shows them. From any thread."""
        lines = []
        with suppress(Empty):
            while True:
                lines.append(self._notices.get_nowait())
        return lines

    def guard(self, name: str, action: Callable[[], None]) -> bool:
        """Do something with the output `name`; whether it can go on."""
        try:
            action()
        except LostOnTheWay as error:
            if name not in self._unheard:
                self._unheard.add(name)
                log.warning("%s does not get through: %s; it will be tried again", name, error)
                self._notices.put(f"{name} does not get through")
        except BrokenPipeError:
            self.hung_up = True
            return False
        except OSError as error:
            return self._give_up(name, error.strerror or str(error))
        else:
            self._unheard.discard(name)
        return True

    def _each(self, action: Callable[[Sink], None]) -> None:
        self._sinks = [
            (name, sink, file)
            for name, sink, file in self._sinks
            if self.guard(name, lambda sink=sink: action(sink))  # type: ignore[misc]
        ]

    def _give_up(self, name: str, why: str) -> bool:
        log.error("%s can be written no further: %s; the listening goes on without it", name, why)
        self._notices.put(f"{name}: {why}; the listening goes on without it")
        self.failed = True
        return False
