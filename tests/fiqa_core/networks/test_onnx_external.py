"""ONNX networks whose weights lie in files beside the graph, inputs that nothing reads, and batches that matter."""

import hashlib
import logging
from pathlib import Path

import fsspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from fiqa_core.networks.onnx_input import OnnxOptions
from fiqa_core.networks.onnx_network import OnnxNetwork
from fiqa_core.networks.onnx_session import OnnxError, read_onnx
from fiqa_core.scoring.onnx_scorer import OnnxScorer
from fiqa_core.training.teacher import Teacher, TeacherSettings

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), np.uint8)
VALUES = np.random.default_rng(1).standard_normal((48, 4)).astype(np.float32)
SHIFT = np.arange(4, dtype=np.float32)
FLOAT = TensorProto.FLOAT


def inputs(*more: str) -> list[onnx.ValueInfoProto]:
    images = helper.make_tensor_value_info("images", FLOAT, ["n", 3, 112, 112])
    return [images, *(helper.make_tensor_value_info(name, FLOAT, [4]) for name in more)]


def model(weights=None, shift=None, nodes=None, functions=(), more_inputs=()) -> onnx.ModelProto:
    """Pools 112x112 to 4x4, then maps the 48 numbers by `w` and adds `b`."""
    nodes = nodes or [helper.make_node("Add", ["mapped", "b"], ["emb"])]
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["images"], ["small"], kernel_shape=[28, 28], strides=[28, 28]),
            helper.make_node("Flatten", ["small"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["mapped"]),
            *nodes,
        ],
        "g",
        inputs(*more_inputs),
        [helper.make_tensor_value_info("emb", FLOAT, ["n", 4])],
        [weights or numpy_helper.from_array(VALUES, "w"), shift or numpy_helper.from_array(SHIFT, "b")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=list(functions))


def outside(tensor: onnx.TensorProto, location: str, **place: int) -> onnx.TensorProto:
    set_external_data(tensor, location, **place)
    tensor.ClearField("raw_data")
    return tensor


def external(values: np.ndarray, name: str, location: str, **place: int) -> onnx.TensorProto:
    return outside(numpy_helper.from_array(values, name), location, **place)


def write(folder: Path, graph: onnx.ModelProto, **files: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "fr.onnx").write_bytes(graph.SerializeToString())
    return folder / "fr.onnx"


def beside(folder: Path, scale: float = 1.0) -> Path:
    return write(folder, model(external(VALUES, "w", "data")), data=(VALUES * scale).tobytes())


def embedded(uri: object) -> np.ndarray:
    return OnnxNetwork(read_onnx(str(uri)), OnnxOptions(), threads=1).forward(PIXELS)


@pytest.fixture
def expected(tmp_path: Path) -> np.ndarray:
    return embedded(write(tmp_path / "whole", model()))


