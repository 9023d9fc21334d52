"""Weights kept as float16 in an ONNX file, arithmetic as before: half the size on disk and in the repository.

An engine undoes the casts when it loads the file, so this costs nothing at run time. Only weights that float16 holds
exactly are packed; `round_to_half` makes a network's matrices such, before it is exported and measured.
"""

import numpy as np
import torch
from torch import nn

_SMALLEST = 1024  # values; below, the cast would cost more than it saves


@torch.no_grad()
def round_to_half(network: nn.Module) -> nn.Module:
    """Round the network's matrices and kernels, in place, to values that float16 holds; returns the network."""
    for parameter in network.parameters():
        if parameter.dim() > 1:
            parameter.copy_(parameter.half().float())
    return network


def pack_half_weights(model: bytes) -> bytes:
    """The same ONNX network with every large weight that float16 holds exactly stored as float16."""
    import onnx
    from onnx import helper, numpy_helper

    proto = onnx.load_model_from_string(model)
    graph, casts = proto.graph, []
    for initializer in graph.initializer:
        if initializer.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(initializer)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.size < _SMALLEST or not np.array_equal(half.astype(np.float32), values):
            continue
        name = initializer.name
        initializer.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    packed: bytes = proto.SerializeToString(deterministic=True)
    return packed
