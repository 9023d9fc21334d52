"""The engines by name: which of them are usable here, and opening one."""

from importlib import import_module

from instrec_live.models.bundle import Bundle
from instrec_live.models.engines.base import Engine
from instrec_live.models.errors import ModelError, UsageError

# From the most common to the most special. A module has
#   PRECISIONS, the default first,
#   unavailable_reason(precision) -> str | None, why it cannot be used here, and
#   open_engine(bundle, threads, precision) -> Engine;
# it may have
#   ON_GPU = True,
#   is_built(bundle, precision) -> bool, if opening takes minutes the first time, and
#   REMOTE = True, if it runs networks on a server, whose address `open_engine` takes as its last argument.
_MODULES = {"onnx": "onnx_runtime", "openvino": "openvino", "tensorrt": "tensorrt", "triton": "triton"}

ENGINES: tuple[str, ...] = ("auto", *_MODULES)


def available(requested: str = "auto") -> list[tuple[str, bool, str]]:
    """(name, usable, status or reason) of every engine in every precision: "openvino" in its default precision,
    "openvino:bf16" in another. An engine that runs on a server is usable only if `requested` has an address."""
    out = []
    for name in _MODULES:
        address = _address(requested) if is_remote(name) else ()
        for precision in _module(name).PRECISIONS:
            reason = unavailable_reason("@".join((f"{name}:{precision}", *address)))
            default = precision == _module(name).PRECISIONS[0]
            ready = f"ready, if the server at {address[0]} is" if address and reason is None else "ready"
            out.append((name if default else f"{name}:{precision}", reason is None, reason or ready))
    return out


def open_engine(bundle: Bundle, engine: str, threads: int = 1) -> Engine:
    """An engine that has loaded the bundle's network.

    Args:
        engine: one of `ENGINES` but "auto" (see engine_selection), or with a precision: "openvino:bf16"; one that runs
            on a server with its address: "triton@HOST:PORT", "triton:fp16@HOST:PORT".
        threads: that one network may use.

    Raises:
        UsageError: unknown engine or precision, or no threads.
        ModelError: the engine is not usable here, or refuses the network.
    """
    if threads < 1:
        raise UsageError(f"threads must be 1 or more, not {threads}", "give 1 or more")
    name, precision = parse_engine(engine)
    reason = unavailable_reason(engine)
    if reason:
        raise ModelError(f"engine {engine} cannot be used: {reason}", "try --engine auto, or --doctor")
    opened: Engine = _module(name).open_engine(bundle, threads, precision, *_address(engine))
    return opened


def parse_engine(engine: str) -> tuple[str, str]:
    """ "openvino:bf16" -> ("openvino", "bf16"); without a precision, the engine's default. An address is ignored.

    Raises:
        UsageError: unknown engine or precision, or an address for an engine that runs on this machine.
    """
    name, colon, precision = engine.partition("@")[0].partition(":")
    if name not in _MODULES:
        raise UsageError(f"no engine {name!r}", f"choose from {', '.join(ENGINES)}")
    if _address(engine) and not is_remote(name):
        raise UsageError(f"engine {name} runs on this machine, not at {_address(engine)[0]}", "leave the address out")
    precisions: tuple[str, ...] = _module(name).PRECISIONS
    if colon and precision not in precisions:
        raise UsageError(f"engine {name} has no precision {precision!r}", f"choose from {', '.join(precisions)}")
    return name, precision or precisions[0]


def is_engine_name(engine: object) -> bool:
    """Whether this is the name of an engine, in one of its precisions."""
    try:
        return isinstance(engine, str) and bool(parse_engine(engine))
    except UsageError:
        return False


def unavailable_reason(engine: str) -> str | None:
    """Why an engine cannot be used here; None if it can."""
    name, precision = parse_engine(engine)
    reason: str | None = _module(name).unavailable_reason(precision)
    if reason is None and is_remote(name) and not _address(engine):
        return "it needs the address of a server: --url HOST:PORT"
    return reason


def is_built(bundle: Bundle, engine: str) -> bool:
    """Whether a usable engine opens at once, not after minutes of building."""
    name, precision = parse_engine(engine)
    is_built = getattr(_module(name), "is_built", None)
    return is_built is None or bool(is_built(bundle, precision))


def on_gpu(engine: str) -> bool:
    """Whether an engine runs on this machine's GPU."""
    return bool(getattr(_module(parse_engine(engine)[0]), "ON_GPU", False))


def is_remote(name: str) -> bool:
    """Whether an engine runs networks on a server."""
    return bool(getattr(_module(name), "REMOTE", False))


def _address(engine: str) -> tuple[str, ...]:
    """What follows the @, or nothing."""
    return tuple(engine.split("@", 1)[1:])


def _module(name: str):  # type: ignore[no-untyped-def]
    return import_module(f"instrec_live.models.engines.{_MODULES[name]}")