def test_weights_beside_the_graph_come_from_beside_it_and_never_from_the_current_folder(
    tmp_path: Path, expected: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = beside(tmp_path / "mine"), beside(tmp_path / "other", 100)
    for place in (mine.parent, other.parent, tmp_path):
        monkeypatch.chdir(place)
        np.testing.assert_allclose(embedded(mine), expected, rtol=1e-6)
        np.testing.assert_allclose(embedded("../mine/fr.onnx" if place != tmp_path else "mine/fr.onnx"), expected)
    assert not np.allclose(embedded(other), expected)


def test_weights_beside_a_graph_in_a_store_are_read_from_that_store(expected: np.ndarray, tmp_path: Path) -> None:
    path = beside(tmp_path / "mine")
    for name in ("fr.onnx", "data"):
        fsspec.filesystem("memory").pipe_file(f"/nets/{name}", (path.parent / name).read_bytes())
    np.testing.assert_allclose(embedded("memory://nets/fr.onnx"), expected)
    assert read_onnx("memory://nets/fr.onnx").sha256 == read_onnx(str(path)).sha256


def test_the_digest_covers_the_weights_and_is_the_file_s_own_where_all_are_in_it(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole", model())
    assert read_onnx(str(whole)).sha256 == hashlib.sha256(whole.read_bytes()).hexdigest()
    mine = beside(tmp_path / "mine")
    digest = read_onnx(str(mine)).sha256
    assert read_onnx(str(beside(tmp_path / "same"))).sha256 == digest
    assert read_onnx(str(mine.rename(mine.with_name("renamed.onnx")))).sha256 == digest
    assert read_onnx(str(beside(tmp_path / "other", 100))).sha256 != digest


def test_several_files_offsets_and_folders_below_the_model_are_read(tmp_path: Path, expected: np.ndarray) -> None:
    folder = tmp_path / "several"
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "b.bin").write_bytes(bytes(4096) + SHIFT.tobytes() + bytes(100))
    graph = model(
        external(VALUES, "w", "w.bin", offset=0, length=VALUES.nbytes),
        external(SHIFT, "b", "./weights/b.bin", offset=4096, length=SHIFT.nbytes),
    )
    write(folder, graph)
    (folder / "w.bin").symlink_to(folder / "linked.bin")  # a link inside the folder
    (folder / "linked.bin").write_bytes(VALUES.tobytes())
    np.testing.assert_allclose(embedded(folder / "fr.onnx"), expected)


def constant_in_a_subgraph(tensor: onnx.TensorProto) -> list[onnx.NodeProto]:
    def branch(value: onnx.TensorProto, name: str) -> onnx.GraphProto:
        node = helper.make_node("Constant", [], [name], value=value)
        return helper.make_graph([node], name, [], [helper.make_tensor_value_info(name, FLOAT, [4])])

    always = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("y", TensorProto.BOOL, [], [True]))
    zeros = numpy_helper.from_array(np.zeros(4, np.float32), "zeros")
    either = helper.make_node("If", ["yes"], ["c"], then_branch=branch(tensor, "t"), else_branch=branch(zeros, "e"))
    return [always, either, helper.make_node("Add", ["mapped", "c"], ["emb"])]


def in_a_function(tensor: onnx.TensorProto) -> onnx.FunctionProto:
    nodes = [helper.make_node("Constant", [], ["c"], value=tensor), helper.make_node("Add", ["x", "c"], ["y"])]
    return helper.make_function("own", "Shift", ["x"], ["y"], nodes, [helper.make_opsetid("", 17)])


@pytest.mark.parametrize("where", ["subgraph", "function"])
def test_weights_of_subgraphs_and_functions_are_found_too(where: str, tmp_path: Path) -> None:
    def made(tensor: onnx.TensorProto) -> onnx.ModelProto:
        if where == "subgraph":
            return model(nodes=constant_in_a_subgraph(tensor))
        return model(
            nodes=[helper.make_node("Shift", ["mapped"], ["emb"], domain="own")], functions=[in_a_function(tensor)]
        )

    path = write(tmp_path, made(external(SHIFT, "c", "c.bin")))
    with pytest.raises(OnnxError, match=r"c\.bin: no such file; expected weights of .*fr\.onnx"):
        read_onnx(str(path))
    (tmp_path / "c.bin").write_bytes(SHIFT.tobytes())
    assert set(read_onnx(str(path)).beside) == {"c.bin"}
    (tmp_path / "secret").write_bytes(SHIFT.tobytes())
    with pytest.raises(OnnxError, match="not a plain path in the model's own folder"):
        read_onnx(str(write(tmp_path / "x", made(external(SHIFT, "c", "../secret")))))


@pytest.mark.parametrize(
    "location",
    ["../data", "a/../../data", "/etc/passwd", "", ".", "C:\\data", "*/_ORT_MEM_ADDR_/*", "a\0b", "http://x/d"],
)
def test_a_place_outside_of_the_model_s_folder_is_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(VALUES.tobytes())
    path = write(tmp_path / "mine", model(external(VALUES, "w", location)))
    with pytest.raises(OnnxError, match="not a plain path in the model's own folder"):
        embedded(path)


def test_a_link_that_leads_out_of_the_model_s_folder_is_refused(tmp_path: Path) -> None:
    path = beside(tmp_path / "mine")
    (tmp_path / "mine" / "data").rename(tmp_path / "data")
    (tmp_path / "mine" / "data").symlink_to(tmp_path / "data")
    with pytest.raises(OnnxError, match="a link that leads out of the model's folder"):
        embedded(path)


