"""What a benchmark ran on."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from instrec_live.realtime.errors import printable

_BUSY = 0.5  # programs that want a core, for each core: from there on times are longer than they need be


def facts() -> dict[str, Any]:
    """Versions, the processor's name, how many cores, and how many programs wanted one of late (0: not told)."""
    return {
        "instrec_live": version("instrec-live"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "load": _load(),
    }


def is_busy(machine: dict[str, Any]) -> bool:
    return bool(machine["load"] > _BUSY * machine["cores"])


def heading(machine: dict[str, Any], threads: int) -> list[str]:
    """The same in two lines."""
    return [
        f"instrec-live {machine['instrec_live']}, Python {machine['python']}, {platform.system()}",
        f"{machine['processor']}, {_count(machine['cores'], 'core')}; {_count(threads, 'thread')}",
    ]


def processor() -> str:
    """The processor's name, as well as it can be told."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return printable(next(line.partition(":")[2] for line in told if line.startswith("model name")))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _load() -> float:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has none
        return 0.0


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
