"""A network in float16, weights and arithmetic, for engines that take their precision from the file."""

from typing import Any

from instrec_live.models.onnx_trim import trimmed


def to_half(model: bytes) -> bytes:
    """The same network, log_mel -> logits, with float16 weights and arithmetic, float32 input and output. It needs the
    onnx package, not torch.

    Raises:
        ValueError: not an ONNX network that gives logits.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    single = onnx.load_model_from_string(trimmed(model))
    half = convert_float_to_float16(single, keep_io_types=True, node_block_list=_preparation(single.graph))
    _join_casts(half)
    content: bytes = half.SerializeToString(deterministic=True)
    return trimmed(content)


def _preparation(graph: Any) -> list[str]:
    """The nodes between the log-mel and the first convolutions: the networks undo its logarithm there, which leaves
    float16's range."""
    if not any(node.op_type == "Conv" for node in graph.node):
        return []
    prepared, convolved, names = {"log_mel"}, set[str](), []
    for node in graph.node:  # in the order in which they run
        if node.op_type == "Conv" or convolved.intersection(node.input):
            convolved.update(node.output)
        elif prepared.intersection(node.input):
            prepared.update(node.output)
            names.append(node.name)
    return names


def _join_casts(model: Any) -> None:
    """float32 -> float16 -> float32 between two nodes kept in float32 becomes nothing."""
    casts = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Cast" and _to_float(node)}
    for node in model.graph.node:
        if node.op_type != "Cast":
            node.input[:] = [casts.get(casts.get(name, name), name) for name in node.input]


def _to_float(node: Any) -> bool:
    return all(attribute.i in (1, 10) for attribute in node.attribute if attribute.name == "to")  # float32, float16
