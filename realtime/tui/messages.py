"""What the screen listens to, and what the listening thread and the rows tell it."""

from collections.abc import Iterator
from typing import Protocol

from textual.message import Message

from instrec_live.realtime.transport import Controls
from instrec_live.realtime.update import StreamInfo, Update


class Updates(Controls, Protocol):
    """What the screen needs of a stream."""

    @property
    def info(self) -> StreamInfo: ...
    def __iter__(self) -> Iterator[Update]: ...
    def close(self) -> None: ...


class NewUpdate(Message):
    """An update arrived."""

    def __init__(self, update: Update) -> None:
        super().__init__()
        self.update = update


class StreamEnded(Message):
    """The stream has no more updates; `error` says why where that was not its natural end."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error


class RowChosen(Message):
    """A click fell on an instrument's row, or (None) beside the rows."""

    def __init__(self, name: str | None) -> None:
        super().__init__()
        self.name = name


class Sought(Message):
    """A click fell on the line that shows where in the file we are, at `time` (s)."""

    def __init__(self, time: float) -> None:
        super().__init__()
        self.time = time


class Noticed(Message):
    """Something that the user should know, though it ends nothing."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words
