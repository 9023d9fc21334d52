"""Where updates go, and what there is to say at the end."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.realtime.update import Update


@dataclass(frozen=True, slots=True)
class Summary:
    """What there is to say at the end.

    Attributes:
        updates: how many.
        time: of the last update, s.
        ended: "end" of the sound, "stopped" by the user, or "failed".
        active_seconds: how long each instrument that sounded at all was active, s.
        skipped, xruns, bad_samples: as of the last update.
        drift_s: how far the device's clock is ahead of this machine's, s; None where it was not measured.
        drift_ppm: how much faster it runs, in millionths; None before five minutes.
    """

    updates: int
    time: float
    ended: str
    active_seconds: dict[str, float]
    skipped: int
    xruns: int
    bad_samples: int
    drift_s: float | None = None
    drift_ppm: float | None = None

    @property
    def in_words(self) -> str:
        """ "piano 12.5 s, voice 3.0 s", the longest first."""
        longest = sorted(self.active_seconds.items(), key=lambda item: -item[1])
        return ", ".join(f"{DISPLAY_NAMES[name]} {s:.1f} s" for name, s in longest) or "no instrument recognised"


class Sink(ABC):
    """Where updates go. Raises OSError when it can take no more; what it cannot hold it leaves out."""

    @abstractmethod
    def write(self, update: Update) -> None: ...

    def label(self, time: float, text: str) -> None:  # noqa: B027 - not every sink can
        """A label that somebody set, at a time in s; `text` is one line."""

    def change(self, record: Mapping[str, Any]) -> None:  # noqa: B027
        """Something about the run is different from now on: {"type": "thresholds", "source", "lost" or "found",
        "time": s, …}.
        """

    @abstractmethod
    def close(self, summary: Summary) -> None: ...


class LostOnTheWay(OSError):  # noqa: N818 - said of a message, not of the sink
    """What was sent did not arrive, but what is sent next may."""
