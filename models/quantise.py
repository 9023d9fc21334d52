"""Weights and activations in 8 bits: an ONNX network calibrated on sound it might hear."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.errors import ModelError

FloatArray = NDArray[np.float32]

OPERATORS = ("Conv", "MatMul", "Gemm")  # where the arithmetic is


def to_int8(
    model: bytes, heard: Iterable[FloatArray], operators: Sequence[str] = OPERATORS, *, depthwise: bool = False
) -> bytes:
    """The same network with 8-bit weights, a scale for each channel, and 8-bit activations, in QDQ form.

    What stands before the first convolution prepares the log-mel (exponentials, logarithms, levels) and stays float32.
    Weights take 7 of their 8 bits: processors without VNNI add products in 16.

    Args:
        model: ONNX bytes, input "log_mel" float32 [B, 128, T].
        heard: log-mels float32 [1, 128, T] that set the activations' ranges.
        operators: what is quantised.
        depthwise: convolutions of one channel each too: they gain little and lose most.

    Raises:
        ModelError: onnx is not installed, there is nothing to hear, or the network has nothing to quantise.
    """
    try:
        import onnx
    except ModuleNotFoundError as e:
        raise ModelError(f"{e.name} is not installed", "pip install 'instrec-live[train]'") from e
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    windows = [np.ascontiguousarray(log_mel, np.float32) for log_mel in heard]
    if not windows:
        raise ModelError("no sound to calibrate on", "give some log-mels")
    proto = _named(_with_float_weights(onnx.load_model_from_string(model)))
    optional = _without_optional(proto)
    given = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in optional}
    chosen = _quantised(proto, operators, depthwise)
    if not chosen:
        raise ModelError(f"the network has no {' or '.join(operators)} to quantise")
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "int8.onnx"
        quantize_static(
            proto,
            target,
            _Reader([{"log_mel": window, **given} for window in windows]),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(operators),
            nodes_to_quantize=chosen,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        light = onnx.load(target)
    light.graph.initializer.extend(optional)
    content: bytes = light.SerializeToString(deterministic=True)
    return content


class _Reader:
    """Hands inputs out one by one, as the calibration asks."""

    def __init__(self, inputs: Iterable[dict[str, FloatArray]]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> dict[str, FloatArray] | None:
        return next(self._inputs, None)


def _with_float_weights(proto: Any) -> Any:
    """Weights that are kept in float16 and cast (half_weights.py) as the float32 that they stand for."""
    from onnx import numpy_helper

    graph = proto.graph
    weights = {initializer.name: initializer for initializer in graph.initializer}
    used = Counter(name for node in graph.node for name in node.input)
    kept = []
    for node in graph.node:
        weight = weights.get(node.input[0]) if node.op_type == "Cast" else None
        if weight is None or used[weight.name] > 1:
            kept.append(node)
            continue
        values = numpy_helper.to_array(weight).astype(np.float32)
        weight.CopyFrom(numpy_helper.from_array(values, node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)
    return proto


def _without_optional(proto: Any) -> list[Any]:
    """Take the values of inputs that may be left out off the network, where onnxruntime would complain of them."""
    inputs = {face.name for face in proto.graph.input}
    optional = [tensor for tensor in proto.graph.initializer if tensor.name in inputs]
    weights = [tensor for tensor in proto.graph.initializer if tensor.name not in inputs]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(weights)
    return optional


def _named(proto: Any) -> Any:
    """Every node with a name: quantisation goes by them. Marked as made ready, or it would advise so, on stderr."""
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    for i, node in enumerate(proto.graph.node):
        node.name = node.name or f"node_{i}"
    add_pre_process_metadata(proto)
    return proto


def _quantised(proto: Any, operators: Sequence[str], depthwise: bool) -> list[str]:
    """Names of the nodes to quantise."""
    nodes = list(proto.graph.node)
    first = next((i for i, node in enumerate(nodes) if node.op_type == "Conv"), 0)
    return [node.name for node in nodes[first:] if node.op_type in operators and (depthwise or not _is_depthwise(node))]


def _is_depthwise(node: Any) -> bool:
    return any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
