"""From when to when each instrument sounds."""

from dataclasses import dataclass

from instrec_live.realtime.update import Update


@dataclass(frozen=True, slots=True)
class Stretch:
    """An instrument sounds from `onset` to `offset`, s; never before, and maybe at once again after."""

    name: str
    onset: float
    offset: float


def goes_on(update: Update, before: float | None) -> bool:
    """Whether an update's sound follows that of the update at the time `before`, s; None for no such."""
    return before is not None and not update.jumped and update.time >= before


class Stretches:
    """Follows the updates, and tells each stretch when it ends. A jump in the sound ends all."""

    def __init__(self) -> None:
        self._onsets: dict[str, float] = {}
        self._time = 0.0

    def after(self, update: Update) -> list[Stretch]:
        """The stretches that have ended with this update, in the order of their onsets."""
        if goes_on(update, self._time):
            ended = self._ended([name for name in self._onsets if name not in update.active], update.time)
        else:
            ended = self._ended(list(self._onsets), self._time)
        self._time = update.time
        for name in update.active:
            self._onsets.setdefault(name, update.time)
        return ended

    def rest(self) -> list[Stretch]:
        """Those that still last at the last update, ended there."""
        return self._ended(list(self._onsets), self._time)

    def _ended(self, names: list[str], offset: float) -> list[Stretch]:
        return [Stretch(name, self._onsets.pop(name), offset) for name in names]
