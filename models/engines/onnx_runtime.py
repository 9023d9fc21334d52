"""ONNX Runtime on the CPU: the engine that runs everywhere."""

import numpy as np

from instrec_live.models.arrays import FloatArray
from instrec_live.models.bundle import CACHED_EMBEDDINGS, Bundle
from instrec_live.models.errors import ModelError
from instrec_live.models.logmel import N_MELS

_FATAL = 4  # log severity: errors are raised, not printed over the screen

PRECISIONS = ("fp32",)


def unavailable_reason(precision: str) -> str | None:
    """Why ONNX Runtime cannot be used here; None if it can."""
    try:
        import onnxruntime  # noqa: F401
    except Exception as e:  # a wheel for another processor or libc may raise anything
        return f"onnxruntime cannot be imported ({e})"
    return None


class OnnxRuntimeEngine:
    """One network in one session; see `Engine`."""

    def __init__(self, bundle: Bundle, threads: int, precision: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _FATAL
        # Idle threads sleep: most of the time the networks wait for audio.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # A memory pattern is kept per input shape, and windows have many lengths: without it, memory use is flat.
        options.enable_mem_pattern = False
        version = ".".join(onnxruntime.__version__.split(".")[:2])
        self.name = f"onnxruntime {version} cpu"
        self._model = bundle.name
        try:
            # A fallback would print to stdout that there is nothing to fall back to.
            self._session = onnxruntime.InferenceSession(
                bundle.onnx, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as e:  # the only common base of onnxruntime's exceptions
            raise ModelError(f"{bundle.path}: {self.name} rejects model.onnx: {_first_line(e)}") from e
        # The session keeps the file's bytes, 20 MB, to fall back to other providers; there are none.
        vars(self._session).update(_model_bytes=None)
        _check_signature(bundle, self._session)

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


class CachingOnnxRuntimeEngine(OnnxRuntimeEngine):
    """One patchwise network in one session; see `CachingEngine`."""

    def __init__(self, bundle: Bundle, threads: int, precision: str) -> None:
        super().__init__(bundle, threads, precision)
        self.width = bundle.width
        optional = [(i.name, i.shape[1]) for i in self._session.get_overridable_initializers() if len(i.shape) == 2]
        if optional != [(CACHED_EMBEDDINGS, self.width)]:
            raise ModelError(
                f"{bundle.path}: model.onnx has the optional inputs {optional}, not embeddings of {self.width} numbers",
                "export it again",
            )

    def run(self, log_mel: FloatArray, cached_embeddings: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See `CachingEngine`."""
        logits, embeddings = self._run(["logits", "embeddings"], log_mel, **{CACHED_EMBEDDINGS: cached_embeddings})
        return logits, embeddings


def open_engine(bundle: Bundle, threads: int, precision: str) -> OnnxRuntimeEngine:
    return (CachingOnnxRuntimeEngine if bundle.width else OnnxRuntimeEngine)(bundle, threads, precision)


def _check_signature(bundle: Bundle, session) -> None:  # type: ignore[no-untyped-def]
    inputs = [(i.name, i.type, i.shape[1]) for i in session.get_inputs() if len(i.shape) == 3]
    outputs = [(o.name, o.type, o.shape[1]) for o in session.get_outputs() if len(o.shape) == 2][:1]
    expected = [("log_mel", "tensor(float)", N_MELS)], [("logits", "tensor(float)", bundle.classes)]
    if (inputs, outputs) != expected:
        raise ModelError(
            f"{bundle.path}: model.onnx maps {inputs} to {outputs}",
            f"it must map log_mel float [B, {N_MELS}, T] to logits float [B, {bundle.classes}]",
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
