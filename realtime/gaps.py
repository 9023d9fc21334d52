"""Where sound is missing, by sample."""

from collections import deque


class Gaps:
    """The places of a sound at which some of it was lost. From any thread; one asks.

    Attributes:
        count: how many there have been.
    """

    def __init__(self) -> None:
        self.count = 0
        self._at: deque[int] = deque()

    def note(self, index: int) -> None:
        """Sound is missing before sample `index`."""
        self._at.append(index)
        self.count += 1

    def within(self, start: int, stop: int) -> bool:
        """Whether some is missing inside the samples [start, stop). What lies before `start` is forgotten."""
        while self._at and self._at[0] <= start:
            self._at.popleft()
        return any(start < index < stop for index in self._at.copy())
