"""Engines give the bundle's logits, or one clear line."""

import os
import subprocess
import sys

import numpy as np
import pytest
from tiny_bundle import tiny_logits, write_tiny

from instrec_live.models.engine_selection import choose_engine
from instrec_live.models.engines.base import PROBABILITY_TOLERANCE, verify_golden
from instrec_live.models.engines.registry import ENGINES, available, open_engine
from instrec_live.models.errors import ModelError, UsageError


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("bundles") / "tiny")


USABLE = [name for name, usable, _ in available() if usable]


def tolerance(name):
    return 5e-3 if name.endswith("16") else 1e-5  # bfloat16 has 8 binary digits


@pytest.mark.parametrize("name", USABLE)
def test_golden_logits(tiny, name):
    assert verify_golden(open_engine(tiny, name), tiny) < tolerance(name)


@pytest.mark.parametrize("name", USABLE)
@pytest.mark.parametrize("shape", [(1, 128, 200), (3, 128, 1000), (2, 128, 437)])
def test_any_batch_and_length(tiny, name, shape):
    log_mel = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    logits = open_engine(tiny, name).logits(log_mel)
    assert (logits.shape, logits.dtype) == ((shape[0], 20), np.float32)
    np.testing.assert_allclose(logits, [tiny_logits(one) for one in log_mel], atol=tolerance(name))


