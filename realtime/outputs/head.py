"""All that a reader of the data needs to know about how it was made."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.smoothing import Smoothing
from instrec_live.realtime.update import StreamInfo


def header(info: StreamInfo, smoothing: Smoothing, gate_db: float) -> dict[str, Any]:
    """The run's parameters, as JSON can hold them."""
    return {
        "type": "header",
        "program": "instrec-live",
        "version": version("instrec-live"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": info.source,
        "rate": info.source_rate,
        "channels": info.source_channels,
        "duration": None if info.duration is None else round(info.duration, 3),
        "hop": info.hop,
        "pace": info.pace,
        "engine": info.engine,
        "models": dict(info.sha256s),
        "weights": dict(info.weights),
        "thresholds": {name: round(level, 4) for name, level in info.thresholds.items()},
        "model_thresholds": {
            model: {name: round(level, 4) for name, level in levels.items()}
            for model, levels in info.model_thresholds.items()
        },
        "gate_db": gate_db,
        "smoothing": asdict(smoothing),
        "instruments": list(INSTRUMENTS),
    }


def day_of(head: Mapping[str, Any]) -> str:
    """When the run began, for people: "2026-11-24 20:13 UTC"."""
    created = str(head.get("created", ""))
    try:
        return datetime.fromisoformat(created).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return created
