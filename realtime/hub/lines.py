"""What many sources write, line by line, into one file or stdout."""

import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from instrec_live.realtime.errors import UsageError
from instrec_live.realtime.hub.options import WatchSettings

if TYPE_CHECKING:
    from instrec_live.realtime.outputs import Sink
    from instrec_live.realtime.stream import Stream

log = logging.getLogger(__name__)


class Lines:
    """The outputs of all sources.

    Args:
        settings: of the run.
        ui: whether stdout is the screen.

    Raises:
        UsageError: the file could not be made.
    """

    def __init__(self, settings: WatchSettings, ui: bool) -> None:
        from instrec_live.realtime.outputs import check_writable

        self._settings, self._ui = settings, ui
        self._stdout = _Shared(sys.stdout)
        self._file: _Shared | None = None
        if settings.output is not None:
            check_writable(settings.output, settings.listening.force)

    def begin(self) -> None:
        """Make the file, now that nothing else can keep the listening from beginning.

        Raises:
            UsageError: it cannot be made.
        """
        from instrec_live.realtime.outputs import open_text

        if self._settings.output is not None:
            self._file = _Shared(open_text(self._settings.output, self._settings.listening.force))

    def of(self, name: str, stream: "Stream") -> "list[tuple[str, Sink, TextIO | None]]":
        """A source's outputs, begun.

        Raises:
            UsageError: one cannot be written.
            BrokenPipeError: whoever read stdout has gone.
        """
        from instrec_live.realtime.outputs import Changes, JsonLines, header

        asked = self._settings.listening
        head = header(stream.info, stream.smoothing, asked.gate)
        outputs: list[tuple[str, Sink, TextIO | None]] = []
        if not asked.json and not self._ui:
            outputs.append(("stdout", Changes(self._stdout, name), None))  # type: ignore[arg-type]
        for place, file in self._json():
            with _in_one_line(place):
                outputs.append((place, JsonLines(file, head, name), None))  # type: ignore[arg-type]
        return outputs

    def tell(self, record: dict[str, Any]) -> None:
        """A line that is no stream's. Where it cannot be written, the listening goes on without it.

        Raises:
            BrokenPipeError: whoever read stdout has gone.
        """
        for place, file in self._json():
            known = file.failed
            try:
                with _in_one_line(place):
                    file.write(json.dumps(record) + "\n")
                    file.flush()
            except UsageError as error:
                if not known:
                    log.error("%s", error)

    def close(self) -> None:
        """Close the file.

        Raises:
            UsageError: what is left cannot be written, and nothing before it failed.
        """
        if self._file is not None:
            with _in_one_line(str(self._settings.output)):
                self._file.close()

    def _json(self) -> "list[tuple[str, _Shared]]":
        """Where JSON lines go, by name."""
        places = [("stdout", self._stdout)] if self._settings.listening.json else []
        return places if self._file is None else [*places, (str(self._settings.output), self._file)]


@contextmanager
def _in_one_line(place: str) -> Iterator[None]:
    """A failure to write there, for the user.

    Raises:
        UsageError: it cannot be written.
        BrokenPipeError: whoever read it has gone.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"{place} cannot be written: {error.strerror}") from error


class _Shared:
    """A text file for many threads, each of which writes whole lines.

    Attributes:
        failed: whether something could not be written; whoever wrote it knows.
    """

    def __init__(self, file: TextIO) -> None:
        self._file, self._lock = file, threading.Lock()
        self.failed = False

    def write(self, text: str) -> int:
        with self._alone():
            return self._file.write(text)

    def flush(self) -> None:
        with self._alone():
            self._file.flush()

    def close(self) -> None:
        """Close it. That the rest cannot be written is no news of one that has failed."""
        known = self.failed
        try:
            with self._alone():
                self._file.close()
        except OSError:
            if not known:
                raise

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except OSError:
                self.failed = True
                raise
