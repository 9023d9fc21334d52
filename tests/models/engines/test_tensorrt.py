"""TensorRT's engine at work, on a GPU and a TensorRT that are not there (fake_gpu.py, fake_tensorrt.py)."""

import gc
import logging
import sys

import numpy as np
import pytest
from fake_gpu import FakeCuda, cudaError_t
from fake_tensorrt import FakeTensorRt
from tiny_bundle import tiny_logits, write_tiny

pytest.importorskip("onnx", reason="onnx is not installed: pip install 'instrec-live[tensorrt]'")

from instrec_live.models.bundle import DEFAULT_MODELS, Bundle, bundled
from instrec_live.models.calibration import sigmoid
from instrec_live.models.engines import cuda, tensorrt, tensorrt_build
from instrec_live.models.engines.registry import open_engine
from instrec_live.models.engines.tensorrt_cache import EngineCache
from instrec_live.models.errors import ModelError

OUT_OF_MEMORY = cudaError_t.cudaErrorMemoryAllocation


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture
def runtime(monkeypatch, tmp_path):
    """A fake GPU beneath a fake TensorRT (`.trt`), with a cache of their own (`.cache`)."""
    runtime = FakeCuda()
    runtime.trt, runtime.cache = FakeTensorRt(runtime), EngineCache(tmp_path / "cache" / "engines")
    gpu = cuda.Gpu(runtime)
    monkeypatch.setattr(cuda, "gpu", lambda: gpu)
    monkeypatch.setattr(tensorrt, "_library", lambda: runtime.trt)
    monkeypatch.setattr(tensorrt, "unavailable_reason", lambda precision: None)
    monkeypatch.setattr(EngineCache, "of_user", lambda: runtime.cache)
    return runtime