SIGNALLED = """
import os, signal, sys
from instrec_live.models.bundle import Bundle
from instrec_live.models.engines.registry import available, open_engine
signal.signal(signal.SIGTERM, lambda *_: print("heard"))
available()
first, second = (open_engine(Bundle.load(sys.argv[1]), sys.argv[2]) for _ in range(2))
del first
del second
os.kill(os.getpid(), signal.SIGTERM)
print("lives")
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("name", [name for name in USABLE if ":" not in name])
def test_signals_are_handled_after_engines_are_gone(tiny, name):
    """OpenVINO takes the stack of signal handlers along if its cores end in the order in which they began."""
    words = [sys.executable, "-c", SIGNALLED, str(tiny.path), name]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\nlives\n"), done.stderr


def test_a_view_need_not_be_contiguous(tiny):
    log_mel = np.random.default_rng(0).standard_normal((200, 128)).astype(np.float32).T
    np.testing.assert_allclose(open_engine(tiny, "onnx").logits(log_mel[None])[0], tiny_logits(log_mel), atol=1e-5)


def test_engines_have_names_in_the_order_of_the_registry(tiny):
    assert open_engine(tiny, "onnx").name.startswith("onnxruntime ")
    assert ENGINES[0] == "auto"
    assert [name for name, *_ in available() if ":" not in name] == list(ENGINES[1:])


def test_unknown_engine_and_no_threads(tiny):
    with pytest.raises(UsageError, match="no engine 'gpu' — choose from auto"):
        open_engine(tiny, "gpu")
    with pytest.raises(UsageError, match="threads must be 1 or more, not 0"):
        open_engine(tiny, "onnx", threads=0)


def test_a_precision_goes_with_an_engine(tiny):
    assert open_engine(tiny, "onnx:fp32").name.startswith("onnxruntime ")
    with pytest.raises(UsageError, match="engine onnx has no precision 'fp4' — choose from fp32"):
        open_engine(tiny, "onnx:fp4")


def test_an_unusable_engine_reports_why(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert not {name: usable for name, usable, _ in available()}["onnx"]
    with pytest.raises(ModelError, match="engine onnx cannot be used: onnxruntime cannot be imported"):
        open_engine(tiny, "onnx")


def test_other_logits_than_golden_are_refused(tmp_path):
    log_mel = np.zeros((128, 200), np.float32)
    bundle = write_tiny(tmp_path / "b", golden=(log_mel, np.ones(20, np.float32)))
    with pytest.raises(ModelError, match="its logits differ from the golden ones by 1 "):
        verify_golden(open_engine(bundle, "onnx"), bundle)


def test_nan_logits_are_not_golden(tiny):
    class Broken:
        name = "broken"

        def logits(self, log_mel):
            return np.full((len(log_mel), 20), np.nan, np.float32)

    for precision in ("fp32", "bf16"):
        with pytest.raises(ModelError, match="differ from the golden"):
            verify_golden(Broken(), tiny, precision)


def test_a_lesser_precision_is_held_to_probabilities(tiny):
    class Rounded:
        name = "rounded bf16"

        def logits(self, log_mel):
            return tiny.golden[1][None] + np.float32(self.off)

    engine = Rounded()
    engine.off = 0.02
    assert 0 < verify_golden(engine, tiny, "bf16") <= PROBABILITY_TOLERANCE["bf16"]
    with pytest.raises(ModelError, match="logits"):
        verify_golden(engine, tiny)
    engine.off = 1.0
    with pytest.raises(ModelError, match="probabilities"):
        verify_golden(engine, tiny, "bf16")


@pytest.mark.parametrize("name", USABLE)
def test_a_wrong_input_is_one_line(tiny, name):
    with pytest.raises(ModelError, match="tiny failed on an input of") as caught:
        open_engine(tiny, name).logits(np.zeros((1, 64, 200), np.float32))
    assert "\n" not in str(caught.value)


def altered(**changes):
    onnx = pytest.importorskip("onnx", reason="making another network needs onnx")
    from tiny_bundle import TINY_ONNX

    model = onnx.load(TINY_ONNX)
    if "classes" in changes:
        matrix = np.zeros((128, changes["classes"]), np.float32)
        model.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(matrix, "matrix"))
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = changes["classes"]
    if "operator" in changes:
        model.graph.node[1].op_type = changes["operator"]
    return model.SerializeToString()


@pytest.mark.parametrize("name", USABLE)
def test_wrong_number_of_classes(tmp_path, name):
    bundle = write_tiny(tmp_path / "b", onnx=altered(classes=527))
    with pytest.raises(ModelError, match="it must map log_mel"):
        open_engine(bundle, name)


@pytest.mark.parametrize("name", [*USABLE, "auto"])
def test_an_operator_it_does_not_know(tmp_path, name):
    bundle = write_tiny(tmp_path / "b", onnx=altered(operator="Nonesuch"))
    with pytest.raises(ModelError, match=r"rejects model\.onnx.*Nonesuch") as caught:
        open_engine(bundle, choose_engine([bundle]).engine if name == "auto" else name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", USABLE)
def test_nothing_is_printed(tiny, tmp_path, name):
    """Not even by the library underneath, when it fails: the screen is the TUI's."""
    bundle = write_tiny(tmp_path / "b", onnx=altered(operator="Nonesuch"))
    program = (
        "import sys; from instrec_live.models.bundle import Bundle\n"
        "from instrec_live.models.engines.registry import open_engine\n"
        "from instrec_live.models.errors import ModelError\n"
        "import numpy as np\n"
        "engine = open_engine(Bundle.load(sys.argv[1]), sys.argv[3])\n"
        "for bad in (lambda: engine.logits(np.zeros((1, 64, 200), 'f4')),\n"
        "            lambda: open_engine(Bundle.load(sys.argv[2]), sys.argv[3])):\n"
        "    try: bad()\n"
        "    except ModelError: continue\n"
        "    raise SystemExit('no error')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, tiny.path, bundle.path, name], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_each_engine_library_only_in_its_own_file():
    program = (
        "import sys; import instrec_live.models.engines\n"
        "assert not {'onnxruntime', 'openvino', 'tensorrt'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert set(ENGINES) >= {"auto", "onnx"}


@pytest.mark.parametrize("name", USABLE)
def test_running_leaves_the_thread_s_arithmetic_alone(tiny, name):
    """onnxruntime's set_denormal_as_zero would flush the caller's denormals from then on."""
    open_engine(tiny, name).logits(np.zeros((1, 128, 200), np.float32))
    assert np.float32(1e-40) * np.float32(1.0) > 0
