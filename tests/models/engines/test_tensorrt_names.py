"""Every name of TensorRT and of cuda-python that the engine uses, held against the real packages' own bindings.

Neither needs a GPU to say what its functions are called, what they take and what they give back.
"""

import ast
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import fake_gpu
import fake_tensorrt
import pytest

ENGINES = Path(__file__).parents[3] / "models" / "engines"
BARE = Path(__file__).parents[2] / "support" / "bare_tensorrt.py"

# What the engine calls: how many arguments it gives, and a word of what comes back.
CALLS = {
    "Builder.__init__": (1, "None"),
    "Builder.build_serialized_network": (2, "IHostMemory"),
    "Builder.create_builder_config": (0, "IBuilderConfig"),
    "Builder.create_network": (0, "INetworkDefinition"),
    "Builder.create_optimization_profile": (0, "IOptimizationProfile"),
    "IBuilderConfig.add_optimization_profile": (1, "int"),
    "IBuilderConfig.clear_flag": (1, "None"),
    "IBuilderConfig.create_timing_cache": (1, "ITimingCache"),
    "IBuilderConfig.get_timing_cache": (0, "ITimingCache"),
    "IBuilderConfig.set_memory_pool_limit": (2, "None"),
    "IBuilderConfig.set_timing_cache": (2, "bool"),
    "ICudaEngine.create_execution_context": (1, "IExecutionContext"),
    "IExecutionContext.execute_async_v3": (1, "bool"),
    "IExecutionContext.set_device_memory": (2, "None"),
    "IExecutionContext.set_input_shape": (2, "bool"),
    "IExecutionContext.set_tensor_address": (2, "bool"),
    "ILogger.__init__": (0, "None"),
    "INetworkDefinition.get_input": (1, "ITensor"),
    "INetworkDefinition.get_output": (1, "ITensor"),
    "INetworkDefinition.unmark_output": (1, "None"),
    "IOptimizationProfile.set_shape": (4, "None"),
    "IProgressMonitor.__init__": (0, "None"),
    "ITimingCache.serialize": (0, "IHostMemory"),
    "OnnxParser.__init__": (2, "None"),
    "OnnxParser.get_error": (1, "IParserError"),
    "OnnxParser.parse": (1, "bool"),
    "ParserError.desc": (0, "str"),
    "Runtime.__init__": (1, "None"),
    "Runtime.deserialize_cuda_engine": (1, "ICudaEngine"),
}
READ = (
    "ICudaEngine.device_memory_size_v2",
    "INetworkDefinition.num_inputs",
    "INetworkDefinition.num_outputs",
    "ITensor.dtype",
    "ITensor.name",
    "ITensor.shape",
    "OnnxParser.num_errors",
)
WRITTEN = ("IBuilderConfig.max_aux_streams", "IBuilderConfig.progress_monitor")
ENUMS = {
    "BuilderFlag": {"TF32"},
    "DataType": {"FLOAT"},
    "ExecutionContextAllocationStrategy": {"USER_MANAGED"},
    "ILogger.Severity": {"ERROR", "INTERNAL_ERROR", "VERBOSE"},
    "MemoryPoolType": {"WORKSPACE"},
}
# What TensorRT calls, and we write: the names of its arguments.
OVERRIDDEN = {
    "ILogger.log": ["severity", "msg"],
    "IProgressMonitor.phase_finish": ["phase_name"],
    "IProgressMonitor.phase_start": ["phase_name", "parent_phase", "num_steps"],
    "IProgressMonitor.step_complete": ["phase_name", "step"],
}


@pytest.fixture(scope="module")
def bindings(tmp_path_factory):
    """What the bindings say of themselves; see bare_tensorrt.py."""
    if not sys.platform.startswith("linux") or shutil.which("cc") is None:
        pytest.skip("describing TensorRT without its libraries needs Linux and a C compiler")
    if find_spec("tensorrt_bindings") is None:
        pytest.skip("tensorrt-cu13-bindings is not installed: pip install '.[dev]'")
    folder = tmp_path_factory.mktemp("libraries")
    subprocess.run([sys.executable, BARE, folder], check=True)
    env = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    out = subprocess.run([sys.executable, BARE], env=env, capture_output=True, text=True, check=True).stdout
    return json.loads(out)


def signatures(docstring):
    """(names of the arguments without self, how many must be given, what comes back) of every overload."""
    found = re.findall(r"^(?:\d+\. )?\w+\(self: [\w.]+(?:, )?(.*)\) -> (.+)$", docstring, re.M)
    for arguments, back in found:
        names = re.findall(r"(?:^|, )(\w+): ", arguments)
        given = [one for one in re.split(r", (?=\w+: )", arguments) if one]
        yield names, sum(" = " not in one for one in given), back


