"""TensorRT on an NVIDIA GPU: engines are built on this machine, kept in the user's cache, and share one stream."""

import logging
import weakref
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from instrec_live.models.arrays import FloatArray
from instrec_live.models.bundle import FRAMES, Bundle
from instrec_live.models.engines import cuda, onnx_runtime
from instrec_live.models.engines.base import Engine, verify_golden
from instrec_live.models.engines.cuda import Gpu, GpuError, Recording
from instrec_live.models.engines.tensorrt_build import BATCHES, gc_paused, logger_for, shape
from instrec_live.models.engines.tensorrt_cache import EngineCache, Store, Stored
from instrec_live.models.errors import ModelError
from instrec_live.models.logmel import N_MELS, PATCH

_log = logging.getLogger(__name__)

_RECORD_AFTER = 3  # runs of a shape before its work is recorded
_MAX_RECORDINGS = 4  # a stream has two shapes, the long window and the short one


class Runner:
    """Runs one engine.

    A CUDA graph depends on the shapes and addresses of its recording, and on the state of the execution context it was
    recorded from. So each recorded shape has its own context, which is never changed; one more serves all other
    shapes. They share the memory for activations: on one stream, only one of them runs at a time.

    Raises:
        GpuError: the GPU has too little memory, or is lost.
    """

    def __init__(self, trt: Any, engine: Any, gpu: Gpu, logger: Any, classes: int) -> None:
        self._classes = classes
        self._trt, self._engine, self._gpu, self._logger = trt, engine, gpu, logger
        self._runs: Counter[tuple[int, int]] = Counter()
        self._recordings: dict[tuple[int, int], Recording | None] = {}
        self._contexts: list[Any] = []
        self._host: dict[str, FloatArray] = {}
        self._device: dict[str, int] = {}
        self._held = ExitStack()
        # At exit the process frees its memory anyway, and CUDA may be unloaded already.
        self._release = weakref.finalize(self, self._held.close)
        self._release.atexit = False
        try:
            with gpu.lock, gc_paused():
                self._allocate()
        except BaseException:
            self.close()
            raise

    def _allocate(self) -> None:
        most = BATCHES[1]
        for name, values in (("log_mel", most * N_MELS * FRAMES[1]), ("logits", most * self._classes)):
            self._host[name] = self._gpu.pinned(values)
            self._held.callback(self._gpu.free_pinned, self._host[name])
            self._device[name] = self._gpu.device_memory(4 * values)
            self._held.callback(self._gpu.free, self._device[name])
        self._between_bytes = int(self._engine.device_memory_size_v2)
        self._between = self._gpu.device_memory(self._between_bytes)
        self._held.callback(self._gpu.free, self._between)
        self._usual = self._context()

    def logits(self, log_mel: FloatArray) -> FloatArray:
        """log-mel float32 [B, 128, T], any B, T 96…1000 -> logits float32 [B, 20].

        Raises:
            GpuError: the GPU is lost, out of memory, or fails.
        """
        most = BATCHES[1]
        parts = [self._part(log_mel[at : at + most]) for at in range(0, len(log_mel), most)]
        return np.concatenate(parts) if parts else np.empty((0, self._classes), np.float32)

    def close(self) -> None:
        """Free all memory; the runner cannot be used afterwards."""
        with self._gpu.lock:
            self._contexts.clear()
            self._usual = None
            self._release()

    def _part(self, log_mel: FloatArray) -> FloatArray:
        key = len(log_mel), log_mel.shape[2]
        count = key[0] * self._classes
        with self._gpu.lock, gc_paused():
            self._logger.last_error = ""
            self._host["log_mel"][: log_mel.size] = log_mel.ravel()
            recording = self._recordings.get(key)
            if recording is not None:
                self._gpu.launch(recording)
            elif self._worth_recording(key):
                self._run_and_record(key)
            else:
                self._enqueue(self._usual, key)
            self._gpu.wait()
            self._logger.stored_error.raise_stored()
            return self._host["logits"][:count].reshape(-1, self._classes).copy()

    def _worth_recording(self, key: tuple[int, int]) -> bool:
        self._runs[key] += 1
        return (
            self._runs[key] > _RECORD_AFTER and key not in self._recordings and len(self._recordings) < _MAX_RECORDINGS
        )

    def _run_and_record(self, key: tuple[int, int]) -> None:
        """The logits come from an ordinary run: what a context defers to its first run of a shape cannot be recorded.
        A shape that cannot be recorded at all continues to run without a graph."""
        context = self._context()
        self._enqueue(context, key)
        self._gpu.wait()
        try:
            recording = self._gpu.record(lambda: self._enqueue(context, key, shaped=True))
        except GpuError:
            self._recordings[key] = None
            self._contexts.remove(context)
            return
        self._recordings[key] = recording
        self._held.callback(self._gpu.forget, recording)

    def _context(self) -> Any:
        context = self._engine.create_execution_context(self._trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if context is None:
            raise GpuError(f"TensorRT cannot create an execution context: {self._why()}")
        self._contexts.append(context)
        context.set_device_memory(self._between, self._between_bytes)
        for name, address in self._device.items():
            self._demand(context.set_tensor_address(name, address), f"the address of {name}")
        return context

    def _enqueue(self, context: Any, key: tuple[int, int], shaped: bool = False) -> None:
        batch, frames = key
        self._gpu.upload(self._host["log_mel"], self._device["log_mel"], batch * N_MELS * frames)
        if not shaped:
            self._demand(context.set_input_shape("log_mel", shape(batch, frames)), f"{batch} x {frames} frames")
        self._demand(context.execute_async_v3(self._gpu.stream), "the inference call")
        self._gpu.download(self._device["logits"], self._host["logits"], batch * self._classes)

    def _demand(self, taken: bool, what: str) -> None:
        if not taken:
            raise GpuError(f"TensorRT rejects {what}: {self._why()}")

    def _why(self) -> str:
        return str(self._logger.last_error) or "no reason given"


PRECISIONS = ("fp16", "fp32")
ON_GPU = True

_INSTALL = "pip install 'instrec-live[tensorrt]'"
_OLDEST = 11  # older versions set the precision by flags


def unavailable_reason(precision: str) -> str | None:
    """Why TensorRT cannot be used here; None if it can."""
    for module, package in (("tensorrt", "tensorrt"), ("cuda", "cuda-python"), ("onnx", "onnx")):
        if find_spec(module) is None:
            return f"{package} is not installed: {_INSTALL}"
    reason = cuda.unavailable_reason()  # first: loading TensorRT takes long
    if reason is not None:
        return reason
    try:
        version = str(_library().__version__)
    except Exception as e:  # its libraries are missing or do not match: the loader may raise anything
        return f"tensorrt cannot be imported ({e}): {_INSTALL}"
    return None if int(version.split(".")[0]) >= _OLDEST else f"tensorrt {version} is too old: {_OLDEST} is needed"


class TensorRtEngine:
    """One network on the GPU; see `Engine`. If the GPU is lost or out of memory it falls back to ONNX Runtime for good,
    and logs that."""

    def __init__(self, bundle: Bundle, threads: int, precision: str) -> None:
        self._bundle, self._threads = bundle, threads
        self._runner: Runner | None = None
        self._fallback: Engine | None = None
        self.name = "tensorrt"
        try:
            self.name = _name(precision)
            self._runner = _runner(bundle, precision)
        except GpuError as e:
            self._fall_back(e)
        verify_golden(self, bundle, precision)  # check the GPU's results before any use

    def logits(self, log_mel: FloatArray) -> FloatArray:
        """log-mel float32 [B, 128, T], T 96…1000 -> logits float32 [B, 20]."""
        if self._runner is not None:
            shape = np.shape(log_mel)
            if len(shape) != 3 or shape[1] != N_MELS or not PATCH <= shape[2] <= FRAMES[1]:
                wanted = f"[B, {N_MELS}, {PATCH}…{FRAMES[1]}]"
                raise ModelError(f"{self._bundle.name} failed on an input of {shape}: it must be {wanted}")
            try:
                return self._runner.logits(np.ascontiguousarray(log_mel, np.float32))
            except GpuError as e:
                self._fall_back(e)
        assert self._fallback is not None
        return self._fallback.logits(log_mel)

    def _fall_back(self, why: GpuError) -> None:
        if self._runner is not None:
            self._runner.close()
            self._runner = None
        self._fallback = onnx_runtime.open_engine(self._bundle, self._threads, onnx_runtime.PRECISIONS[0])
        failed, self.name = self.name, f"{self._fallback.name} (tensorrt failed)"
        _log.warning("%s: %s failed (%s); continuing on %s", self._bundle.name, failed, why, self._fallback.name)


def open_engine(bundle: Bundle, threads: int, precision: str) -> TensorRtEngine:
    return TensorRtEngine(bundle, threads, precision)


def is_built(bundle: Bundle, precision: str) -> bool:
    """Whether the engine is in the cache, so that opening it does not take minutes; False if the cache is not safe to
    use, which is logged."""
    try:
        return _store().has(bundle, precision)
    except (GpuError, ModelError) as e:
        _log.warning("%s: %s", bundle.name, e)
        return False


def build_ahead(bundles: Iterable[Bundle], precisions: Sequence[str] = PRECISIONS[:1]) -> list[Stored]:
    """Build the engines that are not in the cache yet, so that the first run need not wait.

    Raises:
        ModelError: TensorRT cannot be used here, or fails on a network.
    """
    wanted = [(bundle, precision) for bundle in bundles for precision in precisions]
    for precision in precisions:
        reason = unavailable_reason(precision)
        if reason:
            raise ModelError(f"engines cannot be built here: {reason}")
    try:
        return [_store().get(bundle, precision) for bundle, precision in wanted]
    except GpuError as e:
        raise ModelError(f"the GPU failed: {e}") from e


def _library() -> Any:
    import tensorrt

    return tensorrt


@cache
def _logger(trt: Any) -> Any:
    """TensorRT needs its logger for the life of the process."""
    return logger_for(trt)


@cache
def _runtime(trt: Any) -> Any:
    return trt.Runtime(_logger(trt))


def _store() -> Store:
    trt = _library()
    return Store(trt, _logger(trt), cuda.gpu().identity, EngineCache.of_user())


def _name(precision: str) -> str:
    version = ".".join(str(_library().__version__).split(".")[:2])
    return f"tensorrt {version} {cuda.gpu().identity.name}" + ("" if precision == "fp32" else f" {precision}")


def _runner(bundle: Bundle, precision: str) -> Runner:
    store = _store()
    stored = store.get(bundle, precision)
    engine = _deserialised(stored.engine)
    if engine is None and stored.seconds is None:
        _log.warning("%s is not used and is built again: TensorRT rejects it", stored.path)
        engine = _deserialised(store.get(bundle, precision, rebuild=True).engine)
    if engine is None:
        raise GpuError(f"TensorRT rejects its own engine: {store.logger.last_error or 'no reason given'}")
    return Runner(store.trt, engine, cuda.gpu(), store.logger, bundle.classes)


def _deserialised(engine: bytes) -> Any:
    with gc_paused():
        return _runtime(_library()).deserialize_cuda_engine(engine)
