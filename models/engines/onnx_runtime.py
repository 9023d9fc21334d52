"""ONNX Runtime on the CPU: the engine that runs everywhere."""

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.bundle import Bundle
from instrec_live.models.errors import ModelError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import N_MELS

FloatArray = NDArray[np.float32]

_FATAL = 4  # log severity: what fails is raised, not printed over the screen

PRECISIONS = ("fp32", "int8")


def why_not(precision: str) -> str | None:
    """Why ONNX Runtime cannot be used here; None if it can."""
    try:
        import onnxruntime  # noqa: F401
    except Exception as e:  # a wheel for another processor or libc raises what it likes
        return f"onnxruntime does not import ({e})"
    return None


class OnnxRuntimeEngine:
    """One network in one session; see `Engine`."""

    def __init__(self, bundle: Bundle, threads: int, precision: str) -> None:
        import onnxruntime

        file, onnx = ("model.onnx", bundle.onnx) if precision == "fp32" else ("model.int8.onnx", bundle.int8())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _FATAL
        # Idle threads sleep: the networks wait for sound most of the time.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # A memory pattern is kept per input shape, and windows come in many lengths: without it memory is flat.
        options.enable_mem_pattern = False
        version = ".".join(onnxruntime.__version__.split(".")[:2])
        self.name = f"onnxruntime {version} cpu" + ("" if precision == "fp32" else f" {precision}")
        self._model = bundle.name
        try:
            self._session = onnxruntime.InferenceSession(
                onnx, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )  # which has nothing to fall back to, and says so on stdout
        except Exception as e:  # onnxruntime's exceptions have no common base but this
            raise ModelError(f"{bundle.path}: {self.name} refuses {file}: {_first_line(e)}") from e
        # It keeps the file's bytes to fall back to other providers; there are none, and they are 20 MB.
        vars(self._session).update(_model_bytes=None)
        _check_faces(bundle, self._session)

    def logits(self, log_mel: FloatArray) -> FloatArray:
        """log-mel float32 [B, 128, T], T 200…1000 -> logits float32 [B, 20]."""
        return self._run(["logits"], log_mel)[0]

    def _run(self, outputs: list[str], log_mel: FloatArray, **others: FloatArray) -> list[FloatArray]:
        inputs = {"log_mel": np.ascontiguousarray(log_mel, np.float32), **others}
        try:
            out: list[FloatArray] = self._session.run(outputs, inputs)
        except Exception as e:
            shape = np.shape(log_mel)
            raise ModelError(f"{self._model} failed on an input of {shape}: {_first_line(e)}") from e
        return out


class RecallingOnnxRuntimeEngine(OnnxRuntimeEngine):
    """One patchwise network in one session; see `Recalling`."""

    def __init__(self, bundle: Bundle, threads: int, precision: str) -> None:
        super().__init__(bundle, threads, precision)
        self.width = bundle.width
        optional = [(i.name, i.shape[1]) for i in self._session.get_overridable_initializers() if len(i.shape) == 2]
        if optional != [("heard", self.width)]:
            raise ModelError(
                f"{bundle.path}: model.onnx takes {optional} back, not embeddings of {self.width} numbers",
                "export it again",
            )

    def recall(self, log_mel: FloatArray, heard: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See `Recalling`."""
        logits, embeddings = self._run(["logits", "embeddings"], log_mel, heard=heard)
        return logits, embeddings


def open_engine(bundle: Bundle, threads: int, precision: str) -> OnnxRuntimeEngine:
    return (RecallingOnnxRuntimeEngine if bundle.width else OnnxRuntimeEngine)(bundle, threads, precision)


def _check_faces(bundle: Bundle, session) -> None:  # type: ignore[no-untyped-def]
    inputs = [(i.name, i.type, i.shape[1]) for i in session.get_inputs() if len(i.shape) == 3]
    outputs = [(o.name, o.type, o.shape[1]) for o in session.get_outputs() if len(o.shape) == 2][:1]
    expected = [("log_mel", "tensor(float)", N_MELS)], [("logits", "tensor(float)", len(INSTRUMENTS))]
    if (inputs, outputs) != expected:
        raise ModelError(
            f"{bundle.path}: model.onnx maps {inputs} to {outputs}",
            f"it must map log_mel float [B, {N_MELS}, T] to logits float [B, {len(INSTRUMENTS)}]",
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