def used_attributes(*files):
    trees = [ast.parse((ENGINES / file).read_text(encoding="utf-8")) for file in files]
    return {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize("name", CALLS)
def test_tensorrt_has_every_method_called(bindings, name):
    given, back = CALLS[name]
    found = list(signatures(bindings["members"][name]))
    assert any(needed <= given <= len(names) and back in returned for names, needed, returned in found), found


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_tensorrt_has_every_method_overridden(bindings, name):
    assert [names for names, _, _ in signatures(bindings["members"][name])] == [OVERRIDDEN[name]]


def test_tensorrt_has_every_property_and_constant(bindings):
    assert bindings["members"]["__version__"].startswith("11.")
    for name in READ:
        assert bindings["members"][name].endswith("property"), name
    for name in WRITTEN:
        assert bindings["members"][name] == "writable property", name
    for name, members in ENUMS.items():
        assert members <= set(bindings["enums"][name]), name


def test_no_name_of_tensorrt_is_used_unchecked(bindings):
    theirs = {name.rpartition(".")[2] for name in bindings["members"]} | set(bindings["enums"])
    ours = used_attributes("tensorrt.py", "tensorrt_build.py")
    checked = {name.rpartition(".")[2] for name in (*CALLS, *READ, *WRITTEN, *OVERRIDDEN, *ENUMS)}
    checked |= set().union(*ENUMS.values()) | {name.partition(".")[0] for name in (*CALLS, *OVERRIDDEN)}
    # Names that TensorRT has too, but that are used of other things: dicts, arrays, our own objects.
    other = {
        "__name__",
        "__version__",
        "append",
        "clear",
        "device_memory",
        "engine",
        "extend",
        "get",
        "items",
        "logger",
    }
    other |= {"logger", "max", "name", "pop", "remove", "size"}
    assert {name for name in ours & theirs if not name.startswith("_")} <= checked | other


def test_the_fake_takes_what_tensorrt_takes(bindings):
    fakes = {
        "Builder": fake_tensorrt._Builder,
        "IBuilderConfig": fake_tensorrt._Config,
        "ICudaEngine": fake_tensorrt._Engine,
        "IExecutionContext": fake_tensorrt._Context,
        "INetworkDefinition": fake_tensorrt._Network,
        "IOptimizationProfile": fake_tensorrt._Profile,
    }
    for name in CALLS:
        kind, _, method = name.partition(".")
        if kind in fakes and method != "__init__":
            taken = list(inspect.signature(getattr(fakes[kind], method)).parameters)[1:]
            assert taken in [names for names, _, _ in signatures(bindings["members"][name])], name


@pytest.fixture(scope="module")
def runtime():
    return pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed: pip install '.[dev]'")


def cuda_names():
    return sorted(name for name in used_attributes("cuda.py") if name.startswith("cuda"))


def test_cuda_has_every_name(runtime):
    assert len(cuda_names()) > 20
    enums = [runtime.cudaError_t, runtime.cudaMemcpyKind, runtime.cudaStreamCaptureMode]
    for name in cuda_names():
        assert hasattr(runtime, name) or any(name in enum.__members__ for enum in enums), name
    for ours in (fake_gpu.cudaError_t, fake_gpu.FakeCuda.cudaMemcpyKind):
        for member in ours:
            theirs = next(enum for enum in enums if member.name in enum.__members__)
            assert getattr(theirs, member.name) == member.value


def test_cuda_takes_and_gives_what_the_fake_does(runtime):
    gives_nothing = set()
    for name in cuda_names():
        if not inspect.isfunction(vars(fake_gpu.FakeCuda).get(name)):
            continue
        first = getattr(runtime, name).__doc__.split("\n")[0]
        taken = re.fullmatch(rf"{name}\((.*)\)", first)[1]
        names = [one.partition(":")[0].split()[-1].lstrip("*") for one in taken.split(", ") if one]
        assert names == list(inspect.signature(vars(fake_gpu.FakeCuda)[name]).parameters)[1:], name
        returned = getattr(runtime, name).__doc__.partition("Returns\n-------\n")[2].partition("See Also")[0]
        if not re.findall(r"^\w+ : ", returned, re.M):
            gives_nothing.add(name)
    gives_nothing -= {"cudaGetErrorName", "cudaGetErrorString"}  # tried below
    assert gives_nothing == {
        "cudaFree",
        "cudaFreeHost",
        "cudaGetLastError",
        "cudaGraphDestroy",
        "cudaGraphExecDestroy",
        "cudaGraphLaunch",
        "cudaMemcpyAsync",
        "cudaSetDeviceFlags",
        "cudaStreamBeginCapture",
        "cudaStreamSynchronize",
    }


def test_a_gpu_s_properties_are_called_so(runtime):
    properties = runtime.cudaDeviceProp()
    assert isinstance(properties.name, bytes)
    assert len(properties.uuid.bytes) == 16
    assert (properties.major, properties.minor) == (0, 0)


def test_cuda_names_its_errors(runtime):
    error = runtime.cudaError_t.cudaErrorMemoryAllocation
    assert runtime.cudaGetErrorName(error) == (runtime.cudaError_t.cudaSuccess, b"cudaErrorMemoryAllocation")
    assert runtime.cudaGetErrorString(error) == (runtime.cudaError_t.cudaSuccess, b"out of memory")


def test_handles_are_numbers(runtime):
    assert int(runtime.cudaStream_t(5)) == 5
