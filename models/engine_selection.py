"""Which engine is fastest here: measured once, in a second or so for each, and cached for this machine.

Losing the cache costs one measurement, so nothing about its file is an error.
"""

import json
import logging
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from instrec_live.models.bundle import Bundle
from instrec_live.models.engines import registry
from instrec_live.models.engines.base import Engine, verify_golden
from instrec_live.models.errors import InstrecError
from instrec_live.models.files import atomic_text, read_regular, user_folder
from instrec_live.models.logmel import SAMPLE_RATE, WINDOW_SECONDS, StreamingLogMel
from instrec_live.models.streaming import PatchCache, StreamingInference

NOT_BUILT = "not built yet: choosing it by name, once, builds it"

_SIMILAR = 1.1  # a cost up to this factor of the lowest is no reason to prefer a more special engine
_SHORT = 2.5  # s; every hop, and the long window once a second: a little more than a stream computes
_HOPS = 2  # a second
_ROUNDS, _ENOUGH = 3, 0.5  # seconds of sound at most; seconds of measuring after which no further one is begun
_LIBRARIES = ("instrec-live", "numpy", "onnxruntime", "openvino", "tensorrt", "cuda-python")
_MAX_ENTRIES = 32  # measurements kept in the cache

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineChoice:
    """An engine, and why it was chosen.

    Attributes:
        engine: its name as `open_engine` takes it, e.g. "openvino:bf16".
        costs: by engine, in the registry's order: seconds that the networks take for a second of sound, of CPU time, or
            of wall-clock time for an engine on a GPU. Empty: there was no choice.
        left_out: by engine: why it was not measured, or not considered.
        cached: it was measured earlier.
    """

    engine: str
    costs: Mapping[str, float]
    left_out: Mapping[str, str]
    cached: bool = False


def choose_engine(bundles: Sequence[Bundle], threads: int = 1) -> EngineChoice:
    """The fastest usable engine for these networks; of similar ones the first of the registry.

    If several are usable they are measured, unless the cache has a measurement with the same processor, libraries,
    networks and threads. An engine that fails, gives wrong results or is not built yet is left out. If none is left,
    the first usable one is chosen: opening it will report what is wrong.
    """
    key = measurement_key([bundle.sha256 for bundle in bundles], threads)
    cached = read_cache(key)
    if cached is not None and _is_still_valid(cached, bundles):
        return EngineChoice(cached["engine"], cached["costs"], cached["left_out"], cached=True)
    usable = [name for name, is_usable, _ in registry.available() if is_usable]
    if len(usable) < 2:
        return EngineChoice(usable[0] if usable else "onnx", {}, {})
    log.info("measuring which of %s is fastest here, once", ", ".join(usable))
    costs: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for name in usable:
        if not _is_built(name, bundles):
            left_out[name] = NOT_BUILT
            continue
        try:
            costs[name] = _total_cost(bundles, name, threads)
        except InstrecError as error:
            log.info("engine %s is left out: %s", name, error)
            left_out[name] = str(error)
    choice = EngineChoice(fastest(costs) or usable[0], costs, left_out)
    if costs:
        write_cache(key, {"engine": choice.engine, "costs": costs, "left_out": left_out})
    return choice


def fastest(costs: Mapping[str, float]) -> str | None:
    """The first engine whose cost is at most 10 % above the lowest; None if there are none."""
    return next((name for name, cost in costs.items() if cost <= _SIMILAR * min(costs.values())), None)


def explain_choice(choice: EngineChoice) -> str:
    """Why this one, in a line."""
    if not choice.costs:
        reasons = "; ".join(f"{name}: {why}" for name, why in choice.left_out.items())
        return f"{choice.engine}: " + (f"none could be measured ({reasons})" if reasons else "the only one usable here")
    best = min(choice.costs, key=lambda name: choice.costs[name])
    why = "the fastest" if best == choice.engine else f"not much slower than {best}, and more common"
    when = "measured earlier" if choice.cached else "measured now"
    return f"{choice.engine}: {why}; {when}, cached in {cache_file()}"


