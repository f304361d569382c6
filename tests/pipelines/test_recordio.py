"""The command on InsightFace's RecordIO: one row an image, whatever lies beside the `.rec`."""

import hashlib
import logging

import pandas as pd

from fiqa_core.storage import filesystem
from pipelines.score_dataset import run
from tests.fakes import MeanScorerSource
from tests.makers.images import jpeg_bytes
from tests.makers.recordio import payload, read_rec, write_rec
from tests.shared import SHARED, needs_shared

NATIVE = SHARED / "data" / "native" / "mxnet_made"


def score(source: object, output: object, *options: str) -> pd.DataFrame:
    assert run(["--input", str(source), "--output", str(output), *options], MeanScorerSource()) == 0
    return pd.read_parquet(f"{output}/quality").sort_values("index", ignore_index=True)


@needs_shared
def test_a_genuine_training_set_is_scored_with_its_identities(tmp_path, caplog):
    folder = tmp_path / "faces"
    folder.mkdir()
    for ending, name in [(".rec", "legacy_train.rec"), (".idx", "legacy_train.idx"), ("", "legacy_property")]:
        (folder / ("train" + ending if ending else "property")).write_bytes((NATIVE / name).read_bytes())
    (folder / "train.lst").write_text("")
    with caplog.at_level(logging.WARNING):
        table = score(folder, tmp_path / "out", "--unit-size", "20")
    assert "passed over" not in caplog.text
    assert set(table.status) == {"scored"}
    assert table.key.tolist() == [str(n) for n in range(1, 97)]
    assert table.label.tolist() == [str(n // 8) for n in range(96)]
    images = [image for _, image in read_rec((folder / "train.rec").read_bytes()).values() if image]
    assert table.sha256.tolist() == [hashlib.sha256(image).digest() for image in images]
    assert len(list((tmp_path / "out" / "quality").iterdir())) > 3


def test_a_cut_off_image_is_a_row_beside_its_neighbours(tmp_path):
    faces = [jpeg_bytes(seed, 112) for seed in range(4)]
    faces[1] = faces[1][:-500]
    write_rec(tmp_path / "t.rec", [payload(face, float(n)) for n, face in enumerate(faces)])
    table = score(tmp_path / "t.rec", tmp_path / "out")
    assert table.status.tolist() == ["scored", "truncated", "scored", "scored"]
    assert table.label.tolist() == ["0", "1", "2", "3"]


def test_a_set_on_another_store_is_read_with_its_index(tmp_path):
    write_rec(tmp_path / "t.rec", [payload(jpeg_bytes(seed, 112), 1.0) for seed in range(6)])
    store, root = filesystem("memory://recordio-test/in")
    for name in ("t.rec", "t.idx"):
        store.pipe_file(f"{root}/{name}", (tmp_path / name).read_bytes())
    table = score("memory://recordio-test/in/t.rec", tmp_path / "out", "--unit-size", "2")
    assert table.key.tolist() == ["0", "1", "2", "3", "4", "5"]


def test_a_file_that_breaks_off_is_told_by_the_exit_code(tmp_path):
    offsets = write_rec(tmp_path / "t.rec", [payload(jpeg_bytes(seed, 112), 1.0) for seed in range(3)])
    (tmp_path / "t.rec").write_bytes((tmp_path / "t.rec").read_bytes()[: offsets[2] + 100])
    arguments = ["--input", str(tmp_path / "t.rec"), "--output", str(tmp_path / "out"), "--unit-size", "1"]
    assert run(arguments, MeanScorerSource()) == 3
    table = pd.read_parquet(tmp_path / "out" / "quality")
    assert sorted(table.status) == ["scored", "scored", "shard_truncated"]


def test_a_resumed_run_finds_what_the_first_has_done(tmp_path):
    write_rec(tmp_path / "t.rec", [payload(jpeg_bytes(seed, 112), 1.0) for seed in range(6)])
    first = score(tmp_path / "t.rec", tmp_path / "out", "--unit-size", "2")
    next((tmp_path / "out" / "quality").iterdir()).unlink()
    pd.testing.assert_frame_equal(score(tmp_path / "t.rec", tmp_path / "out", "--unit-size", "2", "--resume"), first)
