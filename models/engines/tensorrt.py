"""TensorRT on an NVIDIA GPU: engines are built on the user's own, kept in the user's cache, and share one stream."""

import logging
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instrec_live.models import engines
from instrec_live.models.bundle import FRAMES, Bundle
from instrec_live.models.engines import cuda
from instrec_live.models.engines.cuda import GpuError
from instrec_live.models.engines.engine_cache import EngineCache
from instrec_live.models.engines.tensorrt_listeners import logger_for, undisturbed
from instrec_live.models.engines.tensorrt_run import Runner
from instrec_live.models.engines.tensorrt_store import Store, Stored
from instrec_live.models.errors import ModelError
from instrec_live.models.logmel import N_MELS, PATCH

FloatArray = NDArray[np.float32]

PRECISIONS = ("fp16", "fp32")
ON_GPU = True

_INSTALL = "pip install 'instrec-live[tensorrt]'"
_OLDEST = 11  # before it, precision was a matter of flags

_log = logging.getLogger(__name__)


def why_not(precision: str) -> str | None:
    """Why TensorRT cannot be used here; None if it can."""
    for module, package in (("tensorrt", "tensorrt"), ("cuda", "cuda-python"), ("onnx", "onnx")):
        if find_spec(module) is None:
            return f"{package} is not installed: {_INSTALL}"
    reason = cuda.why_not()  # before TensorRT is loaded, which takes long
    if reason is not None:
        return reason
    try:
        version = str(_library().__version__)
    except Exception as e:  # its libraries are missing or do not fit: whatever the loader says
        return f"tensorrt does not import ({e}): {_INSTALL}"
    return None if int(version.split(".")[0]) >= _OLDEST else f"tensorrt {version} is too old: {_OLDEST} is needed"


class TensorRtEngine:
    """One network on the GPU; see `Engine`. Where the GPU is lost or out of memory, ONNX Runtime goes on in its place:
    once, and said."""

    def __init__(self, bundle: Bundle, threads: int, precision: str) -> None:
        self._bundle, self._threads = bundle, threads
        self._runner: Runner | None = None
        self._instead: engines.Engine | None = None
        self.name = "tensorrt"
        try:
            self.name = _name(precision)
            self._runner = _runner(bundle, precision)
        except GpuError as e:
            self._fall_back(e)
        engines.verify_golden(self, bundle, precision)  # a GPU's arithmetic is looked at before it is believed

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
        assert self._instead is not None
        return self._instead.logits(log_mel)

    def _fall_back(self, why: GpuError) -> None:
        if self._runner is not None:
            self._runner.close()
            self._runner = None
        self._instead = engines.open_engine(self._bundle, "onnx", self._threads)
        failed, self.name = self.name, f"{self._instead.name} (tensorrt failed)"
        _log.warning("%s: %s failed (%s); %s goes on", self._bundle.name, failed, why, self._instead.name)


def open_engine(bundle: Bundle, threads: int, precision: str) -> TensorRtEngine:
    return TensorRtEngine(bundle, threads, precision)


def is_built(bundle: Bundle, precision: str) -> bool:
    """Whether the engine is kept, so that opening it takes no minutes; if the cache is not to be trusted, which is
    logged, it is not."""
    try:
        return _store().has(bundle, precision)
    except (GpuError, ModelError) as e:
        _log.warning("%s: %s", bundle.name, e)
        return False


def build_ahead(bundles: Iterable[Bundle], precisions: Sequence[str] = PRECISIONS[:1]) -> list[Stored]:
    """Build the engines that are not kept yet, so that no first run has to wait.

    Raises:
        ModelError: TensorRT cannot be used here, or fails on a network.
    """
    wanted = [(bundle, precision) for bundle in bundles for precision in precisions]
    for precision in precisions:
        reason = why_not(precision)
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
def _listener(trt: Any) -> Any:
    """TensorRT wants its logger for as long as the process runs."""
    return logger_for(trt)


@cache
def _runtime(trt: Any) -> Any:
    return trt.Runtime(_listener(trt))


def _store() -> Store:
    trt = _library()
    return Store(trt, _listener(trt), cuda.gpu().identity, EngineCache.of_user())


def _name(precision: str) -> str:
    version = ".".join(str(_library().__version__).split(".")[:2])
    return f"tensorrt {version} {cuda.gpu().identity.name}" + ("" if precision == "fp32" else f" {precision}")


def _runner(bundle: Bundle, precision: str) -> Runner:
    store = _store()
    stored = store.get(bundle, precision)
    engine = _deserialised(stored.engine)
    if engine is None and stored.seconds is None:
        _log.warning("%s is not used, and built anew: TensorRT refuses it", stored.path)
        engine = _deserialised(store.get(bundle, precision, anew=True).engine)
    if engine is None:
        raise GpuError(f"TensorRT refuses its own engine: {store.logger.last_error or 'it does not say why'}")
    return Runner(store.trt, engine, cuda.gpu(), store.logger)


def _deserialised(engine: bytes) -> Any:
    with undisturbed():
        return _runtime(_library()).deserialize_cuda_engine(engine)
