"""What was found to be fastest, kept in a file: losing it costs a measurement, so nothing about it is an error."""

import json
import logging
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

UNBUILT = "not built yet: choosing it by name, once, builds it"

_LIBRARIES = ("instrec-live", "numpy", "onnxruntime", "openvino", "tensorrt", "cuda-python")
_MOST = 32  # measurements that are kept

log = logging.getLogger(__name__)


def place() -> Path:
    """The file."""
    from platformdirs import user_cache_path

    return user_cache_path("instrec-live") / "probe.json"


def facts(sha256s: Sequence[str], threads: int) -> dict[str, Any]:
    """All that a measurement depends on."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "models": list(sha256s),
    }


def recall(about: Mapping[str, Any]) -> dict[str, Any] | None:
    """What was remembered about these facts: {"engine", "costs", "left_out"}; None if nothing sound was."""
    return next((entry for entry in _entries() if entry["facts"] == about), None)


def remember(about: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Keep it, whole or not at all; a place that cannot be written is logged."""
    entry = {"facts": dict(about), **found, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    entries = [entry, *(other for other in _entries() if other["facts"] != about)][:_MOST]
    file, scratch = place(), None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=".probe-", delete=False, encoding="utf-8") as out:
            scratch = Path(out.name)
            json.dump({"entries": entries}, out, indent=1)
        scratch.replace(file)
    except OSError as error:
        log.info("which engine is fastest cannot be remembered: %s", error)
        if scratch is not None:
            scratch.unlink(missing_ok=True)


def processor() -> str:
    """Its name, as far as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
            return next(names, platform.machine())
    except OSError:
        return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _entries() -> list[dict[str, Any]]:
    """The entries that are what they should be."""
    try:
        entries = json.loads(place().read_text(encoding="utf-8"))["entries"]
        return [entry for entry in entries if _is_sound(entry)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        log.info("%s is not readable (%s): engines are measured anew", place(), type(error).__name__)
        return []


def _is_sound(entry: Any) -> bool:
    from instrec_live.models.engines import is_name

    return (
        isinstance(entry, dict)
        and isinstance(entry.get("facts"), dict)
        and is_name(entry.get("engine"))
        and isinstance(entry.get("costs"), dict)
        and all(is_name(name) and isinstance(cost, float) and cost > 0 for name, cost in entry["costs"].items())
        and isinstance(entry.get("left_out"), dict)
        and all(is_name(name) and isinstance(why, str) for name, why in entry["left_out"].items())
    )
