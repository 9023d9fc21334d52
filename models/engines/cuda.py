"""The part of CUDA that an engine needs: memory, one stream for the whole process, and CUDA graphs.

The only file that imports cuda-python. Every call's error code is checked; failure is a `GpuError`.
"""

import ctypes
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from instrec_live.models.arrays import FloatArray


class GpuError(Exception):
    """The GPU is out of memory, lost, or reports another error; the text says which."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The GPU an engine is built for. `driver` is the CUDA version that the driver supports, e.g. "13.0"."""

    name: str
    uuid: str
    capability: str
    driver: str


@dataclass(frozen=True, slots=True)
class Recording:
    """Recorded work (a CUDA graph), made by `Gpu.record`; it can be launched any number of times."""

    executable: Any


def unavailable_reason() -> str | None:
    """Why no GPU can be used here; None if one can."""
    try:
        runtime = _runtime()
    except Exception as e:  # a wheel for another system may raise anything
        return f"cuda-python cannot be imported ({e}): pip install 'instrec-live[tensorrt]'"
    driver = _version(runtime.cudaDriverGetVersion()[1])
    wanted = _version(runtime.cudaRuntimeGetVersion()[1])
    error, count = runtime.cudaGetDeviceCount()
    codes = runtime.cudaError_t
    if driver == "0.0" or error == codes.cudaErrorNoDevice or (error == codes.cudaSuccess and not count):
        return "no NVIDIA GPU, or no driver for it, on this machine"
    if error == codes.cudaErrorInsufficientDriver:
        return f"the NVIDIA driver is too old: it supports CUDA {driver}, and {wanted} is needed"
    return None if error == codes.cudaSuccess else f"the NVIDIA GPU does not respond ({_named(runtime, error)})"


@cache
def gpu() -> "Gpu":
    """The first GPU that CUDA_VISIBLE_DEVICES lets this process see, with the one stream that all networks share.

    Raises:
        GpuError: it does not answer.
    """
    return Gpu(_runtime())


class Gpu:
    """Memory, copies and recordings on one GPU and one stream.

    Attributes:
        identity: which GPU it is.
        lock: hold it from filling a buffer until its result is read; all engines share the stream.
        stream: handle of the stream, as TensorRT takes it.
    """

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self.lock = threading.RLock()
        # Waiting threads sleep: audio and screen run at the same time, and some microseconds do not matter.
        self._call(runtime.cudaSetDeviceFlags, runtime.cudaDeviceScheduleBlockingSync)
        made = self._call(runtime.cudaStreamCreateWithFlags, runtime.cudaStreamNonBlocking)
        self._stream = made
        self.stream = int(made)
        self.identity = self._identify()

    def device_memory(self, nbytes: int) -> int:
        """Address of so many bytes on the GPU, until `free`; aligned as TensorRT needs it."""
        return int(self._call(self._runtime.cudaMalloc, max(nbytes, 1)))

    def free(self, address: int) -> None:
        """Free device memory; errors of a lost GPU are ignored."""
        with suppress(GpuError):
            self._call(self._runtime.cudaFree, address)

    def pinned(self, values: int) -> FloatArray:
        """float32 [values] in page-locked memory, until `free_pinned`."""
        address = self._call(self._runtime.cudaHostAlloc, 4 * values, self._runtime.cudaHostAllocDefault)
        return np.ctypeslib.as_array((ctypes.c_float * values).from_address(int(address)))

    def free_pinned(self, array: FloatArray) -> None:
        with suppress(GpuError):
            self._call(self._runtime.cudaFreeHost, array.ctypes.data)

    def upload(self, pinned: FloatArray, address: int, values: int) -> None:
        """Enqueue a copy of the first values of a pinned array to the GPU."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call(self._runtime.cudaMemcpyAsync, address, pinned.ctypes.data, 4 * values, kind, self._stream)

    def download(self, address: int, pinned: FloatArray, values: int) -> None:
        """Enqueue a copy of `values` values from the GPU into a pinned array."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call(self._runtime.cudaMemcpyAsync, pinned.ctypes.data, address, 4 * values, kind, self._stream)

    def wait(self) -> None:
        """Wait until the stream has finished all enqueued work."""
        self._call(self._runtime.cudaStreamSynchronize, self._stream)

    def record(self, work: Callable[[], None]) -> Recording:
        """Record the work that `work` enqueues, without running it.

        Raises:
            GpuError: something in it cannot be recorded; the stream remains usable.
        """
        runtime = self._runtime
        self._call(
            runtime.cudaStreamBeginCapture, self._stream, runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        )
        try:
            work()
        except BaseException:
            self._abort_recording()
            raise
        graph = self._call(runtime.cudaStreamEndCapture, self._stream)
        try:
            return Recording(self._call(runtime.cudaGraphInstantiate, graph, 0))
        finally:
            self._call(runtime.cudaGraphDestroy, graph)

    def launch(self, recording: Recording) -> None:
        """Enqueue recorded work."""
        self._call(self._runtime.cudaGraphLaunch, recording.executable, self._stream)

    def forget(self, recording: Recording) -> None:
        with suppress(GpuError):
            self._call(self._runtime.cudaGraphExecDestroy, recording.executable)

    def _abort_recording(self) -> None:
        error, graph = self._runtime.cudaStreamEndCapture(self._stream)
        if error == self._runtime.cudaError_t.cudaSuccess:
            self._runtime.cudaGraphDestroy(graph)
        self._runtime.cudaGetLastError()  # otherwise the next call would report this error

    def _identify(self) -> Identity:
        runtime = self._runtime
        device = self._call(runtime.cudaGetDevice)
        properties = self._call(runtime.cudaGetDeviceProperties, device)
        return Identity(
            name=properties.name.split(b"\0")[0].decode(errors="replace"),
            uuid=bytes(properties.uuid.bytes).hex(),
            capability=f"{properties.major}.{properties.minor}",
            driver=_version(self._call(runtime.cudaDriverGetVersion)),
        )

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        error, *values = function(*arguments)
        if error != self._runtime.cudaError_t.cudaSuccess:
            self._runtime.cudaGetLastError()  # clear it
            raise GpuError(f"{function.__name__}: {_named(self._runtime, error)}")
        return values[0] if values else None


def _runtime() -> Any:
    from cuda.bindings import runtime

    return runtime


def _named(runtime: Any, error: Any) -> str:
    """ "cudaErrorMemoryAllocation, out of memory"."""
    name, words = runtime.cudaGetErrorName(error)[1], runtime.cudaGetErrorString(error)[1]
    return f"{name.decode(errors='replace')}, {words.decode(errors='replace')}"


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
