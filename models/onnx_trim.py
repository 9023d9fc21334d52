"""What is left of an ONNX network when all that is wanted of it are its logits, and its weights as they are used.

TensorRT takes every graph output and input for its own; a bundle's network may have more of them than an engine needs
(what it made of single patches, and what it is given back of earlier ones), and keeps its weights as float16.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_KEEP_EMPTY = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})  # nothing in, nothing out


def trimmed(model: bytes) -> bytes:
    """The same network, log_mel -> logits and nothing else: what has a value counts as that value, weights are float32,
    and nothing is left that the logits do not need. It needs the onnx package.

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
        raise ValueError(f"it gives {', '.join(o.name for o in graph.output) or 'nothing'}, and no logits")
    _assign(graph.output, outputs)
    constant = {initializer.name for initializer in graph.initializer}
    _assign(graph.input, [given for given in graph.input if given.name not in constant])
    _drop_the_empty(graph)
    _fold(graph)
    _drop_the_unused(graph)
    _name_nodes(graph)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _assign(field: Any, values: list[Any]) -> None:
    kept = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(kept)


def _drop_the_empty(graph: Any) -> None:
    """Joining a tensor without elements to others adds nothing: an engine need not know of it."""
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


def _fold(graph: Any) -> None:
    """Casts and shapes of constants become constants."""
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
    """What a cast makes of a constant, or what its shape is; None: the node does something else."""
    from onnx import helper, numpy_helper

    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    if node.op_type == "Cast" and set(attributes) == {"to"}:
        return numpy_helper.to_array(source).astype(helper.tensor_dtype_to_np_dtype(attributes["to"]))
    if node.op_type == "Shape":
        return np.array(source.dims[attributes.get("start", 0) : attributes.get("end")], np.int64)
    return None


def _drop_the_unused(graph: Any) -> None:
    makers = {name: node for node in graph.node for name in node.output}
    wanted: set[str] = set()
    waiting = [output.name for output in graph.output]
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += _read_by(makers[name]) if name in makers else []
    _assign(graph.node, [node for node in graph.node if wanted.intersection(node.output)])
    _assign(graph.initializer, [i for i in graph.initializer if i.name in wanted])
    _assign(graph.value_info, [info for info in graph.value_info if info.name in wanted])


def _read_by(node: Any) -> set[str]:
    """Names that a node reads, in its branches or its loop's body too; that those have names of their own does no
    harm."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            names.update(output.name for output in inner.output)
            names = names.union(*(_read_by(inside) for inside in inner.node))
    return names


def _name_nodes(graph: Any) -> None:
    for at, node in enumerate(graph.node):
        node.name = node.name or f"{node.op_type}_{at}"
