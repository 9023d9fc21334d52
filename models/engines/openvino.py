"""OpenVINO on the CPU: the engine that computes in bfloat16 where the processor can."""

import re
import sys
from functools import cache
from typing import Any

import numpy as np

from instrec_live.models.arrays import FloatArray
from instrec_live.models.bundle import CACHED_EMBEDDINGS, Bundle
from instrec_live.models.errors import ModelError
from instrec_live.models.logmel import N_MELS
from instrec_live.models.onnx_file import without_initializer

PRECISIONS = ("fp32", "bf16")

_HINTS = {"fp32": "f32", "bf16": "bf16"}  # OpenVINO's names
# Lines that name a place in OpenVINO's sources, not the error.
_PLACE = re.compile(r"Exception from |Check '|FrontEnd API failed|Model wasn't fully converted|Summary:|$")


def unavailable_reason(precision: str) -> str | None:
    """Why OpenVINO cannot be used here in this precision; None if it can."""
    try:
        capable = _core(_library()).get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except ModuleNotFoundError as e:
        return f"{e.name or 'openvino'} is not installed: pip install 'instrec-live[openvino]'"
    except Exception as e:  # a wheel for another processor or libc may raise anything
        return f"openvino does not work here ({_reason(e)})"
    # Where the processor has no bfloat16, OpenVINO would silently compute in fp32.
    return "this processor has no bfloat16 arithmetic" if precision == "bf16" and "BF16" not in capable else None


class OpenVinoEngine:
    """One network, compiled once for every shape; see `Engine`."""

    def __init__(self, bundle: Bundle, threads: int, precision: str) -> None:
        openvino = _library()
        version = ".".join(openvino.__version__.split(".")[:2])
        self.name = f"openvino {version} cpu" + ("" if precision == "fp32" else f" {precision}")
        self._model = bundle.name
        core = _core(openvino)
        options = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": "1",
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # other processes use the cores too
        }
        # OpenVINO treats an input with an initial value as a constant.
        onnx = without_initializer(bundle.onnx, CACHED_EMBEDDINGS) if bundle.width else bundle.onnx
        try:
            compiled = core.compile_model(core.read_model(onnx), "CPU", options)
            self._request = compiled.create_infer_request()
        except Exception as e:  # mostly RuntimeError, but none is documented
            raise ModelError(f"{bundle.path}: {self.name} rejects model.onnx: {_reason(e)}") from e
        _check_signature(bundle, compiled)

    def logits(self, log_mel: FloatArray) -> FloatArray:
        """log-mel float32 [B, 128, T], T 200…1000 -> logits float32 [B, 20]."""
        return self._run(["logits"], log_mel)[0]

    def _run(self, outputs: list[str], log_mel: FloatArray, **others: FloatArray) -> list[FloatArray]:
        inputs = {"log_mel": log_mel, **others}
        if np.ndim(log_mel) != 3 or np.shape(log_mel)[1] != N_MELS:  # OpenVINO does not always check
            raise ModelError(f"{self._model} failed on an input of {np.shape(log_mel)}: it must be [B, {N_MELS}, T]")
        try:
            self._request.infer({name: np.ascontiguousarray(x, np.float32) for name, x in inputs.items()})
            results = [np.array(self._request.get_tensor(name).data, np.float32) for name in outputs]
        except Exception as e:
            raise ModelError(f"{self._model} failed on an input of {np.shape(log_mel)}: {_reason(e)}") from e
        if len(results[0]) != len(log_mel):  # with too little memory there may be no error, only an earlier result
            raise ModelError(
                f"{self._model} gave {len(results[0])} results for {len(log_mel)} windows", "is there enough memory?"
            )
        return results


class CachingOpenVinoEngine(OpenVinoEngine):
    """One patchwise network; see `CachingEngine`."""

    def __init__(self, bundle: Bundle, threads: int, precision: str) -> None:
        super().__init__(bundle, threads, precision)
        self.width = bundle.width

    def logits(self, log_mel: FloatArray) -> FloatArray:
        """log-mel float32 [B, 128, T], T 200…1000 -> logits float32 [B, 20]."""
        nothing = np.empty((0, self.width), np.float32)
        return self._run(["logits"], log_mel, **{CACHED_EMBEDDINGS: nothing})[0]

    def run(self, log_mel: FloatArray, cached_embeddings: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See `CachingEngine`."""
        logits, embeddings = self._run(["logits", "embeddings"], log_mel, **{CACHED_EMBEDDINGS: cached_embeddings})
        return logits, embeddings


def open_engine(bundle: Bundle, threads: int, precision: str) -> OpenVinoEngine:
    return (CachingOpenVinoEngine if bundle.width else OpenVinoEngine)(bundle, threads, precision)


def _check_signature(bundle: Bundle, compiled) -> None:  # type: ignore[no-untyped-def]
    def signature(ports) -> dict[str, str]:  # type: ignore[no-untyped-def]
        return {
            name: f"{port.element_type.get_type_name()}{port.partial_shape}" for port in ports for name in port.names
        }

    inputs, outputs = signature(compiled.inputs), signature(compiled.outputs)
    embeddings = f"f32[?,{bundle.width}]"
    given = {"log_mel": f"f32[?,{N_MELS},?]"} | ({CACHED_EMBEDDINGS: embeddings} if bundle.width else {})
    wanted = {"logits": f"f32[?,{bundle.classes}]"} | ({"embeddings": embeddings} if bundle.width else {})
    if inputs != given or not wanted.items() <= outputs.items():
        raise ModelError(
            f"{bundle.path}: model.onnx maps {inputs} to {outputs}",
            f"it must map log_mel float [B, {N_MELS}, T] to logits float [B, {bundle.classes}]"
            + (f", {CACHED_EMBEDDINGS} float [K, {bundle.width}] to embeddings" if bundle.width else ""),
        )


def _library() -> Any:
    """OpenVINO without its telemetry, which would put an id into the home folder and call Google Analytics."""
    telemetry = "openvino_telemetry"
    if "openvino" in sys.modules or telemetry in sys.modules:
        import openvino

        return openvino
    sys.modules[telemetry] = None  # type: ignore[assignment]  # as if not installed: OpenVINO has a stub for that case
    try:
        import openvino
    finally:
        del sys.modules[telemetry]
    return openvino


@cache
def _core(openvino: Any) -> Any:
    """OpenVINO's core, one for the life of the process.

    A core's CPU plugin installs its own stack for signal handlers, and restores the previous one at its end. With two
    cores that may be the stack of a core already gone; the next signal, such as Ctrl-C, would then kill Python.
    """
    core = openvino.Core()
    core.set_property({"ENABLE_MMAP": False})  # the weights are the verified bytes, not a file
    return core


def _reason(error: Exception) -> str:
    """The line that names the error, of the many in the message."""
    lines = str(error).strip().split("\n")
    return next((line for line in lines if not _PLACE.match(line)), lines[0]).strip(" -")[:200]
