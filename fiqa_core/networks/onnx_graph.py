"""External weights and inputs of an ONNX graph, read from its protobuf bytes (onnx.proto, IR 3 to 13).

Only tags and lengths are read; weights are skipped, so a graph of any size takes milliseconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from fiqa_core.errors import FiqaError

_MOST_NESTED = 64
_MOST_TENSORS = 100_000  # in files beside the graph
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Field numbers of onnx.proto.
_MODEL_GRAPH, _MODEL_FUNCTIONS, _FUNCTION_NODE, _FUNCTION_ATTRIBUTE = 7, 25, 7, 11
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _SPARSE_INITIALIZER = 1, 5, 11, 12, 15
_NODE_INPUT, _NODE_ATTRIBUTE, _VALUE_NAME = 1, 5, 1
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_TENSOR_NAME, _EXTERNAL_DATA, _DATA_LOCATION = 8, 13, 14


class GraphError(FiqaError, ValueError):
    """Bytes that are not an ONNX graph."""


class External(NamedTuple):
    """The place of one tensor's numbers: a path below the model's folder, as the graph writes it, and bytes."""

    location: str
    offset: int
    length: int | None


@dataclass
class Graph:
    """What was found in a model.

    Attributes:
        external: tensors of the graph, its subgraphs and functions whose numbers are in other files.
        inputs, initializers: names of the main graph. used: names that any node or output of the graph reads.
    """

    external: list[External] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    initializers: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)


class _Field(NamedTuple):
    number: int
    value: int
    data: memoryview
    start: int
    stop: int


def read_graph(data: bytes) -> Graph:
    """Read what is needed of a model.

    Raises:
        GraphError: it is not one.
    """
    found = Graph()
    for entry in _fields(memoryview(data)):
        if entry.number == _MODEL_GRAPH:
            _look_at_graph(entry.data, found, 0, main=True)
        elif entry.number == _MODEL_FUNCTIONS:
            for part in _fields(entry.data):
                if part.number == _FUNCTION_NODE:
                    _look_at_node(part.data, Graph(found.external), 0)
                elif part.number == _FUNCTION_ATTRIBUTE:
                    _look_at_attribute(part.data, Graph(found.external), 0)
    return found


def without_unused_inputs(data: bytes, graph: Graph) -> bytes:
    """The same model without unused inputs; unchanged if there are none, or if no input would be left."""
    fed = [name for name in graph.inputs if name not in graph.initializers]
    unused = {name for name in fed if name not in graph.used}
    if not unused or len(unused) == len(fed):
        return data
    model = memoryview(data)
    parts: list[bytes | memoryview] = []
    for entry in _fields(model):
        if entry.number != _MODEL_GRAPH:
            parts.append(model[entry.start : entry.stop])
            continue
        kept = [
            entry.data[part.start : part.stop]
            for part in _fields(entry.data)
            if part.number != _INPUT or _name(part.data, _VALUE_NAME) not in unused
        ]
        parts += [bytes([_MODEL_GRAPH << 3 | _BYTES]), _varint(sum(map(len, kept))), *kept]
    return b"".join(parts)


def _look_at_graph(data: memoryview, found: Graph, depth: int, main: bool = False) -> None:
    if depth > _MOST_NESTED:
        raise GraphError(f"graphs nested more than {_MOST_NESTED} deep")
    for entry in _fields(data):
        if entry.number == _NODE:
            _look_at_node(entry.data, found, depth)
        elif entry.number == _INITIALIZER:
            name = _look_at_tensor(entry.data, found)
            if main:
                found.initializers.add(name)
        elif entry.number == _SPARSE_INITIALIZER:
            names = _look_at_sparse(entry.data, found)
            if main:
                found.initializers.update(names)
        elif entry.number == _INPUT and main:
            found.inputs.append(_name(entry.data, _VALUE_NAME))
        elif entry.number == _OUTPUT:
            found.used.add(_name(entry.data, _VALUE_NAME))


def _look_at_node(data: memoryview, found: Graph, depth: int) -> None:
    for entry in _fields(data):
        if entry.number == _NODE_INPUT:
            found.used.add(_text(entry.data))
        elif entry.number == _NODE_ATTRIBUTE:
            _look_at_attribute(entry.data, found, depth)


def _look_at_attribute(data: memoryview, found: Graph, depth: int) -> None:
    for entry in _fields(data):
        if entry.number in _ATTRIBUTE_TENSORS:
            _look_at_tensor(entry.data, found)
        elif entry.number in _ATTRIBUTE_GRAPHS:
            _look_at_graph(entry.data, found, depth + 1)
        elif entry.number in _ATTRIBUTE_SPARSE:
            _look_at_sparse(entry.data, found)


def _look_at_sparse(data: memoryview, found: Graph) -> list[str]:
    return [_look_at_tensor(entry.data, found) for entry in _fields(data) if entry.number in (1, 2)]


def _look_at_tensor(data: memoryview, found: Graph) -> str:
    """The tensor's name; the place of its numbers is added to `found`."""
    name, is_external = "", False
    facts: dict[str, str] = {}
    for entry in _fields(data):
        if entry.number == _TENSOR_NAME:
            name = _text(entry.data)
        elif entry.number == _DATA_LOCATION:
            is_external = entry.value == 1
        elif entry.number == _EXTERNAL_DATA:
            key, value = _name(entry.data, 1), _name(entry.data, 2)
            if key in facts:
                raise GraphError(f"a tensor's numbers have two entries {key[:20]!r}")
            facts[key] = value
    if is_external or facts:
        if len(found.external) >= _MOST_TENSORS:
            raise GraphError(f"more than {_MOST_TENSORS:,} tensors are in other files")
        length = _whole(facts["length"]) if "length" in facts else None
        found.external.append(External(facts.get("location", ""), _whole(facts.get("offset", "0")), length))
    return name


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise GraphError("the place of a tensor's numbers is not a whole number")
    return int(text)


def _name(data: memoryview, number: int) -> str:
    """The text of a message's field; if it occurs several times, the last."""
    text = ""
    for entry in _fields(data):
        if entry.number == number:
            text = _text(entry.data)
    return text


def _text(data: memoryview) -> str:
    try:
        return bytes(data).decode()
    except UnicodeDecodeError as error:
        raise GraphError("a name in it is not UTF-8") from error


def _fields(data: memoryview) -> Iterator[_Field]:
    place, end, nothing = 0, len(data), data[:0]
    while place < end:
        start = place
        tag, place = _read_varint(data, place)
        number, kind = tag >> 3, tag & 7
        value, content = 0, nothing
        if kind == _VARINT:
            value, place = _read_varint(data, place)
        elif kind == _BYTES:
            size, place = _read_varint(data, place)
            content = data[place : place + size]
            place += size
        elif kind in (_FIXED64, _FIXED32):
            place += 8 if kind == _FIXED64 else 4
        else:
            raise GraphError("not protobuf")
        if place > end or not number:
            raise GraphError("not protobuf, or cut short")
        yield _Field(number, value, content, start, place)


def _read_varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data) and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
    raise GraphError("not protobuf, or cut short")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
