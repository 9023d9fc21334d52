"""A TensorRT that is not there, but insists on the rules of the real one; ONNX Runtime does its sums. See fake_gpu.py.

An "engine" is a mark, the profile, and the ONNX file it was "built" from.
"""

import json
from enum import Enum, IntEnum
from types import SimpleNamespace

import numpy as np
import onnxruntime

MARK = b"fake plan\n"
BETWEEN = 4096  # bytes for what lies between the layers


class DataType(Enum):
    FLOAT, HALF = 0, 1


class ExecutionContextAllocationStrategy(Enum):
    STATIC, ON_PROFILE_CHANGE, USER_MANAGED = 0, 1, 2


class ILogger:
    Severity = IntEnum("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"], start=0)

    def log(self, severity, msg):
        raise NotImplementedError


class FakeTensorRt:
    """Attributes:
    cuda: the `FakeCuda` beneath.
    build_error: what a build fails with, or "".
    stubborn: how many times more `deserialize_cuda_engine` gives None.
    capturable: whether its work can be recorded.
    builds: timings that each build was given.
    off: is added to every logit.
    """

    __name__, __version__ = "tensorrt", "11.4.0.106"
    DataType, ILogger, IProgressMonitor = DataType, ILogger, type("IProgressMonitor", (), {})
    ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy
    BuilderFlag = Enum("BuilderFlag", ["TF32"])
    MemoryPoolType = Enum("MemoryPoolType", ["WORKSPACE"])

    def __init__(self, cuda):
        self.cuda, self.build_error, self.stubborn, self.capturable, self.builds, self.off = cuda, "", 0, True, [], 0.0

    def Builder(self, logger):
        return _Builder(self, logger)

    def OnnxParser(self, network, logger):
        return _Parser(network, logger)

    def Runtime(self, logger):
        return SimpleNamespace(deserialize_cuda_engine=lambda plan: self._deserialised(plan, logger))

    def _deserialised(self, plan, logger):
        assert plan.startswith(MARK), "bytes that no build has made: the real one might run them"
        if self.stubborn:
            self.stubborn -= 1
            logger.log(ILogger.Severity.ERROR, "the engine plan file is not compatible")
            return None
        profile, onnx = plan[len(MARK) :].split(b"\n", 1)
        return _Engine(self, logger, json.loads(profile), onnx)


class _Parser:
    def __init__(self, network, logger):
        self._network, self._logger, self._error = network, logger, None

    def parse(self, model):
        try:
            session = onnxruntime.InferenceSession(model)
        except Exception as e:
            self._error = str(e)
            return False
        types = {"tensor(float)": DataType.FLOAT, "tensor(float16)": DataType.HALF}
        for faces, given in (
            (self._network.inputs, session.get_inputs()),
            (self._network.outputs, session.get_outputs()),
        ):
            shape = [[n if isinstance(n, int) else -1 for n in face.shape] for face in given]
            faces += [
                SimpleNamespace(name=f.name, dtype=types[f.type], shape=s) for f, s in zip(given, shape, strict=True)
            ]
        self._network.onnx = model
        return True

    @property
    def num_errors(self):
        return int(self._error is not None)

    def get_error(self, index):
        return SimpleNamespace(desc=lambda: self._error)


class _Network:
    def __init__(self):
        self.inputs, self.outputs, self.onnx = [], [], b""

    num_inputs = property(lambda self: len(self.inputs))
    num_outputs = property(lambda self: len(self.outputs))

    def get_input(self, index):
        return self.inputs[index]

    def get_output(self, index):
        return self.outputs[index]

    def unmark_output(self, tensor):
        self.outputs.remove(tensor)


class _Profile(dict):
    def set_shape(self, input, min, opt, max):
        assert all(a <= b <= c for a, b, c in zip(min, opt, max, strict=True))
        self[input] = [list(min), list(opt), list(max)]


