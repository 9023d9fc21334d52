"""A TensorRT engine at work: buffers laid out once, one stream, and work of a shape that comes often recorded.

TensorRT and the GPU come as arguments, so that the tests can put others in their place.
"""

import weakref
from collections import Counter
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.bundle import FRAMES
from instrec_live.models.engines.cuda import Gpu, GpuError, Recording
from instrec_live.models.engines.tensorrt_build import BATCHES, shape
from instrec_live.models.engines.tensorrt_listeners import undisturbed
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import N_MELS

FloatArray = NDArray[np.float32]

_OFTEN = 3  # times that a shape has come before its work is recorded
_MOST_RECORDINGS = 4  # live there are two shapes, the long span and the short one


class Runner:
    """Runs one engine.

    A CUDA graph is bound to the shapes and the addresses of its recording, and to the state of the execution context it
    was recorded from. So each recorded shape has a context of its own, never touched again; one more serves all other
    shapes. They share the memory for what lies between the layers: on one stream, only one of them is at work.

    Raises:
        GpuError: the GPU has not enough memory, or is lost.
    """

    def __init__(self, trt: Any, engine: Any, gpu: Gpu, logger: Any) -> None:
        self._trt, self._engine, self._gpu, self._logger = trt, engine, gpu, logger
        self._came: Counter[tuple[int, int]] = Counter()
        self._recordings: dict[tuple[int, int], Recording | None] = {}
        self._contexts: list[Any] = []
        self._host: dict[str, FloatArray] = {}
        self._device: dict[str, int] = {}
        self._held = ExitStack()
        # When the process ends its memory goes anyway, and CUDA may be gone already.
        self._release = weakref.finalize(self, self._held.close)
        self._release.atexit = False
        try:
            with gpu.lock, undisturbed():
                self._allocate()
        except BaseException:
            self.close()
            raise

    def _allocate(self) -> None:
        most = BATCHES[1]
        for name, values in (("log_mel", most * N_MELS * FRAMES[1]), ("logits", most * len(INSTRUMENTS))):
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
            GpuError: the GPU is lost, has no memory left, or fails.
        """
        most = BATCHES[1]
        parts = [self._part(log_mel[at : at + most]) for at in range(0, len(log_mel), most)]
        return np.concatenate(parts) if parts else np.empty((0, len(INSTRUMENTS)), np.float32)

    def close(self) -> None:
        """Give all memory back; it cannot run afterwards."""
        with self._gpu.lock:
            self._contexts.clear()
            self._usual = None
            self._release()

    def _part(self, log_mel: FloatArray) -> FloatArray:
        key = len(log_mel), log_mel.shape[2]
        count = key[0] * len(INSTRUMENTS)
        with self._gpu.lock, undisturbed():
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
            self._logger.happened.raise_what_happened()
            return self._host["logits"][:count].reshape(-1, len(INSTRUMENTS)).copy()

    def _worth_recording(self, key: tuple[int, int]) -> bool:
        self._came[key] += 1
        return self._came[key] > _OFTEN and key not in self._recordings and len(self._recordings) < _MOST_RECORDINGS

    def _run_and_record(self, key: tuple[int, int]) -> None:
        """The answer comes from an ordinary run: what a context puts off until its first run of a shape cannot be
        recorded. What cannot be recorded at all goes on as before."""
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
            raise GpuError(f"TensorRT makes no execution context: {self._why()}")
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
        self._demand(context.execute_async_v3(self._gpu.stream), "the work")
        self._gpu.download(self._device["logits"], self._host["logits"], batch * len(INSTRUMENTS))

    def _demand(self, taken: bool, what: str) -> None:
        if not taken:
            raise GpuError(f"TensorRT refuses {what}: {self._why()}")

    def _why(self) -> str:
        return str(self._logger.last_error) or "it does not say why"
