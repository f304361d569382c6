"""An ONNX model in any store: its graph, and the files with its weights."""

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from fiqa_core import storage
from fiqa_core.errors import FiqaError
from fiqa_core.networks.onnx_graph import External, Graph, GraphError, read_graph, without_unused_inputs

# A graph is one protobuf message, which cannot be larger.
_GRAPH_BYTES = 2 << 30
_BESIDE_BYTES = 16 << 30


class OnnxError(FiqaError, ValueError):
    """An ONNX network that cannot be used; the message says where it is, what was found and what to do."""


class OnnxFile(NamedTuple):
    """A model as onnxruntime opens it.

    Attributes:
        uri: of the file. data: its graph, without unused inputs.
        sha256: hex, of the file's bytes; if weights are in other files, of those too (`_digest`).
        beside: the bytes of those files, by their paths below the model's folder.
    """

    uri: str
    data: bytes
    sha256: str
    beside: Mapping[str, bytes] = {}


def read_onnx(uri: str) -> OnnxFile:
    """Read a model from any URI, with weights in files beside it, in its folder.

    Raises:
        OnnxError: it does not exist, may not be read, is not a model, or its weights are missing.
    """
    data = _read(uri, "an ONNX model (.onnx)", _GRAPH_BYTES)
    try:
        graph = read_graph(data)
    except GraphError as error:
        raise OnnxError(f"{uri}: not a readable ONNX model ({error}); download or export it again") from error
    opened = without_unused_inputs(data, graph)
    if not graph.external:
        return OnnxFile(uri, opened, sha256(data).hexdigest())
    beside = _read_beside(uri, graph)
    return OnnxFile(uri, opened, _digest(data, beside), beside)


def write_for_opening(file: OnnxFile, folder: Path) -> Path:
    """Write the model and its weight files to an empty folder, under the names that the graph uses; returns its path.

    onnxruntime looks for such files in the model's folder, or in the current one if it is given bytes.
    """
    name = "graph.onnx"
    while any(path.partition("/")[0] == name for path in file.beside):
        name = f"_{name}"
    for path, data in file.beside.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    (folder / name).write_bytes(file.data)
    return folder / name


def _read_beside(uri: str, graph: Graph) -> dict[str, bytes]:
    wanted: dict[str, list[External]] = {}
    for tensor in graph.external:
        wanted.setdefault(_path_below(uri, tensor.location), []).append(tensor)
    beside: dict[str, bytes] = {}
    left = _BESIDE_BYTES
    for path, tensors in sorted(wanted.items()):
        place = _place(uri, path)
        data = _read(place, f"weights of {uri}, which its graph names", left)
        left -= len(data)
        needed = max(tensor.offset + (tensor.length or 0) for tensor in tensors)
        if needed > len(data):
            raise OnnxError(
                f"{place}: {len(data):,} bytes, but {uri} says that its weights there reach to byte {needed:,}. It is "
                "cut short or of another model: download or export both again."
            )
        beside[path] = data
    return beside


def _path_below(uri: str, location: str) -> str:
    """The path of a file in the model's folder, normalised."""
    parts = [part for part in location.split("/") if part not in ("", ".")]
    if (
        not parts
        or location.startswith("/")
        or ".." in parts
        or any(character in location for character in "\\:*?#\0")
        or not location.isprintable()
        or len(location) > 1000
    ):
        raise OnnxError(
            f"{uri}: its graph names a file of weights ({location[:100]!a}) that is not a plain path in the model's "
            "own folder, so it is not read. Export the model again with its weights beside it, or in one file."
        )
    return "/".join(parts)


def _place(uri: str, path: str) -> str:
    """The place of a file beside the model; on a disk, refused if a link leads out of the model's folder."""
    if not storage.is_local(uri):
        return storage.join(uri.partition("?")[0].rpartition("/")[0], path)
    folder = os.path.realpath(Path(storage.filesystem(uri)[1]).parent)
    found = os.path.realpath(f"{folder}/{path}")
    if not found.startswith(f"{folder.rstrip('/')}/"):
        raise OnnxError(
            f"{uri}: {path}, the file of its weights, is a link that leads out of the model's folder, so it is not "
            "read. Put a copy of the file there."
        )
    return found


def _read(uri: str, what: str, most: int) -> bytes:
    try:
        return storage.read_bytes(uri, most)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise OnnxError(f"{uri}: no such file; expected {what}. Check the path.") from error
    except PermissionError as error:
        raise OnnxError(f"{uri}: may not be read ({error}); check its permissions or credentials") from error


def _digest(graph: bytes, beside: Mapping[str, bytes]) -> str:
    """sha256 (hex) of the graph's, and of the path and sha256 of each file beside it, in order of their paths."""
    digest = sha256(b"onnx with files beside it\0" + sha256(graph).digest())
    for path in sorted(beside):
        digest.update(path.encode() + b"\0" + sha256(beside[path]).digest())
    return digest.hexdigest()
