"""The search for a device that was lost: tried again and again, ever less often, until it is there."""

import logging
import threading
from collections.abc import Callable, Iterator

from instrec_live.realtime.errors import InstrecError

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # s

log = logging.getLogger(__name__)


def pauses() -> Iterator[float]:
    """Seconds to wait before each attempt: 0.5, 1, 2, 4, 8, then 10 for ever."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)


class Search:
    """A thread that makes attempts, since each may take long, until nobody wants more of them.

    Args:
        attempt: one attempt; an InstrecError is one that failed.
        wanted: whether there is still something to look for.
        ring: called when the search has ended by a defect.

    Attributes:
        defect: what ended it so.
    """

    def __init__(self, attempt: Callable[[], None], wanted: Callable[[], bool], ring: Callable[[], None]) -> None:
        self._attempt, self._wanted, self._ring = attempt, wanted, ring
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="search", daemon=True)
        self.defect: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Make no further attempt; does not wait for the present one. From any thread."""
        self._stopped.set()

    def join(self, timeout: float) -> bool:
        """Wait for the present attempt's end, for at most so many seconds; returns whether it has ended."""
        if self._thread.is_alive():  # else it may not have begun, and will find that nobody wants it
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        said = ""
        for pause in pauses():
            if self._stopped.wait(pause) or not self._wanted():
                return
            try:
                self._attempt()
            except InstrecError as error:
                if str(error) != said:  # the log of a night is not to be full of it
                    said = str(error)
                    log.debug("not found again yet: %s", said)
            except BaseException as error:  # re-raised where the sound is awaited
                self.defect = error
                self._ring()
                return
