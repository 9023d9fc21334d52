"""From a bundle to a TensorRT engine: what is handed over, what a real builder makes of it, what is kept."""

import logging
import subprocess
import sys

import numpy as np
import pytest
from fake_gpu import FakeCuda
from fake_tensorrt import MARK, FakeTensorRt
from tiny_bundle import TINY_ONNX, write_tiny

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'instrec-live[tensorrt]'")

from onnx import TensorProto, helper
from patchwise_onnx import patchwise

from instrec_live.models.bundle import DEFAULT_MODELS, Bundle, bundled
from instrec_live.models.engines import cuda, tensorrt
from instrec_live.models.engines.tensorrt_build import build, logger_for, network_for
from instrec_live.models.engines.tensorrt_cache import EngineCache
from instrec_live.models.errors import ModelError
from instrec_live.models.onnx_graph import trimmed

# TensorRT-RTX has no timing cache, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture
def trt(monkeypatch, tmp_path):
    """A fake TensorRT on a fake GPU, with a cache (`.cache`) of its own."""
    runtime = FakeCuda()
    trt = FakeTensorRt(runtime)
    trt.cache = EngineCache(tmp_path / "engines")
    gpu = cuda.Gpu(runtime)
    monkeypatch.setattr(cuda, "gpu", lambda: gpu)
    monkeypatch.setattr(tensorrt, "_library", lambda: trt)
    monkeypatch.setattr(tensorrt, "unavailable_reason", lambda precision: None)
    monkeypatch.setattr(EngineCache, "of_user", lambda: trt.cache)
    return trt


@pytest.fixture(scope="module")
def rtx():
    return pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed: pip install '.[dev]'")


@pytest.mark.parametrize("model", DEFAULT_MODELS)
@pytest.mark.parametrize("precision", tensorrt.PRECISIONS)
def test_the_real_builder_takes_every_network(rtx, model, precision):
    reports = []
    made = network_for(Bundle.load(bundled(model)).onnx, precision)
    built = build(rtx, made, logger_for(rtx), report=lambda *told: reports.append(told))
    assert len(built.engine) > 1_000_000
    assert built.timings
    assert reports, "it tells how far it is"


def test_the_real_builder_takes_a_patchwise_network(rtx):
    for precision in tensorrt.PRECISIONS:
        assert build(rtx, network_for(patchwise(), precision), logger_for(rtx)).engine


def test_the_real_builder_leaves_other_outputs_aside(rtx):
    assert build(rtx, patchwise_without_heard(), logger_for(rtx)).engine


def patchwise_without_heard():
    model = onnx.load_model_from_string(trimmed(patchwise()))
    model.graph.output.append(helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["B", 128]))
    return model.SerializeToString()


def test_the_real_builder_stops_when_asked(rtx, tiny):
    def interrupt(*told):
        raise KeyboardInterrupt

    logger = logger_for(rtx)
    with pytest.raises(KeyboardInterrupt):
        build(rtx, network_for(tiny.onnx, "fp32"), logger, report=interrupt)
    assert build(rtx, network_for(tiny.onnx, "fp32"), logger).engine, "and goes on afterwards"


def test_garbage_from_one_build_does_not_stop_the_next():
    """The collector must not run while TensorRT calls us with its lock held: destroying a builder takes that lock."""
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed: pip install '.[dev]'")
    program = (
        "import gc, logging, sys, tensorrt_rtx as rtx\n"
        "from pathlib import Path\n"
        "from instrec_live.models.engines import tensorrt_build\n"
        "logger, onnx = tensorrt_build.logger_for(rtx), Path(sys.argv[1]).read_bytes()\n"
        "gc.set_threshold(0)\n"
        "other = tensorrt_build.logger_for(rtx)\n"  # TensorRT complains of a second logger with its lock held
        "circles = [[rtx.Builder(other)] for _ in range(50)]\n"
        "for circle in circles: circle.append(circle)\n"
        "circle, heard = None, []\n"
        "class Litter(logging.Handler):\n"
        "    def emit(self, record):\n"  # whatever TensorRT says, builders become garbage
        "        circles.clear(); gc.set_threshold(1); heard.append([record])\n"
        "log = logging.getLogger('instrec_live'); log.addHandler(Litter()); log.setLevel(logging.DEBUG)\n"
        "assert tensorrt_build.build(rtx, onnx, logger).engine\n"
        "assert heard and gc.isenabled()\n"
    )
    call = [sys.executable, "-W", "ignore", "-c", program, str(TINY_ONNX)]
    assert subprocess.run(call, timeout=60, check=False).returncode == 0


def test_the_real_parser_s_words_are_passed_on(rtx, capfd):
    with pytest.raises(ModelError, match=r"TensorRT does not accept the network: .*pars"):
        build(rtx, b"no network at all", logger_for(rtx))
    assert capfd.readouterr() == ("", ""), "its log is not for the terminal"


