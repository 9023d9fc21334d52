"""What TensorRT tells while it works: its log goes into ours, and how far a build is goes to whoever asks.

TensorRT calls these from C++ that knows no Python exceptions: one that got out would end the process. What happens in
a call (Ctrl-C may strike there) is kept, and `raise_what_happened` raises it afterwards.
"""

import gc
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Report = Callable[[str, int, int], None]  # phase, steps done, steps in all

_log = logging.getLogger(__name__)


class _Collector:
    """Python's garbage collector, which pauses as long as anybody wants it to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pauses = 0
        self._ran = True

    @contextmanager
    def paused(self) -> Iterator[None]:
        with self._lock:
            if self._pauses == 0:
                self._ran = gc.isenabled()
            self._pauses += 1
            gc.disable()
        try:
            yield
        finally:
            with self._lock:
                self._pauses -= 1
                if self._pauses == 0 and self._ran:
                    gc.enable()


# Hold it around what may make TensorRT call back. It calls with its lock held; if the collector happened to run then,
# and to find a builder or an engine among the garbage, destroying that would wait for the same lock, for ever.
undisturbed = _Collector().paused


class Happened:
    """An exception that waits to be raised outside a call."""

    def __init__(self) -> None:
        self._error: BaseException | None = None

    def __bool__(self) -> bool:
        return self._error is not None

    def keep(self, error: BaseException) -> None:
        self._error = self._error or error

    def raise_what_happened(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error


def logger_for(trt: Any) -> Any:
    """A `trt.ILogger` that writes to Python's logging, at DEBUG: never to a terminal by itself.

    Its `last_error` is the latest error's text or "", its `happened` a `Happened`.
    """
    severity = trt.ILogger.Severity

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last_error = ""
            self.happened = Happened()

        def log(self, level: Any, message: str) -> None:
            try:
                if level in (severity.INTERNAL_ERROR, severity.ERROR):
                    self.last_error = " ".join(message.split())[:300]
                if level != severity.VERBOSE:  # thousands of lines a build
                    _log.debug("%s: %s", level.name.lower().replace("_", " "), message)
            except BaseException as e:
                self.happened.keep(e)

    return Logger()


def monitor_for(trt: Any, report: Report, happened: Happened) -> Any:
    """A `trt.IProgressMonitor` that reports the steps of the outermost phases, and stops the build once something has
    happened."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            try:
                if not parent_phase:
                    self._steps[phase_name] = num_steps
                    report(phase_name, 0, num_steps)
            except BaseException as e:
                happened.keep(e)

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                if phase_name in self._steps:
                    report(phase_name, step + 1, self._steps[phase_name])
            except BaseException as e:
                happened.keep(e)
            return not happened

        def phase_finish(self, phase_name: str) -> None:
            try:
                self._steps.pop(phase_name, None)
            except BaseException as e:
                happened.keep(e)

    return Monitor()
