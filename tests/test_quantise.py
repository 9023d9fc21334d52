"""Networks in 8 bits: what is quantised, what is not, and that they still say the same."""

import subprocess
import sys

import numpy as np
import pytest
from tiny_bundle import TINY_ONNX, tiny_logits

from instrec_live.models.bundle import Bundle, bundled
from instrec_live.models.calibration import sigmoid
from instrec_live.models.errors import ModelError

onnx = pytest.importorskip("onnx", reason="quantising needs onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from instrec_live.models.quantise import to_int8


def run(model, log_mel):
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(
        ["logits"], {"log_mel": log_mel}
    )[0]


@pytest.fixture(scope="module")
def ms_crnn():
    return Bundle.load(bundled("ms_crnn"))


@pytest.fixture(scope="module")
def light(ms_crnn):
    log_mel, _ = ms_crnn.golden
    return to_int8(ms_crnn.onnx, (log_mel[None, :, at : at + 250] for at in (0, 250, 500, 750)))


def test_one_matrix():
    heard = np.random.default_rng(0).standard_normal((4, 1, 128, 200)).astype(np.float32)
    light = to_int8(TINY_ONNX.read_bytes(), heard)
    for log_mel in heard:
        np.testing.assert_allclose(run(light, log_mel)[0], tiny_logits(log_mel[0]), atol=0.02)
    assert "QuantizeLinear" in {node.op_type for node in onnx.load_model_from_string(light).graph.node}


def test_a_bundled_network_says_nearly_the_same(ms_crnn, light):
    log_mel, golden = ms_crnn.golden
    moved = sigmoid(ms_crnn.calibration(run(light, log_mel[None])[0])) - sigmoid(ms_crnn.calibration(golden))
    assert 0 < np.abs(moved).mean() <= 0.01  # four short windows calibrate roughly
    assert run(light, log_mel[None, :, :437]).shape == (1, 20)


def test_it_is_smaller(ms_crnn, light):
    assert len(light) < 0.8 * len(ms_crnn.onnx)


def test_what_prepares_the_log_mel_stays_float(light):
    graph = onnx.load_model_from_string(light).graph
    types = [node.op_type for node in graph.node]
    first = types.index("QuantizeLinear")
    assert {"Exp", "Log"} & set(types[:first])
    assert not {"Exp", "Log"} & set(types[first:])


def test_weights_have_a_scale_for_each_channel(light):
    graph = onnx.load_model_from_string(light).graph
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = {
        node.output[0]: node.input
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in arrays
    }
    convolutions = [node for node in graph.node if node.op_type == "Conv" and node.input[1] in weights]
    assert len(convolutions) > 10
    for node in convolutions:
        quantised, scale, _ = weights[node.input[1]]
        assert arrays[quantised].dtype == np.int8
        assert arrays[scale].shape == arrays[quantised].shape[:1]
        assert np.abs(arrays[quantised].astype(int)).max() <= 64  # seven bits


def test_depthwise_convolutions_are_left_alone_unless_asked(light):
    graph = onnx.load_model_from_string(light).graph
    kernels = {tensor.name for tensor in graph.initializer}
    depthwise = [
        node
        for node in graph.node
        if node.op_type == "Conv" and any(a.name == "group" and a.i > 1 for a in node.attribute)
    ]
    assert depthwise
    assert all(node.input[1] in kernels for node in depthwise)


def test_nothing_is_printed():
    program = (
        "import sys, numpy as np\n"
        "from instrec_live.models.quantise import to_int8\n"
        "to_int8(open(sys.argv[1], 'rb').read(), [np.ones((1, 128, 200), 'f4')])"
    )
    done = subprocess.run([sys.executable, "-c", program, TINY_ONNX], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_sound_and_nothing_to_quantise():
    with pytest.raises(ModelError, match="no sound to calibrate on"):
        to_int8(TINY_ONNX.read_bytes(), [])
    with pytest.raises(ModelError, match="no Conv to quantise"):
        to_int8(TINY_ONNX.read_bytes(), [np.ones((1, 128, 200), np.float32)], ("Conv",))


def test_without_onnx(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModelError, match=r"onnx is not installed — pip install 'instrec-live\[train\]'"):
        to_int8(TINY_ONNX.read_bytes(), [np.ones((1, 128, 200), np.float32)])
