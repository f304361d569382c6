"""Small ONNX networks: a linear map of the pixels, so that what they give is known."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def weights(shape: Sequence[int | str], dim: int) -> np.ndarray:
    """The map of a network with this input shape: float32 (pixels, dim)."""
    pixels = int(np.prod([axis if isinstance(axis, int) else 112 for axis in shape[1:]]))
    return (np.random.default_rng(dim).standard_normal((pixels, dim)) / pixels).astype(np.float32)


def write_linear(
    path: Path,
    shape: Sequence[int | str],
    dim: int = 4,
    outputs: Sequence[str] = ("emb",),
    kind: int = TensorProto.FLOAT,
) -> Path:
    """Write a network whose every output is its flattened input times `weights(shape, dim)`."""
    nodes = [helper.make_node("Flatten", ["images"], ["flat"], axis=1)]
    nodes += [helper.make_node("MatMul", ["flat", "w"], [name]) for name in outputs]
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("images", kind, list(shape))],
        [helper.make_tensor_value_info(name, kind, [shape[0], dim]) for name in outputs],
        [numpy_helper.from_array(weights(shape, dim).astype(dtype), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def write_whole_batch(path: Path) -> Path:
    """A network that adds up the whole batch: its output has no axis for the images."""
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", ["images"], ["emb"], keepdims=0)],
        "sum",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("emb", TensorProto.FLOAT, [])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path
