"""What is read off an ONNX file's bytes, without the onnx package: tensors kept elsewhere, and inputs with a value."""

import numpy as np
import pytest
from tiny_bundle import TINY_ONNX, onnx_with_external_data

from instrec_live.models.onnx_file import has_external_data, without_initializer


def test_loading_from_bytes_alone_would_not_protect(tmp_path, monkeypatch):
    """Why the protobuf is walked: if onnxruntime ever refuses this by itself, the walk may go."""
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(np.zeros((128, 20), np.float32).tobytes())
    onnxruntime.InferenceSession(onnx_with_external_data("weights.bin"), providers=["CPUExecutionProvider"])


def test_external_data_is_found_wherever_tensors_hide():
    onnx = pytest.importorskip("onnx", reason="making hidden tensors needs onnx")
    from onnx import helper

    hidden = onnx.TensorProto(dims=[1], data_type=1)
    hidden.external_data.add(key="location", value="x")
    constant = helper.make_node("Constant", [], ["c"], value=hidden)
    inner = helper.make_graph([constant], "inner", [], [])
    nested = helper.make_node("If", ["b"], ["y"], then_branch=inner, else_branch=inner)
    sparse = onnx.SparseTensorProto(values=hidden)
    graphs = {
        "node": helper.make_graph([constant], "g", [], []),
        "subgraph": helper.make_graph([nested], "g", [], []),
        "sparse": helper.make_graph([], "g", [], [], sparse_initializer=[sparse]),
        "sparse attribute": helper.make_graph(
            [helper.make_node("Constant", [], ["c"], sparse_value=sparse)], "g", [], []
        ),
    }
    for where, graph in graphs.items():
        assert has_external_data(helper.make_model(graph).SerializeToString()), where
    empty = helper.make_graph([], "g", [], [])
    function = helper.make_function("d", "f", [], ["c"], [constant], [])
    assert has_external_data(helper.make_model(empty, functions=[function]).SerializeToString())
    assert not has_external_data(helper.make_model(empty).SerializeToString())


@pytest.mark.parametrize("content", [b"", b"\x00", b"\xff" * 40, b"\x3a\x05ab", b"\x08"])
def test_not_an_onnx_file(content):
    with pytest.raises(ValueError, match=r".+"):
        has_external_data(content)


def test_a_flood_of_nested_graphs_is_refused():
    graph = b""
    for _ in range(60):  # node { attribute { g } }
        for key in (b"\x32", b"\x2a", b"\x0a"):
            size = len(graph)
            graph = key + bytes([0x80 | size & 0x7F, 0x80 | size >> 7 & 0x7F, size >> 14]) + graph
    size = len(graph)
    with pytest.raises(ValueError, match="nested too deeply"):
        has_external_data(b"\x3a" + bytes([0x80 | size & 0x7F, 0x80 | size >> 7 & 0x7F, size >> 14]) + graph)


def test_an_input_loses_its_value_and_nothing_else():
    onnx = pytest.importorskip("onnx", reason="making another network needs onnx")
    plain = TINY_ONNX.read_bytes()
    model = onnx.load_model_from_string(plain)
    model.graph.initializer.add(name="heard", data_type=1, dims=(0, 8))
    model.graph.input.append(onnx.helper.make_tensor_value_info("heard", 1, ("patches", 8)))
    without = onnx.load_model_from_string(without_initializer(model.SerializeToString(), "heard"))
    del model.graph.initializer[-1]
    assert without == model
    assert without_initializer(plain, "heard") == plain