def test_timings_that_do_not_fit_are_left_aside(rtx, tiny):
    assert build(rtx, network_for(tiny.onnx, "fp32"), logger_for(rtx), timings=b"of another GPU" * 9).timings


def test_a_build_is_stopped_at_once(trt, tiny):
    def interrupt(*told):
        raise KeyboardInterrupt

    logger = logger_for(trt)
    with pytest.raises(KeyboardInterrupt):
        build(trt, network_for(tiny.onnx, "fp32"), logger, report=interrupt)
    assert logger.last_error == "stopped by the monitor"


def test_another_face_is_refused(trt, tiny):
    model = onnx.load_model_from_string(trimmed(tiny.onnx))
    model.graph.input[0].name = model.graph.node[0].input[0] = "sound"
    with pytest.raises(ModelError, match=r"maps \[\('sound', .* — it must map log_mel float \[B, 128, T\]"):
        build(trt, model.SerializeToString(), logger_for(trt))


def test_an_engine_is_built_once(trt, tiny, caplog):
    with caplog.at_level(logging.INFO, "instrec_live"):
        first = tensorrt.open_engine(tiny, 1, "fp16")
    assert "tiny: building its TensorRT engine for Fake GPU (fp16), once; this takes minutes" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, "instrec_live"):
        second = tensorrt.open_engine(tiny, 1, "fp16")
    assert (len(trt.builds), caplog.records) == (1, [])
    log_mel = tiny.golden[0][None]
    np.testing.assert_array_equal(first.logits(log_mel), second.logits(log_mel))
    tensorrt.open_engine(tiny, 1, "fp32")
    assert trt.builds == [b"", b"t"], "what the first learnt about the GPU helps the second"
    assert [one.header.key.precision for one in trt.cache.kept()].count("fp16") == 1


def test_a_kept_engine_that_tensorrt_refuses_is_rebuilt(trt, tiny, caplog):
    tensorrt.open_engine(tiny, 1, "fp16")
    trt.stubborn = 1
    assert tensorrt.open_engine(tiny, 1, "fp16").name.startswith("tensorrt")
    assert len(trt.builds) == 2
    assert "is not used and is built again: TensorRT rejects it" in caplog.text


def test_an_altered_engine_never_reaches_tensorrt(trt, tiny, caplog):
    tensorrt.open_engine(tiny, 1, "fp16")
    path = trt.cache.kept()[0].path
    path.write_bytes(path.read_bytes().replace(MARK, b"evil plan\n"))
    tensorrt.open_engine(tiny, 1, "fp16")  # the fake would not bear it
    assert "truncated or altered" in caplog.text
    assert len(trt.builds) == 2


def test_messages_of_tensorrt_go_to_the_log_and_not_to_the_terminal(trt, tiny, caplog, capfd):
    with caplog.at_level(logging.DEBUG):
        tensorrt.open_engine(tiny, 1, "fp16")
    assert ("DEBUG", "info: a fine engine") in [(r.levelname, r.getMessage()) for r in caplog.records]
    assert capfd.readouterr() == ("", "")


def test_a_failed_build_is_one_line(trt, tiny):
    trt.build_error = "Could not find any implementation for node X"
    with pytest.raises(ModelError, match=r"could not build an engine: Could not find any impl.* — try --engine onnx"):
        tensorrt.open_engine(tiny, 1, "fp16")
    assert trt.cache.kept() == []


def test_a_terminal_shows_the_progress(trt, tiny, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    tensorrt.open_engine(tiny, 1, "fp16")
    shown = capsys.readouterr().err
    assert "\r\x1b[Ktiny: building its TensorRT engine (minutes, once): building, 1 of 2" in shown
    assert shown.endswith("\r\x1b[K"), "and is gone afterwards"


def test_building_ahead(trt, tiny):
    made = tensorrt.build_ahead([tiny], tensorrt.PRECISIONS)
    assert [(one.model, one.precision, one.path.is_file()) for one in made] == [
        ("tiny", "fp16", True),
        ("tiny", "fp32", True),
    ]
    assert all(one.seconds is not None for one in made)
    assert [one.seconds for one in tensorrt.build_ahead([tiny], tensorrt.PRECISIONS)] == [None, None]


def test_whether_it_is_built(trt, tiny, caplog):
    assert not tensorrt.is_built(tiny, "fp16")
    tensorrt.build_ahead([tiny])
    assert tensorrt.is_built(tiny, "fp16")
    assert not tensorrt.is_built(tiny, "fp32")
    assert not caplog.records
    trt.cache.folder.chmod(0o777)
    if sys.platform != "win32":
        assert not tensorrt.is_built(tiny, "fp16"), "not one to be trusted"
        assert "can be written by other users" in caplog.text


def test_building_ahead_where_there_is_no_gpu(monkeypatch, tiny):
    monkeypatch.setattr(tensorrt, "unavailable_reason", lambda precision: "no NVIDIA GPU")
    with pytest.raises(ModelError, match="engines cannot be built here: no NVIDIA GPU"):
        tensorrt.build_ahead([tiny])
