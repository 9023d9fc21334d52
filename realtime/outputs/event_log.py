"""What the screen can write of a run at any moment: its events so far; and where labels go that no output keeps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from instrec_live.models.errors import cannot_write
from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.models.segments import Segment
from instrec_live.realtime.outputs.files import named_by_clock, open_text, write_whole
from instrec_live.realtime.outputs.sink import SegmentTracker, Sink, Summary
from instrec_live.realtime.stream.update import Update


class EventLog(Sink):
    """Keeps all segments and labels of a run, to be written when the user asks for it.

    Args:
        head: of the run; of it, `hop` and `decisions` are used.
    """

    def __init__(self, head: Mapping[str, Any]) -> None:
        self._tracker = SegmentTracker(head)
        self._lines: list[tuple[float, float, str]] = []  # s, s, name

    def write(self, update: Update) -> None:
        self._note(self._tracker.after(update))

    def label(self, time: float, text: str) -> None:
        self._lines.append((time, time, text))

    def close(self, summary: Summary) -> None:
        self._note(self._tracker.rest())

    def export(self, stem: str) -> Path:
        """Write a label track for Audacity, in order of onset, named by date and time; returns the file.

        Raises:
            UsageError: it cannot be written.
        """
        path = named_by_clock(f"{stem}-events", ".txt")
        open_ones = [(on, off, DISPLAY_NAMES[name]) for on, off, name in self._tracker.unfinished()]
        lines = [f"{on:.3f}\t{off:.3f}\t{name}\n" for on, off, name in sorted([*self._lines, *open_ones])]
        try:
            write_whole(path, "".join(lines).encode(), force=False)
        except OSError as error:
            raise cannot_write(path, error) from error
        return path

    def _note(self, segments: list[Segment]) -> None:
        self._lines += [(each.onset, each.offset, DISPLAY_NAMES[each.name]) for each in segments]


class LabelFile(Sink):
    """Labels alone, as a label track for Audacity, named by date and time.

    Attributes:
        path: the file.

    Raises:
        UsageError: it cannot be created.
    """

    keeps_labels = True

    def __init__(self, stem: str) -> None:
        self.path = named_by_clock(f"{stem}-labels", ".txt")
        self.file: TextIO = open_text(self.path, force=False)

    def write(self, update: Update) -> None:
        """Nothing: it holds labels only."""

    def label(self, time: float, text: str) -> None:
        self.file.write(f"{time:.3f}\t{time:.3f}\t{text}\n")
        self.file.flush()

    def close(self, summary: Summary) -> None:
        """The file is closed by its owner."""
