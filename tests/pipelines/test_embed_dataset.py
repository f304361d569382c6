"""The embed_dataset command as a user calls it: the table of scoring, with embeddings in it."""

import json
import sys
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.dataset as ds
import pytest
import torch

from fiqa_core import QualityScorer
from fiqa_core.images.phash import perceptual_hash
from fiqa_core.images.preprocess import prepare
from fiqa_core.images.thumbnail import thumbnail
from fiqa_core.networks.iresnet import IResNet, IResNetConfig
from pipelines.embed_dataset import EXIT_BAD_INPUT, EXIT_OK, run
from pipelines.score_dataset import run as score_dataset
from tests.fakes import MeanScorerSource
from tests.makers.onnx_models import weights, write_linear
from tests.shared import SHARED, lfw_faces, needs_shared

pytestmark = needs_shared
MODELS = SHARED / "data" / "models"


@pytest.fixture(scope="module")
def faces() -> list[tuple[str, str, bytes]]:
    return lfw_faces(9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, faces) -> Path:
    root = tmp_path_factory.mktemp("folder")
    for key, label, data in faces:
        (root / label).mkdir(exist_ok=True)
        (root / label / f"{key}.jpg").write_bytes(data)
    (root / "broken.jpg").write_bytes(faces[0][2][:200])
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_linear(tmp_path_factory.mktemp("model") / "fr.onnx", (2, 3, 112, 112))


