"""A network in float16, for engines whose precision is that of the file: weights and arithmetic, not input and output."""

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
    types = [node.op_type for node in single.graph.node]
    # What prepares the log-mel (the networks undo its logarithm) leaves float16's range.
    preparation = [node.name for node in single.graph.node[: types.index("Conv") if "Conv" in types else 0]]
    half = convert_float_to_float16(single, keep_io_types=True, node_block_list=preparation)
    _join_casts(half)
    content: bytes = half.SerializeToString(deterministic=True)
    return trimmed(content)


def _join_casts(model: Any) -> None:
    """float32 -> float16 -> float32 between two nodes kept in float32 becomes nothing."""
    casts = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Cast" and _to_float(node)}
    for node in model.graph.node:
        if node.op_type != "Cast":
            node.input[:] = [casts.get(casts.get(name, name), name) for name in node.input]


def _to_float(node: Any) -> bool:
    return all(attribute.i in (1, 10) for attribute in node.attribute if attribute.name == "to")  # float32, float16