class _Config:
    def __init__(self):
        self.profiles, self.timings, self.flags, self.pools = [], None, {"TF32"}, {}
        self.max_aux_streams = self.progress_monitor = None

    def set_memory_pool_limit(self, pool, pool_size):
        self.pools[pool.name] = pool_size

    def clear_flag(self, flag):
        self.flags.discard(flag.name)

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache):
        return SimpleNamespace(serialize=lambda: serialized_timing_cache + b"t", content=serialized_timing_cache)

    def set_timing_cache(self, cache, ignore_mismatch):
        fits = not cache.content.strip(b"t")
        self.timings = cache if fits else self.timings
        return fits

    def get_timing_cache(self):
        return self.timings


class _Builder:
    def __init__(self, trt, logger):
        self._trt, self._logger = trt, logger

    def create_network(self, flags=0):
        return _Network()

    def create_builder_config(self):
        return _Config()

    def create_optimization_profile(self):
        return _Profile()

    def build_serialized_network(self, network, config):
        assert {face.name for face in network.inputs} == set(config.profiles[0]), "a profile for every dynamic input"
        assert "TF32" not in config.flags
        assert config.max_aux_streams == 0
        self._trt.builds.append(config.timings.content)
        monitor = config.progress_monitor
        monitor.phase_start("Building", None, 2)
        monitor.phase_start("Inner", "Building", 1)
        go_on = monitor.step_complete("Inner", 0)
        monitor.phase_finish("Inner")
        go_on = go_on and monitor.step_complete("Building", 0)
        monitor.phase_finish("Building")
        if not go_on or self._trt.build_error:
            self._logger.log(ILogger.Severity.ERROR, self._trt.build_error or "stopped by the monitor")
            return None
        self._logger.log(ILogger.Severity.INFO, "a fine engine")
        return MARK + json.dumps(config.profiles[0]["log_mel"]).encode() + b"\n" + network.onnx


class _Engine:
    device_memory_size_v2 = BETWEEN

    def __init__(self, trt, logger, profile, onnx):
        self.trt, self.logger, self.profile = trt, logger, profile
        self.session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])

    def create_execution_context(self, strategy=ExecutionContextAllocationStrategy.STATIC):
        assert strategy is ExecutionContextAllocationStrategy.USER_MANAGED
        return _Context(self)


class _Context:
    def __init__(self, engine):
        self._engine, self._shape, self._addresses, self._between = engine, None, {}, None
        self._settled = False  # what is put off until the first run of a shape has been done
        self._changes = 0

    def set_device_memory(self, memory, size):
        assert memory % 16 == 0
        assert size >= self._engine.device_memory_size_v2
        self._between = memory, size
        self._changes += 1

    def set_tensor_address(self, name, memory):
        if name not in ("log_mel", "logits"):
            return self._refuse(f"no tensor {name}")
        self._addresses[name] = memory
        self._changes += 1
        return True

    def set_input_shape(self, name, shape):
        low, _, high = self._engine.profile
        if not all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True)):
            return self._refuse(f"{shape} is not within the profile")
        self._settled = self._settled and self._shape == shape
        self._shape = shape
        self._changes += 1
        return True

    def execute_async_v3(self, stream_handle):
        cuda, trt = self._engine.trt.cuda, self._engine.trt
        if cuda.lost:
            return self._refuse("an illegal memory access was encountered")
        if set(self._addresses) != {"log_mel", "logits"} or self._shape is None or self._between is None:
            return self._refuse("an address, the shape or the memory between has not been set")
        recording = cuda.recording is not None
        if recording and not (self._settled and trt.capturable):
            cuda.recording = "invalid"
            return self._refuse("this cannot be recorded")
        self._settled = True
        shape, changes = self._shape, self._changes

        def work():
            assert not recording or changes == self._changes, "its context has changed since this was recorded"
            cuda.at(self._between[0], "device", self._between[1])
            count = int(np.prod(shape))
            given = cuda.at(self._addresses["log_mel"], "device", 4 * count)
            log_mel = np.frombuffer(given, np.float32, count).reshape(shape)
            (logits,) = self._engine.session.run(["logits"], {"log_mel": log_mel})
            logits = logits.astype(np.float32) + np.float32(trt.off)
            cuda.at(self._addresses["logits"], "device", logits.nbytes)[: logits.nbytes] = logits.tobytes()

        return cuda.give(stream_handle, work) == 0

    def _refuse(self, why):
        self._engine.logger.log(ILogger.Severity.ERROR, why)
        return False
