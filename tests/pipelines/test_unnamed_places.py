"""A URI that names a store, but no place in it: every command says so, and nothing is made on the local disk."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from fiqa_core import storage
from fiqa_core.storage.places import store_of
from pipelines import embed_dataset, evaluate_quality, filter_dataset, measure_baselines, score_dataset, train_fiqa
from tests.fakes import MeanScorerSource
from tests.fiqa_core.curation.tables import frame, write_quality
from tests.makers.containers import face_records, write_folder
from tests.makers.onnx_models import write_linear

UNNAMED = [
    *(
        "memory://",
        "memory:///",
        "gs://",
        "gs:///out",
        "gcs://",
        "s3://",
        "s3:///a/b",
        "s3a://",
        "http://",
        "https:///",
    ),
    *("file://", "local://", "memory:", "memory:/out", "gs:/bucket/out", "s3:/bucket", "zip://", "nothing://"),
]
COMMANDS = ["score", "measure", "embed", "filter", "filter --write", "findings", "evaluate", "train", "pool"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("inputs")
    write_folder(root / "faces", face_records(4))
    write_quality(root / "q", frame([0.1, 0.9]))
    write_linear(root / "fr.onnx", ("N", 3, 112, 112))
    (root / "pairs.txt").write_text("a b 1\n")
    return root


def _command(name: str, inputs: Path, place: str) -> tuple[Callable[..., int], list[str]]:
    faces, table = ["--input", str(inputs / "faces")], ["--quality", str(inputs / "q")]
    out = ["--output", place]
    if name == "train" or name == "pool":
        config = yaml.safe_load(Path("configs/nano_lfw.yaml").read_text())
        folders = [*faces, "--output", str(inputs / "t"), "--teacher-model", str(inputs / "fr.onnx"), "--set"]
        words = [*faces, *out] if name == "train" else [*folders, f"teacher.pool={place}"]
        (inputs / "c.yaml").write_text(yaml.safe_dump(config))
        return train_fiqa.run, ["--config", str(inputs / "c.yaml"), *words]
    return {
        "score": (lambda words: score_dataset.run(words, MeanScorerSource()), [*faces, *out]),
        "measure": (measure_baselines.run, ["--measure", "laplacian", *faces, *out]),
        "embed": (embed_dataset.run, [*faces, *out, "--model", str(inputs / "fr.onnx")]),
        "filter": (filter_dataset.run, [*table, *out]),
        "filter --write": (filter_dataset.run, [*table, *out, "--write", "manifest"]),
        "findings": (filter_dataset.run, [*table, "--findings", place, "--output", str(inputs / "f")]),
        "evaluate": (
            evaluate_quality.run,
            [
                *("--quality", f"a={inputs / 'q'}", "--embeddings", f"b={inputs / 'q'}"),
                *("--pairs", f"p={inputs / 'pairs.txt'}", *out),
            ],
        ),
    }[name]


@pytest.mark.parametrize("place", ["memory://", "gs://", "s3://", "memory:/out"])
@pytest.mark.parametrize("name", COMMANDS)
def test_an_output_that_names_no_place_is_refused_by_every_command(name, place, inputs, tmp_path, monkeypatch, caplog):
    run, words = _command(name, inputs, place)
    monkeypatch.chdir(tmp_path)
    try:
        code = run(words)
    except SystemExit as error:
        code = error.code
    assert code not in (0, None)
    assert "expected" in caplog.text
    assert "Traceback" not in caplog.text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["memory://", "gs://", "s3://"])
def test_an_input_that_names_no_place_is_refused(place, inputs, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    assert score_dataset.run(["--input", place, "--output", str(tmp_path / "out")], MeanScorerSource()) != 0
    assert "expected" in caplog.text
    assert filter_dataset.run(["--quality", place, "--output", str(tmp_path / "out")]) != 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", UNNAMED)
def test_a_store_without_a_name_is_nowhere_taken_for_a_place(place):
    for ask in (storage.is_local, storage.absolute, storage.filesystem, storage.stat, storage.list_names, store_of):
        with pytest.raises(storage.StorageError):
            ask(place)
    if place.endswith("/"):
        with pytest.raises(storage.StorageError):
            storage.join(place, "quality")


@pytest.mark.parametrize(
    ("place", "folder"),
    [
        *(("s3://b/t.parquet", "s3://b"), ("s3://b", None), ("s3://b/", None), ("memory:///q", None)),
        *(("http://host/t.parquet", "http://host"), ("http://host", None)),
        *(("/x/q", "/x"), ("/x", "/"), ("/", None), ("q", "."), ("a/q/", "a"), ("file:///x/q", "file:///x")),
    ],
)
def test_above_a_whole_bucket_there_is_no_folder(place, folder):
    assert storage.above(place) == folder


def test_a_table_that_lies_directly_in_a_store_is_read(inputs, tmp_path):
    (part,) = (inputs / "q").glob("*.parquet")
    storage.publish(part, "memory://top/t.parquet")
    assert filter_dataset.run(["--quality", "memory://top/t.parquet", "--output", str(tmp_path / "out")]) == 0


def test_folders_of_such_names_and_whole_uris_are_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ("./gs:/b", "a:b", "file:///", "s3.d/x", str(tmp_path / "memory:")):
        assert storage.is_local(place)
    assert storage.join("file:///", "tmp", "x") == "file:/tmp/x"
    assert storage.absolute("memory://a").endswith("/a")
    assert storage.join("gs://b/", "quality") == "gs://b/quality"
