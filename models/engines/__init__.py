"""Engines run a bundle's network; each stands in its own file, the only one to import its library."""

from importlib import import_module
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.bundle import Bundle
from instrec_live.models.errors import ModelError, UsageError

FloatArray = NDArray[np.float32]


class Engine(Protocol):
    """A network, ready to run.

    Attributes:
        name: library, version, device and, if not fp32, precision, e.g. "onnxruntime 1.32 cpu".
    """

    name: str

    def logits(self, log_mel: FloatArray) -> FloatArray:
        """log-mel float32 [B, 128, T], T 200…1000 -> logits float32 [B, 20]."""
        ...


@runtime_checkable
class Recalling(Engine, Protocol):
    """An engine that takes back what a patchwise network (patchwise.py) made of earlier patches.

    Attributes:
        width: of an embedding.
    """

    width: int

    def recall(self, log_mel: FloatArray, heard: FloatArray) -> tuple[FloatArray, FloatArray]:
        """New sound, and what was made of the sound before it.

        Args:
            log_mel: float32 [B, 128, 96 n] of n new patches, or none.
            heard: embeddings float32 [B * K, width] of the K patches before them, or none.

        Returns:
            logits float32 [B, 20] of all K + n patches, embeddings float32 [B * n, width] of the new ones.
        """
        ...


# A file has `PRECISIONS`, of which the first is usual, `why_not(precision) -> str | None`, the reason why it cannot be
# used here, and `open_engine(bundle, threads, precision) -> Engine`.
_FILES = {"onnx": "onnx_runtime"}

ENGINES: tuple[str, ...] = ("auto", *_FILES)


def available() -> list[tuple[str, bool, str]]:
    """(name, usable, why or why not) of every engine in every precision: "onnx", and "onnx:int8" where it is not the
    usual one."""
    out = []
    for name in _FILES:
        for precision in _file(name).PRECISIONS:
            reason = _file(name).why_not(precision)
            usual = precision == _file(name).PRECISIONS[0]
            out.append((name if usual else f"{name}:{precision}", reason is None, reason or "ready"))
    return out


def open_engine(bundle: Bundle, engine: str = "auto", threads: int = 1) -> Engine:
    """An engine that has loaded the bundle's network.

    Args:
        engine: one of `ENGINES`, or with a precision: "onnx:int8"; "auto" is the first that is usable here.
        threads: that one network may use.

    Raises:
        UsageError: unknown engine or precision, or no threads.
        ModelError: the engine is not usable here, or refuses the network.
    """
    if threads < 1:
        raise UsageError(f"{threads} threads cannot run anything", "give 1 or more")
    if engine == "auto":
        engine = next((name for name, usable, _ in available() if usable), "onnx")
    name, precision = parsed(engine)
    reason = _file(name).why_not(precision)
    if reason:
        raise ModelError(f"engine {engine} cannot be used: {reason}", "try --engine auto, or --doctor")
    opened: Engine = _file(name).open_engine(bundle, threads, precision)
    return opened


def parsed(engine: str) -> tuple[str, str]:
    """ "onnx:int8" -> ("onnx", "int8"); without a precision, the engine's usual one.

    Raises:
        UsageError: unknown engine or precision.
    """
    name, colon, precision = engine.partition(":")
    if name not in _FILES:
        raise UsageError(f"no engine {name!r}", f"choose from {', '.join(ENGINES)}")
    precisions: tuple[str, ...] = _file(name).PRECISIONS
    if colon and precision not in precisions:
        raise UsageError(f"engine {name} has no precision {precision!r}", f"choose from {', '.join(precisions)}")
    return name, precision or precisions[0]


def verify_golden(engine: Engine, bundle: Bundle) -> float:
    """Run the bundle's golden input; the greatest |difference| from its golden logits.

    Raises:
        ModelError: beyond the bundle's tolerance.
    """
    log_mel, expected = bundle.golden
    difference = float(np.abs(engine.logits(log_mel[None])[0] - expected).max())
    if not difference <= bundle.golden_tolerance:  # also catches NaN
        raise ModelError(
            f"{bundle.name} on {engine.name} gives logits {difference:.2g} off its golden ones "
            f"(tolerance {bundle.golden_tolerance:g})",
            "try another --engine, and please report this",
        )
    return difference


def _file(name: str):  # type: ignore[no-untyped-def]
    return import_module(f"instrec_live.models.engines.{_FILES[name]}")
