"""One source of a hub: an ordinary stream, in a thread of its own."""

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from instrec_live.realtime.journal import Journal
from instrec_live.realtime.outputs import Sink, Summary
from instrec_live.realtime.stream import Stream
from instrec_live.realtime.update import Update

if TYPE_CHECKING:
    from typing import TextIO

Said = Update | Summary | BaseException  # the last two once, as the last thing
Outputs = Callable[[str, Stream], Iterable[tuple[str, Sink, "TextIO | None"]]]


class Channel:
    """Listens to one source, writes down what it says, and tells it on.

    Args:
        name: of the source in this hub.
        open_stream: opens it, which may take as long as it likes (a pipe to which nobody writes yet).
        outputs: what to write its updates to, once it is open.
        tell: takes what is said, with the name, in this channel's thread.

    Attributes:
        journal: of the stream, once it is open.
    """

    def __init__(
        self,
        name: str,
        open_stream: Callable[[], AbstractContextManager[Stream]],
        outputs: Outputs,
        tell: Callable[[str, Said], None],
    ) -> None:
        self.name = name
        self.journal: Journal | None = None
        self._open, self._outputs, self._tell = open_stream, outputs, tell
        self._lock = threading.Lock()  # between opening and closing
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"channel {name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End the listening soon. From any thread, any time."""
        with self._lock:
            self._closed = True
            if self.journal is not None:
                self.journal.close()

    def join(self, timeout: float) -> None:
        """Wait for the last thing that is said, unless the source is stuck in being opened."""
        if self.journal is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            summary = self._listen()
        except BaseException as error:  # for the one who iterates the hub
            self._tell(self.name, error)
        else:
            self._tell(self.name, summary)

    def _listen(self) -> Summary:
        with self._open() as stream:
            journal = Journal(stream, channel=self.name)
            for output in self._outputs(self.name, stream):
                journal.add(*output)
            with self._lock:
                self.journal = journal
                if self._closed:
                    journal.close()
            try:
                for update in journal:
                    self._tell(self.name, update)
            finally:
                summary = journal.finish()
        return summary