def windows(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def graphs(runtime):
    return runtime.calls.count("cudaGraphLaunch")


@pytest.mark.parametrize("model", DEFAULT_MODELS)
@pytest.mark.parametrize(("precision", "tolerance"), [("fp16", 1e-2), ("fp32", 1e-4)])
def test_the_bundled_networks_answer_as_they_should(runtime, model, precision, tolerance):
    bundle = Bundle.load(bundled(model))
    engine = open_engine(bundle, f"tensorrt:{precision}")
    log_mel, expected = bundle.golden
    for _ in range(6):  # recorded on the way
        logits = engine.logits(log_mel[None])[0]
        mine, its = (sigmoid(bundle.calibration(z[:20])) for z in (expected, logits))
        difference = np.abs(mine - its).max()
        assert logits.shape == expected.shape
        assert difference <= tolerance
    assert graphs(runtime) >= 2


@pytest.mark.parametrize(
    "shape", [(1, 128, 96), (1, 128, 200), (3, 128, 1000), (16, 128, 250), (37, 128, 437), (0, 128, 300)]
)
def test_any_batch_and_length(runtime, tiny, shape):
    log_mel = windows(*shape)
    logits = open_engine(tiny, "tensorrt:fp32").logits(log_mel)
    assert (logits.shape, logits.dtype) == ((shape[0], 20), np.float32)
    np.testing.assert_allclose(logits, np.reshape([tiny_logits(one) for one in log_mel], (-1, 20)), atol=1e-5)


def test_its_name_has_version_gpu_and_precision(runtime, tiny):
    assert open_engine(tiny, "tensorrt").name == "tensorrt 11.4 Fake GPU fp16"
    assert open_engine(tiny, "tensorrt:fp32").name == "tensorrt 11.4 Fake GPU"


@pytest.mark.parametrize("shape", [(1, 64, 300), (1, 128, 95), (1, 128, 1001), (128, 300)])
def test_a_wrong_input_is_one_line(runtime, tiny, shape):
    with pytest.raises(ModelError, match=r"tiny failed on an input of \(.*\): it must be \[B, 128, 96…1000\]"):
        open_engine(tiny, "tensorrt").logits(windows(*shape))


def test_a_frequent_shape_is_recorded_and_its_results_stay_correct(runtime, tiny):
    engine = open_engine(tiny, "tensorrt:fp32")
    for at in range(9):
        for frames in (1000, 250):
            log_mel = windows(1, 128, frames) * (1 + at)
            np.testing.assert_allclose(engine.logits(log_mel)[0], tiny_logits(log_mel[0]), atol=1e-4)
    assert graphs(runtime) == 2 * 5
    assert runtime.calls.count("cudaMalloc") == 3, "all memory is there from the beginning"
    assert runtime.calls.count("cudaStreamCreateWithFlags") == 1


def test_only_so_many_shapes_are_recorded(runtime, tiny):
    engine = open_engine(tiny, "tensorrt:fp32")
    for _ in range(6):
        for frames in range(300, 310):
            engine.logits(windows(1, 128, frames))
    assert runtime.calls.count("cudaGraphInstantiate") == 4


def test_a_shape_that_cannot_be_recorded_runs_without_a_graph(runtime, tiny):
    runtime.trt.capturable = False
    engine = open_engine(tiny, "tensorrt:fp32")
    for _ in range(8):
        log_mel = windows(2, 128, 300)
        np.testing.assert_allclose(engine.logits(log_mel), [tiny_logits(one) for one in log_mel], atol=1e-5)
    assert (graphs(runtime), runtime.calls.count("cudaStreamBeginCapture")) == (0, 1)
    assert engine.name.startswith("tensorrt")


def test_three_networks_share_one_stream(runtime, tiny):
    engines = [open_engine(tiny, "tensorrt") for _ in range(3)]
    for _ in range(5):
        for engine in engines:
            engine.logits(windows(1, 128, 1000))
    assert len(runtime.streams) == 1


def test_memory_is_given_back(runtime, tiny):
    engine = open_engine(tiny, "tensorrt")
    for _ in range(6):
        engine.logits(windows(1, 128, 1000))
    assert runtime.memory
    assert runtime.graphs
    del engine
    gc.collect()
    assert (runtime.memory, runtime.graphs) == ({}, {})


@pytest.mark.parametrize("call", ["cudaMalloc", "cudaHostAlloc"])
def test_no_memory_at_the_start(runtime, tiny, caplog, call):
    runtime.failing[call] = OUT_OF_MEMORY
    with caplog.at_level(logging.WARNING):
        engine = open_engine(tiny, "tensorrt:fp32")
    assert [record.getMessage() for record in caplog.records] == [
        f"tiny: tensorrt 11.4 Fake GPU failed ({call}: cudaErrorMemoryAllocation, out of memory); "
        f"continuing on {engine.name.removesuffix(' (tensorrt failed)')}"
    ]
    assert engine.name.startswith("onnxruntime ")
    np.testing.assert_allclose(engine.logits(windows(1, 128, 300))[0], tiny_logits(windows(1, 128, 300)[0]), atol=1e-5)
    assert runtime.memory == {}


def lose(runtime):
    runtime.lost = True


def run_out(runtime):
    runtime.failing["cudaGraphLaunch"] = runtime.failing["cudaMemcpyAsync"] = OUT_OF_MEMORY


@pytest.mark.parametrize("harm", [lose, run_out])
@pytest.mark.parametrize("runs", [1, 6])  # before and after its work has been recorded
def test_the_gpu_fails_on_the_way(runtime, tiny, caplog, harm, runs):
    engine = open_engine(tiny, "tensorrt:fp32")
    log_mel = windows(1, 128, 1000)
    for _ in range(runs):
        engine.logits(log_mel)
    harm(runtime)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            np.testing.assert_allclose(engine.logits(log_mel)[0], tiny_logits(log_mel[0]), atol=1e-5)
    assert len(caplog.records) == 1, "it is said once"
    assert "tiny: tensorrt 11.4 Fake GPU failed (" in caplog.text
    assert engine.name.startswith("onnxruntime ")
    assert engine.name.endswith("(tensorrt failed)")


def test_no_memory_for_the_build(runtime, tiny, caplog):
    runtime.trt.build_error = "Requested amount of GPU memory could not be allocated: CUDA out of memory"
    assert open_engine(tiny, "tensorrt").name.startswith("onnxruntime ")
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_a_gpu_that_calculates_wrongly_is_not_believed(runtime, tiny):
    for runtime.trt.off in (0.5, np.nan):
        with pytest.raises(ModelError, match=r"tiny on tensorrt 11\.4 Fake GPU fp16: its .* differ from the golden"):
            open_engine(tiny, "tensorrt")


def test_ctrl_c_in_its_log_is_raised_after_the_call(runtime, tiny, monkeypatch):
    """It strikes while TensorRT tells something, where nothing may be raised."""

    def struck(*_):
        raise KeyboardInterrupt

    engine, cache = open_engine(tiny, "tensorrt:fp32"), tensorrt._logger(runtime.trt)
    monkeypatch.setattr(tensorrt_build._log, "debug", struck)
    monkeypatch.setattr(FakeCuda, "give", lambda *_: cache.log(cache.Severity.WARNING, "slow") or 0)
    with pytest.raises(KeyboardInterrupt):
        engine.logits(windows(1, 128, 300))
    assert not cache.stored_error


def test_why_not_in_plain_words(monkeypatch):
    install = "pip install 'instrec-live[tensorrt]'"
    there = {"tensorrt", "cuda", "onnx"}
    monkeypatch.setattr(tensorrt, "find_spec", lambda name: name if name in there else None)
    fake = FakeCuda()
    monkeypatch.setattr(cuda, "_runtime", lambda: fake)

    def missing():
        raise ImportError("libnvinfer.so.11: cannot open shared object file")

    monkeypatch.setattr(tensorrt, "_library", missing)
    assert tensorrt.unavailable_reason("fp16") == (
        f"tensorrt cannot be imported (libnvinfer.so.11: cannot open shared object file): {install}"
    )
    fake.driver, fake.failing = 12_040, {"cudaGetDeviceCount": cudaError_t.cudaErrorInsufficientDriver}
    assert (
        tensorrt.unavailable_reason("fp16") == "the NVIDIA driver is too old: it supports CUDA 12.4, and 13.0 is needed"
    )
    fake.driver = 0
    assert tensorrt.unavailable_reason("fp16") == "no NVIDIA GPU, or no driver for it, on this machine"
    fake.driver, fake.failing = 13_000, {"cudaGetDeviceCount": cudaError_t.cudaErrorNoDevice}
    assert tensorrt.unavailable_reason("fp16") == "no NVIDIA GPU, or no driver for it, on this machine"
    fake.failing = {"cudaGetDeviceCount": cudaError_t.cudaErrorIllegalAddress}
    assert tensorrt.unavailable_reason("fp16").startswith(
        "the NVIDIA GPU does not respond (cudaErrorIllegalAddress, an illegal"
    )
    for name, package in (("onnx", "onnx"), ("cuda", "cuda-python"), ("tensorrt", "tensorrt")):
        there.remove(name)
        assert tensorrt.unavailable_reason("fp16") == f"{package} is not installed: {install}"


def test_an_old_or_good_library(monkeypatch):
    fake = FakeCuda()
    monkeypatch.setattr(tensorrt, "find_spec", lambda name: name)
    monkeypatch.setattr(cuda, "_runtime", lambda: fake)
    library = FakeTensorRt(fake)
    monkeypatch.setattr(tensorrt, "_library", lambda: library)
    assert tensorrt.unavailable_reason("fp16") is None
    library.__version__ = "10.13.0.35"
    assert tensorrt.unavailable_reason("fp16") == "tensorrt 10.13.0.35 is too old: 11 is needed"


def test_here_it_reports_why_not(tiny):
    """Whatever machine this is: usable, or one plain line."""
    reason = tensorrt.unavailable_reason("fp16")
    if reason is None:
        pytest.skip("there is a GPU here")
    with pytest.raises(ModelError, match="engine tensorrt cannot be used: ") as caught:
        open_engine(tiny, "tensorrt")
    assert "\n" not in str(caught.value)
    assert "tensorrt" not in sys.modules
