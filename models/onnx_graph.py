"""ONNX networks reduced to log-mel -> logits, in float32 or float16, for engines that take the graph as it is.

TensorRT keeps every graph input and output; a bundle's network has more of them than an engine needs (the embeddings of
patches, and cached embeddings), and stores its weights as float16.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# With an empty input, their output is empty.
_KEEP_EMPTY = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})


def trimmed(model: bytes) -> bytes:
    """The same network, log_mel -> logits and nothing else: optional inputs become constants, weights are float32, and
    nodes that the logits do not depend on are removed. It needs the onnx package.

    Raises:
        ValueError: not an ONNX network that gives logits.
    """
    import onnx

    try:
        proto = onnx.load_model_from_string(model)
    except Exception as e:  # protobuf's DecodeError has no stable home
        raise ValueError(f"not an ONNX file: {e}") from e
    graph = proto.graph
    outputs = [output for output in graph.output if output.name == "logits"]
    if not outputs:
        raise ValueError(f"its outputs are {', '.join(o.name for o in graph.output) or 'none'}, not logits")
    _assign(graph.output, outputs)
    constant = {initializer.name for initializer in graph.initializer}
    _assign(graph.input, [given for given in graph.input if given.name not in constant])
    _drop_empty_inputs(graph)
    _fold_constants(graph)
    _drop_unused(graph)
    _name_nodes(graph)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _assign(field: Any, values: list[Any]) -> None:
    kept = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(kept)


def _drop_empty_inputs(graph: Any) -> None:
    """Remove empty tensors from concatenations."""
    empty = {i.name for i in graph.initializer if 0 in i.dims}
    for node in graph.node:
        if node.op_type in _KEEP_EMPTY and node.input[0] in empty:
            empty.update(node.output)
        elif node.op_type == "Concat" and empty.intersection(node.input):
            filled = [name for name in node.input if name not in empty]
            if filled:
                node.input[:] = filled
            else:
                empty.update(node.output)


def _fold_constants(graph: Any) -> None:
    """Fold casts and shapes of constants into constants."""
    from onnx import numpy_helper

    constants = {initializer.name: initializer for initializer in graph.initializer}
    nodes = []
    for node in graph.node:
        source = constants.get(node.input[0]) if node.input else None
        value = None if source is None else _value(node, source)
        if value is None:
            nodes.append(node)
            continue
        folded = numpy_helper.from_array(value, node.output[0])
        constants[node.output[0]] = folded
        graph.initializer.append(folded)
    _assign(graph.node, nodes)


def _value(node: Any, source: Any) -> NDArray[Any] | None:
    """The result of a cast of a constant, or of its shape; None for any other node."""
    from onnx import helper, numpy_helper

    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    if node.op_type == "Cast" and set(attributes) == {"to"}:
        return numpy_helper.to_array(source).astype(helper.tensor_dtype_to_np_dtype(attributes["to"]))
    if node.op_type == "Shape":
        return np.array(source.dims[attributes.get("start", 0) : attributes.get("end")], np.int64)
    return None


def _drop_unused(graph: Any) -> None:
    makers = {name: node for node in graph.node for name in node.output}
    wanted: set[str] = set()
    waiting = [output.name for output in graph.output]
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += _names_read(makers[name]) if name in makers else []
    _assign(graph.node, [node for node in graph.node if wanted.intersection(node.output)])
    _assign(graph.initializer, [i for i in graph.initializer if i.name in wanted])
    _assign(graph.value_info, [info for info in graph.value_info if info.name in wanted])


def _names_read(node: Any) -> set[str]:
    """Names that a node reads, including those in its branches or loop body; names local to these do no harm."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            names.update(output.name for output in inner.output)
            names = names.union(*(_names_read(inside) for inside in inner.node))
    return names


def _name_nodes(graph: Any) -> None:
    for at, node in enumerate(graph.node):
        node.name = node.name or f"{node.op_type}_{at}"


def to_fp16(model: bytes) -> bytes:
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
    """The nodes between the log-mel and the first convolutions: there the networks undo the logarithm, and the powers
    exceed the range of float16."""
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
    """Remove casts float32 -> float16 -> float32 between two nodes that stay in float32."""
    casts = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Cast" and _to_float(node)}
    for node in model.graph.node:
        if node.op_type != "Cast":
            node.input[:] = [casts.get(casts.get(name, name), name) for name in node.input]


def _to_float(node: Any) -> bool:
    return all(attribute.i in (1, 10) for attribute in node.attribute if attribute.name == "to")  # float32, float16