def _is_still_valid(cached: Mapping[str, object], bundles: Sequence[Bundle]) -> bool:
    """Whether the engine is still usable without a build, and no engine that was left out as not built is built now."""
    name, left_out = cached["engine"], cached["left_out"]
    assert isinstance(name, str)
    assert isinstance(left_out, Mapping)
    not_built = [other for other, why in left_out.items() if why == NOT_BUILT]
    usable = registry.unavailable_reason(name) is None and _is_built(name, bundles)
    return usable and not any(_is_built(other, bundles) for other in not_built)


def _is_built(name: str, bundles: Sequence[Bundle]) -> bool:
    return all(registry.is_built(bundle, name) for bundle in bundles)


def _total_cost(bundles: Sequence[Bundle], name: str, threads: int) -> float:
    """Seconds that all networks take for a second of sound.

    Raises:
        InstrecError: the engine fails, or its results are not the bundles' golden ones.
    """
    clock = time.perf_counter if registry.on_gpu(name) else time.process_time
    total = 0.0
    for bundle in bundles:
        engine = registry.open_engine(bundle, name, threads)
        verify_golden(engine, bundle, registry.parse_engine(name)[1])
        total += measure_cost(engine, bundle, clock)
    return total


def measure_cost(engine: Engine, bundle: Bundle, clock: Callable[[], float] = time.process_time) -> float:
    """Seconds, by that clock, that the network takes for a second of sound in a stream."""
    mel = StreamingLogMel(WINDOW_SECONDS)
    noise = np.random.default_rng(0).normal(0, 0.1, round(WINDOW_SECONDS + 1 + _ROUNDS) * SAMPLE_RATE)
    hop, long, short = (round(s * SAMPLE_RATE) for s in (1 / _HOPS, WINDOW_SECONDS, _SHORT))
    inference = StreamingInference({bundle.name: PatchCache(engine, bundle.width > 0)}, dict, mel, hop)
    mel.push(noise[:long].astype(np.float32))

    def one_second(at: int) -> float:
        """Process a second of sound, up to sample `at`."""
        began = clock()
        for end in range(at - (_HOPS - 1) * hop, at + 1, hop):
            mel.push(noise[end - hop : end].astype(np.float32))
            inference.calibrated(end, short)
        inference.calibrated(at, long)
        return clock() - began

    one_second(long + SAMPLE_RATE)  # the first is slow: it fills the caches with ten seconds
    taken: list[float] = []
    while len(taken) < _ROUNDS and sum(taken) < _ENOUGH:
        taken.append(one_second(long + (2 + len(taken)) * SAMPLE_RATE))
    return min(taken)


def cache_file() -> Path:
    """The file that keeps the measurements."""
    return user_folder("cache") / "probe.json"


def measurement_key(sha256s: Sequence[str], threads: int) -> dict[str, Any]:
    """Everything that a measurement depends on."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "models": list(sha256s),
    }


def read_cache(key: Mapping[str, Any]) -> dict[str, Any] | None:
    """The measurement with this key: {"engine", "costs", "left_out"}; None if there is no valid one."""
    return next((entry for entry in _entries() if entry["facts"] == key), None)


def write_cache(key: Mapping[str, Any], measurement: Mapping[str, Any]) -> None:
    """Keep a measurement; if the file cannot be written, that is logged."""
    entry = {"facts": dict(key), **measurement, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    entries = [entry, *(other for other in _entries() if other["facts"] != key)][:_MAX_ENTRIES]
    file = cache_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_text(file, json.dumps({"entries": entries}, indent=1))
    except OSError as error:
        log.info("cannot cache which engine is fastest: %s", error)


def processor() -> str:
    """The processor's name, if the system has it."""
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
    """The valid entries of the cache."""
    try:
        entries = json.loads(read_regular(cache_file()))["entries"]
        return [entry for entry in entries if _is_valid(entry)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        log.info("cannot read %s (%s): engines are measured again", cache_file(), type(error).__name__)
        return []


def _is_valid(entry: Any) -> bool:
    is_engine_name = registry.is_engine_name
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("facts"), dict)
        and is_engine_name(entry.get("engine"))
        and isinstance(entry.get("costs"), dict)
        and all(is_engine_name(name) and isinstance(cost, float) and cost > 0 for name, cost in entry["costs"].items())
        and isinstance(entry.get("left_out"), dict)
        and all(is_engine_name(name) and isinstance(why, str) for name, why in entry["left_out"].items())
    )
