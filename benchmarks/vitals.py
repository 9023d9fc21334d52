"""What a process holds while it runs, from Linux's /proc, and whether it grows."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_TICKS = os.sysconf("SC_CLK_TCK")
WARM_UP = 0.1  # of a run that does not count for a slope: caches fill, libraries load


@dataclass(frozen=True, slots=True)
class Vitals:
    """One look at a process.

    Attributes:
        memory_mb: resident, MB of 10^6 bytes.
        own_mb: the part of it that is not mapped from files.
        files: open descriptors.
        threads: of it.
        cpu_s: time of processors so far, s.
    """

    memory_mb: float
    own_mb: float
    files: int
    threads: int
    cpu_s: float


def look_at(pid: int) -> Vitals | None:
    """How a process is now; None once it has ended."""
    folder = Path(f"/proc/{pid}")
    try:
        told = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        files = len(list((folder / "fd").iterdir()))
        # After the name, which may hold anything: user and system time are the 12th and 13th.
        times = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # PermissionError: it is a zombie's
        return None
    if "VmRSS" not in told:
        return None
    memory, own = (int(told[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "RssAnon"))
    return Vitals(memory, own, files, int(told["Threads"]), sum(map(int, times)) / _TICKS)


def slope(hours: Sequence[float], values: Sequence[float], warm_up: float = WARM_UP) -> float:
    """Growth an hour: the line of least squares, without the first `warm_up` of the hours.

    Raises:
        ValueError: fewer than three values are left.
    """
    x, y = np.asarray(hours, float), np.asarray(values, float)
    kept = x >= x[0] + warm_up * (x[-1] - x[0]) if len(x) else np.zeros(0, bool)
    if kept.sum() < 3:
        raise ValueError(f"{kept.sum()} values make no slope")
    return float(np.polyfit(x[kept], y[kept], 1)[0])


def thinned(values: Sequence[float], count: int) -> list[int]:
    """At most `count` places of a curve, evenly, first and last among them."""
    return [int(i) for i in np.unique(np.linspace(0, len(values) - 1, min(count, len(values))).round())]
