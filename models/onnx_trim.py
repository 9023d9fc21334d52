"""What is left of an ONNX network when all that is wanted of it are its logits, and its weights as they are used.

TensorRT takes every graph output and input for its own; a bundle's network may have more of them than an engine needs
(what it made of single patches, and what it is given back of earlier ones), and keeps its weights as float16.
"""

from typing import Any

import numpy as np

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
    from onnx import helper, numpy_helper

    constants = {initializer.name: initializer for initializer in graph.initializer}
    nodes = []
    for node in graph.node:
        source = constants.get(node.input[0]) if node.input else None
        if source is None or node.op_type not in ("Cast", "Shape") or node.attribute[1:]:
            nodes.append(node)
            continue
        if node.op_type == "Shape" and node.attribute:  # a part of the shape
            nodes.append(node)
            continue
        if node.op_type == "Shape":
            value = np.array(source.dims, np.int64)
        else:
            kind = helper.tensor_dtype_to_np_dtype(node.attribute[0].i)
            value = numpy_helper.to_array(source).astype(kind)
        folded = numpy_helper.from_array(value, node.output[0])
        constants[node.output[0]] = folded
        graph.initializer.append(folded)
    _assign(graph.node, nodes)


def _drop_the_unused(graph: Any) -> None:
    wanted, nodes = {output.name for output in graph.output}, []
    for node in reversed(graph.node):  # in topological order, as ONNX demands
        if wanted.intersection(node.output):
            nodes.append(node)
            wanted.update(node.input)
            for attribute in node.attribute:
                wanted.update(name for inner in _graphs(attribute) for name in _read_inside(inner))
    _assign(graph.node, nodes[::-1])
    _assign(graph.initializer, [i for i in graph.initializer if i.name in wanted])
    there = {name for node in graph.node for name in node.output}
    _assign(graph.value_info, [info for info in graph.value_info if info.name in there])


def _graphs(attribute: Any) -> list[Any]:
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _read_inside(graph: Any) -> set[str]:
    """All names that a branch or loop body reads; those of its own do no harm."""
    names = set()
    for node in graph.node:
        names.update(node.input)
        for attribute in node.attribute:
            for inner in _graphs(attribute):
                names |= _read_inside(inner)
    return names | {output.name for output in graph.output}


def _name_nodes(graph: Any) -> None:
    for at, node in enumerate(graph.node):
        node.name = node.name or f"{node.op_type}_{at}"