@pytest.fixture(scope="module")
def iresnet(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "fr.pth"
    torch.save(IResNet(IResNetConfig((1, 1, 1, 1), has_quality=False)).state_dict(), path)
    return path


def embed(folder: Path, output: Path, model: Path, *options: object) -> int:
    command = ["--input", folder, "--output", output, "--model", model, "--device", "cpu", *options]
    return run([str(part) for part in command])


def rows(output: Path) -> list[dict]:
    return ds.dataset(output / "quality").to_table().to_pylist()


def test_every_record_is_a_row_and_what_was_decoded_has_its_embedding(tmp_path, folder, faces, model, capsys):
    assert embed(folder, tmp_path / "out", model) == EXIT_OK
    pixels = {f"{label}/{key}.jpg": prepare(data).pixels for key, label, data in faces}
    found = rows(tmp_path / "out")
    assert len(found) == 10
    for row in found:
        assert row["quality"] is None
        if row["key"] == "broken.jpg":
            assert row["status"] != "scored"
            assert np.isnan(row["embedding"]).all()
            continue
        assert row["status"] == "scored"
        fed = ((pixels[row["key"]] - 127.5) / 127.5).transpose(2, 0, 1).ravel()
        np.testing.assert_allclose(row["embedding"], fed @ weights((2, 3, 112, 112), 4), atol=1e-5)
    said = capsys.readouterr().out
    assert "embeddings: 4 numbers, float32" in said
    assert "quality (" not in said
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["complete"]
    assert "mean" not in summary["quality"]
    assert summary["settings"]["onnx"]["batch"] == 2
    counted = f"select count(*) from '{tmp_path}/out/quality/*.parquet' where status = 'scored'"
    assert duckdb.sql(counted).fetchall() == [(9,)]


def test_what_was_recognised_and_what_was_assumed_is_said(tmp_path, folder, model, caplog):
    caplog.set_level("INFO")
    assert embed(folder, tmp_path / "out", model, "--onnx-std", "128") == EXIT_OK
    assert "nchw, RGB, 112x112 pixels, (x - 127.5) / 128, 2 images a call" in caplog.text
    assert "--onnx-color, --onnx-mean: our default" in caplog.text


def test_batches_units_and_threads_do_not_show_in_the_embeddings(tmp_path, folder):
    network = MODELS / "fr_edgeface_xxs.onnx"
    for name, options in {
        "a": ("--batch-size", 1, "--threads", 1),
        "b": ("--batch-size", 4, "--unit-size", 3, "--decode-threads", 3),
    }.items():
        assert embed(folder, tmp_path / name, network, *options) == EXIT_OK
    first, second = ({r["key"]: r["embedding"] for r in rows(tmp_path / name)} for name in "ab")
    assert first.keys() == second.keys()
    for key, value in first.items():
        np.testing.assert_allclose(value, second[key], atol=1e-5, equal_nan=True)


def test_a_checkpoint_without_quality_head_gives_embeddings_with_and_without_flip(tmp_path, faces, iresnet):
    (tmp_path / "in").mkdir()
    for key, _, data in faces[:2]:
        (tmp_path / "in" / f"{key}.jpg").write_bytes(data)
    assert embed(tmp_path / "in", tmp_path / "plain", iresnet) == EXIT_OK
    assert embed(tmp_path / "in", tmp_path / "flip", iresnet, "--flip", "--embedding-type", "float16") == EXIT_OK
    scorer = QualityScorer.from_checkpoint(str(iresnet), device="cpu", embeddings=True)
    plain, flip = ({row["key"]: row for row in rows(tmp_path / name)} for name in ("plain", "flip"))
    key, _, data = faces[0]
    pixels = prepare(data).pixels
    scores = scorer.score_pixels(np.stack([pixels, pixels[:, ::-1]]))
    assert scores.quality is None
    assert plain[f"{key}.jpg"]["quality"] is None
    np.testing.assert_allclose(plain[f"{key}.jpg"]["embedding"], scores.embedding[0], atol=1e-4)
    both = np.concatenate(scores.embedding)
    np.testing.assert_allclose(flip[f"{key}.jpg"]["embedding"], both, atol=2e-3 * np.abs(both).max())


def test_a_quality_network_fills_the_quality_column(tmp_path, folder, capsys):
    options = ("--output-kind", "quality", "--onnx-color", "bgr", "--onnx-mean", 128, "--onnx-std", 128)
    assert embed(folder, tmp_path / "out", MODELS / "lightqnet-dm050.onnx", *options) == EXIT_OK
    table = ds.dataset(tmp_path / "out" / "quality").to_table()
    assert "embedding" not in table.column_names
    assert table["quality"].null_count == 1
    assert "quality (higher = more useful)" in capsys.readouterr().out


def test_resume_knows_every_setting_that_changes_an_embedding(tmp_path, folder, model, caplog):
    out = tmp_path / "out"
    assert embed(folder, out, model) == EXIT_OK
    before = {path: path.read_bytes() for path in (out / "quality").iterdir()}
    for options, said in (
        (("--onnx-std", "128"), "onnx.std: [127.5] then, [128.0] now"),
        (("--onnx-mean", "0,0,0"), "onnx.mean"),
        (("--onnx-color", "bgr"), "onnx.color: rgb then, bgr now"),
        (("--flip",), "flip: None then, True now"),
        (("--phash",), "phash: None then, True now"),
        (("--embedding-type", "float16"), "embeddings: float32 then, float16 now"),
    ):
        caplog.clear()
        assert embed(folder, out, model, "--resume", *options) == EXIT_BAD_INPUT, options
        assert said in caplog.text
    assert embed(folder, out, model, "--resume") == EXIT_OK
    assert {path: path.read_bytes() for path in (out / "quality").iterdir()} == before
    next(iter(before)).unlink()
    assert embed(folder, out, model, "--resume") == EXIT_OK
    assert {path: path.read_bytes() for path in (out / "quality").iterdir()} == before


def test_an_embedding_that_float16_cannot_hold_is_a_row_with_its_reason(tmp_path, folder, model):
    huge = ("--onnx-mean", "0", "--onnx-std", "1e-7")
    assert embed(folder, tmp_path / "half", model, *huge, "--embedding-type", "float16") == EXIT_OK
    assert embed(folder, tmp_path / "full", model, *huge) == EXIT_OK
    half, full = ({row["status"] for row in rows(tmp_path / n) if row["key"] != "broken.jpg"} for n in ("half", "full"))
    assert half == {"non_finite"}
    assert full == {"scored"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--device", "cuda"), "CUDAExecutionProvider"),
        (("--onnx-size", 96), "--onnx-size is 96"),
        (("--precision", "fp16"), "for checkpoints"),
        (("--output-kind", "quality"), "4 numbers an image"),
    ],
)
def test_what_does_not_fit_is_one_message_and_nothing_is_begun(tmp_path, folder, model, options, said, caplog):
    assert embed(folder, tmp_path / "out", model, *options) == EXIT_BAD_INPUT
    assert said in caplog.text
    assert not (tmp_path / "out").exists()


