"""What the screen needs of a stream, and the messages between its threads and widgets."""

from collections.abc import Iterator
from typing import Protocol

from textual.message import Message

from instrec_live.realtime.stream.update import Controls, StreamInfo, Update


class Updates(Controls, Protocol):
    """What the screen needs of a stream."""

    @property
    def info(self) -> StreamInfo: ...
    def __iter__(self) -> Iterator[Update]: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...


class NewUpdate(Message):
    """An update arrived."""

    def __init__(self, update: Update) -> None:
        super().__init__()
        self.update = update


class StreamEnded(Message):
    """The stream has ended; `error` says why, if that was not its end."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error


class RowChosen(Message):
    """A click on an instrument's row, or (None) outside the rows."""

    def __init__(self, name: str | None) -> None:
        super().__init__()
        self.name = name


class SeekRequested(Message):
    """A click on the seek bar, at `time` (s)."""

    def __init__(self, time: float) -> None:
        super().__init__()
        self.time = time


class Notice(Message):
    """A notice for the user; nothing has ended."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
