"""What a run comes to, counted while it passes."""

from instrec_live.realtime.drift import Drift
from instrec_live.realtime.outputs.sink import Summary
from instrec_live.realtime.outputs.stretches import goes_on
from instrec_live.realtime.update import Update


class Tally:
    """Counts updates and how long each instrument was active.

    Attributes:
        last: the latest update, None before the first.
    """

    def __init__(self, hop: float) -> None:
        self._hop = hop
        self._updates = 0
        self._active_seconds: dict[str, float] = {}
        self.last: Update | None = None

    @property
    def time(self) -> float:
        """Of the latest update, s; 0 before the first."""
        return self.last.time if self.last else 0.0

    def note(self, update: Update) -> None:
        since = self.time if self.last and goes_on(update, self.time) else update.time - self._hop
        for name in update.active:
            self._active_seconds[name] = self._active_seconds.get(name, 0.0) + update.time - since
        self.last = update
        self._updates += 1

    def summary(self, ended: str, drift: Drift | None = None) -> Summary:
        """All that has been noted; `ended` as in `Summary`."""
        last = self.last
        return Summary(
            updates=self._updates,
            time=round(self.time, 3),
            ended=ended,
            active_seconds={name: round(s, 3) for name, s in self._active_seconds.items()},
            skipped=last.skipped if last else 0,
            xruns=last.xruns if last else 0,
            bad_samples=last.bad_samples if last else 0,
            drift_s=None if drift is None else round(drift.seconds, 4),
            drift_ppm=None if drift is None or drift.ppm is None else round(drift.ppm, 1),
        )
