"""What TensorRT is handed: a network cut down to log-mel -> logits, in the precision wanted."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'instrec-live[tensorrt]'")

import onnxruntime
from patchwise_onnx import patchwise
from tiny_bundle import tiny_logits

from instrec_live.models.bundle import DEFAULT_MODELS, Bundle, bundled
from instrec_live.models.calibration import sigmoid
from instrec_live.models.onnx_graph import to_fp16, trimmed


def run(model, log_mel):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"log_mel": log_mel})[0]


def test_what_is_handed_over_maps_log_mel_to_logits_and_nothing_else():
    model = onnx.load_model_from_string(trimmed(patchwise()))
    assert [face.name for face in model.graph.input] == ["log_mel"]
    assert [face.name for face in model.graph.output] == ["logits"]
    assert [node.op_type for node in model.graph.node][:1] == ["ReduceMean"]
    assert {initializer.name for initializer in model.graph.initializer} == {"matrix"}
    log_mel = np.random.default_rng(0).standard_normal((3, 128, 300)).astype(np.float32)
    expected = run(patchwise(), log_mel)
    np.testing.assert_allclose(run(trimmed(patchwise()), log_mel), expected, atol=1e-6)
    np.testing.assert_allclose(expected, [tiny_logits(one) for one in log_mel], atol=1e-3)  # its weights are float16


def test_a_network_without_logits_is_refused():
    model = onnx.load_model_from_string(patchwise())
    del model.graph.output[0]
    with pytest.raises(ValueError, match="its outputs are embeddings, not logits"):
        trimmed(model.SerializeToString())
    with pytest.raises(ValueError, match="not an ONNX file"):
        trimmed(b"\xff\xff")


@pytest.mark.parametrize("model", DEFAULT_MODELS)
def test_half_the_precision_is_close_enough(model):
    bundle = Bundle.load(bundled(model))
    half = to_fp16(bundle.onnx)
    types = {i.data_type for i in onnx.load_model_from_string(half).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in types
    log_mel, expected = bundle.golden
    p, wanted = (sigmoid(bundle.calibration(x[:20])) for x in (run(half, log_mel[None])[0], expected))
    assert np.abs(p - wanted).max() <= 1e-2
    assert len(half) < 0.6 * len(trimmed(bundle.onnx))