def test_weights_that_are_not_there_or_too_few_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = beside(tmp_path / "mine")
    whole = (tmp_path / "mine" / "data").read_bytes()
    (tmp_path / "mine" / "data").unlink()
    monkeypatch.chdir(beside(tmp_path / "other").parent)
    with pytest.raises(OnnxError, match=r"mine/data: no such file; expected weights of"):
        embedded(path)
    (tmp_path / "mine" / "data").write_bytes(whole[:-4])
    with pytest.raises(OnnxError, match=r"fr\.onnx: onnxruntime .* cannot open it"):
        embedded(path)
    for place in ({"offset": 0, "length": 10**15}, {"offset": 10**15, "length": 4}):
        graph = model(external(VALUES, "w", "data", **place))
        with pytest.raises(OnnxError, match=r"data: 768 bytes, but .* reach to byte 1,000,000,000,0"):
            embedded(write(tmp_path / "huge", graph, data=whole))
    graph = model(external(VALUES, "w", "data"))
    graph.graph.initializer[0].external_data.append(onnx.StringStringEntryProto(key="offset", value="9" * 5000))
    with pytest.raises(OnnxError, match="not a whole number"):
        embedded(write(tmp_path / "digits", graph, data=whole))


def test_a_teacher_of_training_takes_its_weights_from_beside_its_graph(tmp_path, expected, monkeypatch) -> None:
    path = beside(tmp_path / "mine")
    monkeypatch.chdir(beside(tmp_path / "other", 100).parent)
    np.testing.assert_allclose(Teacher(TeacherSettings(str(path)), threads=2).embed(PIXELS), expected, rtol=1e-5)


def test_a_damaged_graph_is_refused_whatever_its_bytes_say(tmp_path: Path) -> None:
    whole, random = beside(tmp_path).read_bytes(), np.random.default_rng(0)
    for _ in range(400):
        data = bytearray(whole)
        for place in random.integers(0, len(data), 2):
            data[place] = random.integers(0, 256)
        (tmp_path / "fr.onnx").write_bytes(data)
        try:
            read_onnx(str(tmp_path / "fr.onnx"))
        except OnnxError as error:
            assert "fr.onnx" in str(error)


# --- inputs and batches -----------------------------------------------------------------------------------


def test_graph_inputs_that_no_node_uses_are_ignored(tmp_path: Path, expected: np.ndarray, capfd) -> None:
    names = [f"unused{number}" for number in range(29)]
    graph = model(more_inputs=[*names, "b"])  # `b` is an initializer that is listed as an input, as in old exports
    graph.graph.initializer.append(numpy_helper.from_array(SHIFT, "nobody"))
    graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5  # onnxruntime warns of all three
    path = write(tmp_path / "many", graph)
    np.testing.assert_allclose(embedded(path), expected)
    assert read_onnx(str(path)).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "onnxruntime" not in "".join(capfd.readouterr())


def test_two_inputs_that_are_used_are_refused_still(tmp_path: Path) -> None:
    graph = model(nodes=[helper.make_node("Add", ["mapped", "x"], ["emb"])], more_inputs=["x"])
    with pytest.raises(OnnxError, match="has 2 inputs"):
        embedded(write(tmp_path, graph))


def normalising(training: bool) -> onnx.ModelProto:
    ones, zeros = np.ones(4, np.float32), np.zeros(4, np.float32)
    constants = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value, name))
        for name, value in (("scale", ones), ("bias", zeros), ("mean", zeros), ("var", ones))
    ]
    outputs = ["emb", "mean2", "var2"] if training else ["emb"]
    norm = helper.make_node(
        "BatchNormalization", ["mapped", "scale", "bias", "mean", "var"], outputs, training_mode=int(training)
    )
    return model(nodes=[*constants, norm])


@pytest.mark.parametrize("count", [1, 3])
def test_an_output_that_depends_on_the_batch_is_warned_of_once(count: int, tmp_path: Path, caplog) -> None:
    for training in (False, True):
        path = write(tmp_path / str(training), normalising(training))
        scorer = OnnxScorer(OnnxNetwork(read_onnx(str(path)), OnnxOptions(), threads=1), 8)
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                scorer.score_pixels(PIXELS[:count])
        said = [record.getMessage() for record in caplog.records if "depends on the other images" in record.message]
        assert len(said) == int(training)
    assert str(tmp_path / "True" / "fr.onnx") in said[0]