def test_onnx_options_are_refused_for_a_checkpoint(tmp_path, folder, iresnet, caplog):
    assert embed(folder, tmp_path / "out", iresnet, "--onnx-mean", "0") == EXIT_BAD_INPUT
    assert "--onnx-mean" in caplog.text


def test_without_onnxruntime_the_message_names_the_extra_and_nothing_is_begun(
    tmp_path, folder, model, monkeypatch, caplog
):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert embed(folder, tmp_path / "out", model) == EXIT_BAD_INPUT
    assert "pip install -e '.[onnx]'" in caplog.text
    assert not (tmp_path / "out").exists()


def test_phash_is_a_column_of_both_commands_null_unless_decoded_and_absent_unless_asked_for(
    tmp_path, folder, faces, model
):
    source = ["--input", str(folder), "--device", "cpu"]
    assert embed(folder, tmp_path / "embed", model, "--phash") == EXIT_OK
    assert score_dataset([*source, "--output", str(tmp_path / "score"), "--phash"], MeanScorerSource()) == EXIT_OK
    assert score_dataset([*source, "--output", str(tmp_path / "without")], MeanScorerSource()) == EXIT_OK
    expected = {f"{label}/{key}.jpg": f"{perceptual_hash(prepare(data).pixels):016x}" for key, label, data in faces}
    expected["broken.jpg"] = None
    thumbs = {f"{label}/{key}.jpg": thumbnail(prepare(data).pixels) for key, label, data in faces} | {
        "broken.jpg": None
    }
    for name in ("embed", "score"):
        assert {row["key"]: row["phash"] for row in rows(tmp_path / name)} == expected
        assert {row["key"]: row["thumb"] for row in rows(tmp_path / name)} == thumbs
    table = ds.dataset(tmp_path / "without" / "quality").to_table()
    assert not {"phash", "thumb"} & set(table.column_names)
    assert "phash" not in json.loads((tmp_path / "without" / "run.json").read_text())["settings"]


def test_pairs_of_one_person_are_nearer_than_pairs_of_two(tmp_path):
    root = tmp_path / "faces"
    for key, label, data in lfw_test_people(8, 4):
        (root / label).mkdir(parents=True, exist_ok=True)
        (root / label / f"{key}.jpg").write_bytes(data)
    for name, options in {"fr_edgeface_xxs": (), "fr_mobilefacenet": ("--onnx-std", 128)}.items():
        assert embed(root, tmp_path / name, MODELS / f"{name}.onnx", *options) == EXIT_OK
        table = ds.dataset(tmp_path / name / "quality").to_table()
        vectors = np.array(table["embedding"].to_pylist())
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        labels = np.array(table["label"].to_pylist())
        one, two = np.triu_indices(len(labels), 1)
        cosines = (vectors[one] * vectors[two]).sum(axis=1)
        same = labels[one] == labels[two]
        wins = np.mean(cosines[same][:, None] > cosines[~same][None])
        assert wins > 0.98, name  # the area under the ROC curve


def lfw_test_people(people: int, images: int) -> list[tuple[str, str, bytes]]:
    """Some images each of the first people of the test split."""
    import webdataset

    found: dict[str, list[tuple[str, str, bytes]]] = {}
    shards = sorted(str(path) for path in (SHARED / "data" / "lfw112").glob("test-*.tar"))
    for sample in webdataset.WebDataset(shards, shardshuffle=False):
        label = sample["cls"].decode()
        mine = found.setdefault(label, [])
        if len(mine) < images:
            mine.append((sample["__key__"], label, sample["jpg"]))
        full = [faces for faces in found.values() if len(faces) == images]
        if len(full) == people:
            return [face for faces in full for face in faces]
    raise AssertionError("the test split holds more people than that")
