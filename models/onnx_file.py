"""Checks and edits of an ONNX file before it is run, on its protobuf bytes, without the onnx package."""

from collections.abc import Iterator

# Messages of onnx.proto that lead to tensors: field number -> the message it holds.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_GRAPH, _INITIALIZER = 7, 5  # fields of ModelProto and GraphProto
_NAME, _EXTERNAL_DATA, _DATA_LOCATION = 8, 13, 14  # fields of TensorProto
_MAX_DEPTH = 32  # nested graphs; malicious files nest deeper


def has_external_data(model: bytes) -> bool:
    """Whether any tensor of an ONNX model names another file for its data.

    Raises:
        ValueError: not a well-formed protobuf with a graph.
    """
    view = memoryview(model)
    if not any(field == _GRAPH for field, _ in _fields(view)):
        raise ValueError("no graph in it")
    return _external(view, "model", 0)


def without_initializer(model: bytes, name: str) -> bytes:
    """The same ONNX model without the initializer of that name, so that the optional input becomes a required one. A
    model without such an initializer stays as it is.

    Raises:
        ValueError: not a well-formed protobuf.
    """
    rest = []
    for field, value, whole in _pieces(memoryview(model)):
        if field == _GRAPH and isinstance(value, memoryview):
            kept = [part for kind, inner, part in _pieces(value) if not (kind == _INITIALIZER and _named(inner, name))]
            rest.append(_message(_GRAPH, kept))
        else:
            rest.append(bytes(whole))
    return b"".join(rest)


def _named(tensor: int | memoryview, name: str) -> bool:
    if not isinstance(tensor, memoryview):
        return False
    names = [bytes(value) for field, value in _fields(tensor) if field == _NAME and isinstance(value, memoryview)]
    return name.encode() in names


def _message(field: int, parts: list[memoryview]) -> bytes:
    """A protobuf field that holds a message."""
    left, head = sum(map(len, parts)), bytearray((field << 3 | 2,))
    while left > 0x7F:
        head.append(left & 0x7F | 0x80)
        left >>= 7
    head.append(left)
    return b"".join((bytes(head), *parts))


def _external(message: memoryview, kind: str, depth: int) -> bool:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    for field, value in _fields(message):
        if kind == "tensor" and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0)):
            return True
        child = _CHILDREN[kind].get(field)
        if child and isinstance(value, memoryview) and _external(value, child, depth + 1):
            return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, varint or bytes) of a protobuf message, in order."""
    return ((field, value) for field, value, _ in _pieces(message))


def _pieces(message: memoryview) -> Iterator[tuple[int, int | memoryview, memoryview]]:
    """The same, and all bytes of the field."""
    at = 0
    while at < len(message):
        begin = at
        key, at = _varint(message, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield key >> 3, value, message[begin:at]
            continue
        if wire == 2:
            size, at = _varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"protobuf wire type {wire}")
        if at + size > len(message):
            raise ValueError("cut short")
        yield key >> 3, message[at : at + size], message[begin : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if at >= len(message):
            raise ValueError("cut short")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number without end")
