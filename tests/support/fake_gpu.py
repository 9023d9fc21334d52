"""A GPU and TensorRT that are not there, but insist on the rules of the real ones; what they compute is right.

`FakeCuda` stands for the module `cuda.bindings.runtime`, `FakeTensorRt` for `tensorrt`. A call that the real ones
answer with an error gets that error; a use that is undefined there (freed memory, a graph whose context has moved on)
is an AssertionError here. Work given to a stream is done when somebody waits for it, not before.
"""

import ctypes
import itertools
from enum import IntEnum
from types import SimpleNamespace


class cudaError_t(IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorInvalidResourceHandle = 400
    cudaErrorIllegalAddress = 700
    cudaErrorStreamCaptureUnsupported = 900
    cudaErrorStreamCaptureInvalidated = 901


OK, INVALID = cudaError_t.cudaSuccess, cudaError_t.cudaErrorInvalidValue


class FakeCuda:
    """Attributes:
    failing: name of a function -> the error it gives from now on.
    lost: the GPU is gone: everything fails, as after an illegal address.
    calls: names of all functions called, in order.
    """

    cudaError_t = cudaError_t
    cudaMemcpyKind = IntEnum("cudaMemcpyKind", {"cudaMemcpyHostToDevice": 1, "cudaMemcpyDeviceToHost": 2})
    cudaStreamCaptureMode = IntEnum("cudaStreamCaptureMode", {"cudaStreamCaptureModeThreadLocal": 1})
    cudaDeviceScheduleBlockingSync, cudaStreamNonBlocking, cudaHostAllocDefault = 4, 1, 0

    def __init__(self):
        self.failing, self.lost, self.calls = {}, False, []
        self.memory = {}  # address -> (buffer, "device" or "host")
        self.streams = {}  # handle -> work given
        self.recording = None  # work recorded, or "invalid"
        self.graphs = {}
        self._handles = itertools.count(1)
        self.driver, self.devices = 13_000, 1

    def __getattribute__(self, name):
        found = object.__getattribute__(self, name)
        if not (name.startswith("cuda") and callable(found)) or isinstance(found, type):
            return found

        def call(*arguments):
            self.calls.append(name)
            if name in ("cudaGetErrorName", "cudaGetErrorString", "cudaGetLastError"):
                return found(*arguments)
            error = cudaError_t.cudaErrorIllegalAddress if self.lost else self.failing.get(name, OK)
            return found(*arguments) if error == OK else (error, None)

        call.__name__ = name
        return call

    def cudaGetErrorName(self, error):
        return OK, error.name.encode()

    def cudaGetErrorString(self, error):
        return OK, {2: b"out of memory", 700: b"an illegal memory access was encountered"}.get(error, b"in words")

    def cudaGetLastError(self):
        return (OK,)

    def cudaDriverGetVersion(self):
        return OK, self.driver

    def cudaRuntimeGetVersion(self):
        return OK, 13_000

    def cudaGetDeviceCount(self):
        return OK, self.devices

    def cudaGetDevice(self):
        return OK, 0

    def cudaSetDeviceFlags(self, flags):
        return (OK,)

    def cudaGetDeviceProperties(self, device):
        uuid = SimpleNamespace(bytes=bytes(range(16)))
        return OK, SimpleNamespace(name=b"Fake GPU\0\0\0", uuid=uuid, major=9, minor=0)

    def cudaStreamCreateWithFlags(self, flags):
        handle = next(self._handles)
        self.streams[handle] = []
        return OK, handle

    def cudaMalloc(self, size):
        return self._allocate(size, "device")

    def cudaHostAlloc(self, size, flags):
        return self._allocate(size, "host")

    def _allocate(self, size, where):
        if self.recording is not None:  # not while a stream of this thread is recorded
            self.recording = "invalid"
            return cudaError_t.cudaErrorStreamCaptureUnsupported, None
        buffer = ctypes.create_string_buffer(b"\xff" * size, size)  # NaN, until written
        self.memory[ctypes.addressof(buffer)] = buffer, where
        return OK, ctypes.addressof(buffer)

    def cudaFree(self, devPtr):
        return self._free(devPtr, "device")

    def cudaFreeHost(self, ptr):
        return self._free(ptr, "host")

    def _free(self, address, where):
        if address not in self.memory or self.memory[address][1] != where:
            return (INVALID,)
        assert not any(self.streams.values()), "memory is freed while work is under way"
        del self.memory[address]
        return (OK,)

    def at(self, address, where, nbytes):
        """The memory at an address, if so much of it is there."""
        assert address in self.memory, "memory that is not, or no longer, allocated"
        buffer, place = self.memory[address]
        assert place == where, f"{place} memory is taken for {where} memory"
        assert len(buffer) >= nbytes, f"{nbytes} bytes in a buffer of {len(buffer)}"
        return buffer

    def cudaMemcpyAsync(self, dst, src, count, kind, stream):
        up = kind == self.cudaMemcpyKind.cudaMemcpyHostToDevice

        def copy():
            to, of = self.at(dst, *("device" if up else "host", count)), self.at(src, "host" if up else "device", count)
            ctypes.memmove(to, of, count)

        return (self.give(stream, copy),)

    def give(self, stream, work):
        """Work for a stream, to be done later, or recorded."""
        if stream not in self.streams:
            return cudaError_t.cudaErrorInvalidResourceHandle
        if self.recording == "invalid":
            return cudaError_t.cudaErrorStreamCaptureInvalidated
        (self.streams[stream] if self.recording is None else self.recording).append(work)
        return OK

    def cudaStreamSynchronize(self, stream):
        if self.recording is not None:
            self.recording = "invalid"
            return (cudaError_t.cudaErrorStreamCaptureUnsupported,)
        while self.streams[stream]:
            self.streams[stream].pop(0)()
        return (OK,)

    def cudaStreamBeginCapture(self, stream, mode):
        assert not self.streams[stream], "what was given before would still be under way"
        self.recording = []
        return (OK,)

    def cudaStreamEndCapture(self, stream):
        recorded, self.recording = self.recording, None
        if recorded is None:
            return INVALID, None
        if recorded == "invalid":
            return cudaError_t.cudaErrorStreamCaptureInvalidated, None
        return OK, self._graph(recorded)

    def _graph(self, work):
        handle = next(self._handles)
        self.graphs[handle] = work
        return handle

    def cudaGraphInstantiate(self, graph, flags):
        return OK, self._graph(self.graphs[graph])

    def cudaGraphLaunch(self, graphExec, stream):
        for work in self.graphs[graphExec]:
            self.give(stream, work)
        return (OK,)

    def cudaGraphDestroy(self, graph):
        del self.graphs[graph]
        return (OK,)

    def cudaGraphExecDestroy(self, graphExec):
        del self.graphs[graphExec]
        return (OK,)
