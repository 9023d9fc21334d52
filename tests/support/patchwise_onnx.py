"""tiny.onnx's network (tiny_bundle.py) as a patchwise one."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def patchwise():
    """It also gives "embeddings" and takes "heard" back, an input with a value; one weight is packed as float16."""
    matrix = np.random.default_rng(1).standard_normal((128, 20)).astype(np.float32) / 16
    weights = [
        numpy_helper.from_array(matrix.astype(np.float16), "packed"),
        numpy_helper.from_array(np.zeros((0, 128), np.float32), "heard"),
        numpy_helper.from_array(np.array([-1, 128], np.int64), "rows"),
    ]
    nodes = [
        helper.make_node("Cast", ["packed"], ["matrix"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["log_mel"], ["embeddings"], keepdims=0, axes=[2]),
        helper.make_node("Reshape", ["heard", "rows"], ["known"]),
        helper.make_node("Concat", ["known", "embeddings"], ["both"], axis=0),
        helper.make_node("MatMul", ["both", "matrix"], ["logits"]),
    ]
    given = [("log_mel", ["B", 128, "T"]), ("heard", ["K", 128])]
    made = [("logits", ["B", 20]), ("embeddings", ["B", 128])]
    faces = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in some] for some in (given, made)]
    graph = helper.make_graph(nodes, "patchwise", *faces, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
