"""How far the run is: a bar where stderr is a terminal, else a line per file in the log."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.realtime.errors import printable
from instrec_live.realtime.tagging.tally import Record
from instrec_live.realtime.terminal import is_terminal

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

log = logging.getLogger(__name__)


class Progress(Protocol):
    def note(self, record: Record) -> None:
        """One more file is done."""


@contextmanager
def progress(total: int, quiet: bool) -> Iterator[Progress]:
    """Show how many of `total` files are done, until the end of the block."""
    if quiet or not is_terminal(sys.stderr):
        yield _Lines(total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn("tagging"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Bar(*columns, TextColumn("{task.fields[speed]}"), console=console, redirect_stdout=False) as bar:
        # While the bar is drawn, sys.stderr puts lines above it.
        handlers = [each for each in logging.getLogger("instrec_live").handlers if type(each) is logging.StreamHandler]
        before = [handler.setStream(sys.stderr) for handler in handlers]
        try:
            yield _Drawn(bar, bar.add_task("", total=total, speed=""))
        finally:
            for handler, stream in zip(handlers, before, strict=True):
                if stream is not None:
                    handler.setStream(stream)


class _Drawn:
    """Moves the bar."""

    def __init__(self, bar: "Bar", task: "TaskID") -> None:
        self._bar, self._task = bar, task
        self._began, self._seconds = monotonic(), 0.0

    def note(self, record: Record) -> None:
        self._seconds += record.duration_s or 0.0
        speed = f"{self._seconds / max(monotonic() - self._began, 1e-9):.0f} × real time"
        self._bar.update(self._task, advance=1, speed=speed)


class _Lines:
    """A line per file."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0

    def note(self, record: Record) -> None:
        self._done += 1
        if record.error is not None:  # which has a line of its own
            return
        longest = sorted((tag for tag in record.tags if tag.active_seconds), key=lambda tag: -tag.active_seconds)
        heard = ", ".join(f"{DISPLAY_NAMES[tag.instrument]} {tag.active_seconds:.1f} s" for tag in longest)
        log.info("%d/%d %s: %s", self._done, self._total, printable(record.name), heard or "no instrument recognised")
