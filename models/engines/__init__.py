"""Engines run a bundle's network; each stands in its own file, the only one to import its library."""

from importlib import import_module
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.bundle import Bundle
from instrec_live.models.calibration import sigmoid
from instrec_live.models.errors import ModelError, UsageError

FloatArray = NDArray[np.float32]


class Engine(Protocol):
    """A network, ready to run.

    Attributes:
        name: library, version, device and, if not fp32, precision, e.g. "onnxruntime 1.32 cpu".
    """

    name: str

    def logits(self, log_mel: FloatArray) -> FloatArray:
        """log-mel float32 [B, 128, T], T 200…1000 (patchwise networks: from 96) -> logits float32 [B, 20]."""
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


# From the plainest on. A file has `PRECISIONS`, of which the first is usual, `why_not(precision) -> str | None`, the
# reason why it cannot be used here, and `open_engine(bundle, threads, precision) -> Engine`. It may have
# `ON_GPU = True`, and `is_built(bundle, precision) -> bool` if opening takes minutes the first time. One that has
# `REMOTE = True` runs networks on a server, whose address `open_engine` takes as its last argument.
_FILES = {"onnx": "onnx_runtime", "openvino": "openvino", "tensorrt": "tensorrt", "triton": "triton"}

ENGINES: tuple[str, ...] = ("auto", *_FILES)

# |difference| of probabilities from those of the training, on the golden clip, that a precision may cost.
AGREEMENT = {"fp32": 1e-4, "bf16": 1e-2, "fp16": 1e-2, "int8": 3e-2}


def available(asked: str = "auto") -> list[tuple[str, bool, str]]:
    """(name, usable, why or why not) of every engine in every precision: "onnx", and "onnx:int8" where it is not the
    usual one. What runs on a server is usable only where its address is asked for."""
    out = []
    for name in _FILES:
        for precision in _file(name).PRECISIONS:
            reason = reason_against("@".join((f"{name}:{precision}", *(_address(asked) if is_remote(name) else ()))))
            usual = precision == _file(name).PRECISIONS[0]
            ready = "ready, for models that bring a network in 8 bits" if precision == "int8" else "ready"
            ready += f", if the server at {_address(asked)[0]} is" if is_remote(name) and reason is None else ""
            out.append((name if usual else f"{name}:{precision}", reason is None, reason or ready))
    return out


def open_engine(bundle: Bundle, engine: str = "auto", threads: int = 1) -> Engine:
    """An engine that has loaded the bundle's network.

    Args:
        engine: one of `ENGINES`, or with a precision: "onnx:int8"; "auto" is what `probe.choose` finds; one that runs
            on a server with its address: "triton@HOST:PORT", "triton:fp16@HOST:PORT".
        threads: that one network may use.

    Raises:
        UsageError: unknown engine or precision, or no threads.
        ModelError: the engine is not usable here, or refuses the network.
    """
    if threads < 1:
        raise UsageError(f"{threads} threads cannot run anything", "give 1 or more")
    if engine == "auto":
        from instrec_live.models.engines.probe import choose

        engine = choose([bundle], threads).engine
    name, precision = parsed(engine)
    reason = reason_against(engine)
    if reason:
        raise ModelError(f"engine {engine} cannot be used: {reason}", "try --engine auto, or --doctor")
    opened: Engine = _file(name).open_engine(bundle, threads, precision, *_address(engine))
    return opened


def parsed(engine: str) -> tuple[str, str]:
    """ "onnx:int8" -> ("onnx", "int8"); without a precision, the engine's usual one. An address is left aside.

    Raises:
        UsageError: unknown engine or precision, or an address for an engine that runs here.
    """
    name, colon, precision = engine.partition("@")[0].partition(":")
    if name not in _FILES:
        raise UsageError(f"no engine {name!r}", f"choose from {', '.join(ENGINES)}")
    if _address(engine) and not is_remote(name):
        raise UsageError(f"engine {name} runs here, not at {_address(engine)[0]}", "leave the address out")
    precisions: tuple[str, ...] = _file(name).PRECISIONS
    if colon and precision not in precisions:
        raise UsageError(f"engine {name} has no precision {precision!r}", f"choose from {', '.join(precisions)}")
    return name, precision or precisions[0]


def is_name(engine: object) -> bool:
    """Whether it names an engine, in a precision that it has."""
    try:
        return isinstance(engine, str) and bool(parsed(engine))
    except UsageError:
        return False


def reason_against(engine: str) -> str | None:
    """Why an engine cannot be used here; None if it can."""
    name, precision = parsed(engine)
    reason: str | None = _file(name).why_not(precision)
    if reason is None and is_remote(name) and not _address(engine):
        return "it needs the address of a server: --url HOST:PORT"
    return reason


def is_built(bundle: Bundle, engine: str) -> bool:
    """Whether a usable engine opens at once, not after minutes of building."""
    name, precision = parsed(engine)
    is_built = getattr(_file(name), "is_built", None)
    return is_built is None or bool(is_built(bundle, precision))


def on_gpu(engine: str) -> bool:
    return bool(getattr(_file(parsed(engine)[0]), "ON_GPU", False))


def is_remote(name: str) -> bool:
    """Whether it runs networks on a server."""
    return bool(getattr(_file(name), "REMOTE", False))


def verify_golden(engine: Engine, bundle: Bundle, precision: str = "fp32") -> float:
    """Run the bundle's golden input; the greatest |difference| from its golden logits, or, in another precision than
    fp32, from their probabilities.

    Raises:
        ModelError: beyond the bundle's tolerance, or the precision's in `AGREEMENT`.
    """
    log_mel, expected = bundle.golden
    logits = engine.logits(log_mel[None])[0]
    what, tolerance = "logits", bundle.golden_tolerance
    if precision != "fp32":
        what, tolerance = "probabilities", AGREEMENT[precision]
        logits, expected = sigmoid(bundle.calibration(logits)), sigmoid(bundle.calibration(expected))
    difference = float(np.abs(logits - expected).max())
    if not difference <= tolerance:  # also catches NaN
        raise ModelError(
            f"{bundle.name} on {engine.name} gives {what} {difference:.2g} off its golden ones "
            f"(tolerance {tolerance:g})",
            "try another --engine, and please report this",
        )
    return difference


def _address(engine: str) -> tuple[str, ...]:
    """What stands behind the @, if there is one."""
    return tuple(engine.split("@", 1)[1:])


def _file(name: str):  # type: ignore[no-untyped-def]
    return import_module(f"instrec_live.models.engines.{_FILES[name]}")
