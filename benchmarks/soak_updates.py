"""Checks a run's lines of JSON, line by line: are its times those of the formula, and how old are its results?"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np


class UpdateCheck:
    """The updates of a run without seeks: the nth, after k skipped windows, must have the time hop * (n + k).

    Attributes:
        time: of the latest update, s.
        updates: how many there were.
        wrong: those with another time.
        skipped, xruns, bad_samples: as the latest update counts them.
        states: how many updates were in each state.
        summary: the last line, {} before it.
        late: the least seconds from an update's time to its arrival since `take`; what grows in it is drift.
        oldest: the greatest age since `take`, s.
    """

    def __init__(self) -> None:
        self.time = 0.0
        self.updates = self.wrong = self.skipped = self.xruns = self.bad_samples = 0
        self.states: Counter[str] = Counter()
        self.shown: Counter[str] = Counter()
        self.summary: Mapping[str, Any] = {}
        self.late, self.oldest = np.inf, 0.0
        self._hop = 0.0
        self._ages: list[float] = []

    def note(self, line: Mapping[str, Any], at: float) -> None:
        """One line, which came `at` seconds after the program began."""
        if line["type"] == "header":
            self._hop = line["hop"]
        elif line["type"] == "summary":
            self.summary = line
        elif line["type"] == "update":
            self._update(line, at)

    def _update(self, line: Mapping[str, Any], at: float) -> None:
        self.updates += 1
        self.skipped, self.xruns, self.bad_samples = (line[name] for name in ("skipped", "xruns", "bad_samples"))
        self.time = line["time"]
        self.wrong += self.time != round(self._hop * (self.updates + self.skipped), 3)
        self.states[line["state"]] += 1
        self.shown.update(line["active"])
        self._ages.append(line["age_s"])
        self.oldest, self.late = max(self.oldest, line["age_s"]), min(self.late, at - self.time)

    def reset(self) -> tuple[float | None, float | None]:
        """`late` and `oldest`, then reset; None where there was no update."""
        late, oldest = self.late, self.oldest
        self.late, self.oldest = np.inf, 0.0
        return (None, None) if late == np.inf else (late, oldest)

    def ages(self) -> dict[str, float]:
        """Percentiles of the ages, s."""
        told = zip(("p50", "p95", "p99", "max"), np.percentile(self._ages or [0.0], [50, 95, 99, 100]), strict=True)
        return {name: round(float(age), 3) for name, age in told}
