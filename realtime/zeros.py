"""A microphone that gives nothing but zeros: muted, or kept from us by the system."""

import logging

from instrec_live.realtime.health import FLOOR_DB
from instrec_live.realtime.sources import MicrophoneSource, Source

AFTER = 5.0  # s; a live input is never so still for so long, if only by its own noise

log = logging.getLogger(__name__)


class Zeros:
    """Notices a microphone's digital silence, and says so in the log: once for each, however often it comes.

    Of other sources nothing is said: what a computer plays is digital silence whenever it plays nothing.
    """

    def __init__(self) -> None:
        self._since: float | None = None  # s, end of the first hop of zeros
        self._told: set[str] = set()

    def begin(self) -> None:
        """The sound begins anew."""
        self._since = None

    def after(self, source: Source, time: float, peak_db: float) -> bool:
        """Whether `source` has given zeros only for five seconds.

        Args:
            time: end of the newest hop, s, ascending.
            peak_db: its highest absolute sample, dBFS.
        """
        if peak_db > FLOOR_DB or not isinstance(source, MicrophoneSource):
            self._since = None
            return False
        if self._since is None:
            self._since = time
        if time - self._since < AFTER:
            return False
        if source.label not in self._told:
            self._told.add(source.label)
            log.warning(
                "%s gives digital silence: is it muted, or is this program not allowed to hear it?", source.label
            )
        return True
