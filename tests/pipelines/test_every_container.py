"""The same faces in every container give the same table, apart from key, shard and index, and go out into every one."""

import gzip
import hashlib
import json
import pickle
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from fiqa_core.runs.plan import plan_dataset
from fiqa_core.scoring.score_unit import score_unit
from fiqa_core.scoring.settings import ScoreSettings
from pipelines.filter_dataset import EXIT_BAD_INPUT
from pipelines.filter_dataset import run as filter_dataset
from pipelines.score_dataset import run as score_dataset
from schemas.reasons import SHARD_LEVEL, Status
from tests.fakes import MeanScorer, MeanScorerSource
from tests.makers.containers import (
    FaceRecord,
    face_records,
    samples,
    write_folder,
    write_parquet_pyarrow,
    write_tar,
)
from tests.makers.lmdb_files import read_vit_fiqa, write_lmdb, write_vit_fiqa
from tests.makers.recordio import payload, read_rec, write_rec
from tests.makers.tfrecord import face, record, write_tfrecord

COUNT = 30
SAME_EVERYWHERE = ["quality", "status", "message", "width", "height", "sha256", "bytes", "quantisation"]
SETTINGS = ScoreSettings("none", "none", "0" * 64)


def faces() -> list[FaceRecord]:
    """Images of three kinds, one cut off, and one that is no image."""
    found = face_records(COUNT, 4, 40)
    cut = next(each for each in found[9:] if each.extension == "jpg")
    return [*found, FaceRecord("cut", 1, cut.data[:400]), FaceRecord("text", 2, b"no image at all")]


def _tar(root: Path, some: list[FaceRecord]) -> None:
    write_tar(root / "a.tar", samples(some))


def _tgz(root: Path, some: list[FaceRecord]) -> None:
    _tar(root, some)
    (root / "a.tar.gz").write_bytes(gzip.compress((root / "a.tar").read_bytes(), 1))
    (root / "a.tar").unlink()


def _zip(root: Path, some: list[FaceRecord]) -> None:
    with zipfile.ZipFile(root / "a.zip", "w") as archive:
        for each in some:
            archive.writestr(f"{each.label}/{each.name}", each.data)


def _list(root: Path, some: list[FaceRecord]) -> None:
    write_folder(root / "files", some, by_label=False)
    lines = [f"files/{each.name},{each.label}" for each in some]
    (root / "list.csv").write_text("\n".join(["path,label", *lines]))


def _examples(some: list[FaceRecord]) -> list[bytes]:
    return [face(each.data, each.label, each.name) for each in some]


WRITERS: dict[str, Callable[[Path, list[FaceRecord]], object]] = {
    "folder": write_folder,
    "webdataset": _tar,
    "webdataset, gzip": _tgz,
    "parquet": lambda root, some: write_parquet_pyarrow(root / "a.parquet", some),
    "recordio": lambda root, some: write_rec(
        root / "a.rec", [payload(each.data, each.label, n) for n, each in enumerate(some)]
    ),
    "tfrecord": lambda root, some: write_tfrecord(root / "a.tfrecord", _examples(some)),
    "tfrecord, gzip": lambda root, some: (root / "a.tfrecord-00000-of-00001.gz").write_bytes(
        gzip.compress(b"".join(map(record, _examples(some))))
    ),
    "lmdb": lambda root, some: write_vit_fiqa(
        root / "a.lmdb_dataset", {each.key.encode(): each.data for each in some}, [each.label for each in some]
    ),
    "lmdb, a folder": lambda root, some: write_lmdb(
        root / "a.lmdb", {each.key.encode(): pickle.dumps((each.data, each.label)) for each in some}, True
    ),
    "zip": _zip,
    "path_list": _list,
    "insightface_bin": lambda root, some: (root / "a.bin").write_bytes(
        pickle.dumps(([each.data for each in some], [True] * (len(some) // 2)), 3)
    ),
}
CUT = ("tfrecord", "lmdb", "lmdb, a folder", "insightface_bin", "zip", "path_list")


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> Path:
    """`<container>/in` and `<container>/out` of every container."""
    root = tmp_path_factory.mktemp("containers")
    for kind, write in WRITERS.items():
        (root / kind / "in").mkdir(parents=True)
        write(root / kind / "in", faces())
        source = root / kind / "in" / ("list.csv" if kind == "path_list" else "")
        arguments = ["--input", str(source), "--output", str(root / kind / "out"), "--unit-size", "5"]
        assert score_dataset(arguments, MeanScorerSource()) == 0
    return root


def table(root: Path, kind: str) -> pd.DataFrame:
    found = pd.read_parquet(root / kind / "out" / "quality")
    return found.assign(status=found.status.astype(str))  # categories are in the order in which they came


def test_the_same_faces_in_every_container_give_the_same_table_apart_from_key_shard_and_index(scored):
    expected = table(scored, "folder").sort_values("sha256")
    assert len(expected) == COUNT + 2
    assert set(expected.status) == {"scored", "truncated", "not_an_image"}
    for kind in WRITERS:
        found = table(scored, kind).sort_values("sha256")
        pd.testing.assert_frame_equal(
            found[SAME_EVERYWHERE].reset_index(drop=True), expected[SAME_EVERYWHERE].reset_index(drop=True), obj=kind
        )
        if kind == "insightface_bin":
            assert found.label.isna().all()
        else:
            assert found.label.tolist() == expected.label.tolist(), kind
        units = pq.read_table(scored / kind / "out" / "plan" / "units.parquet").to_pylist()
        assert {unit["container"] for unit in units} == {kind.partition(",")[0]}
        assert kind not in CUT or len(units) > 4


def _written_tfrecord(data: Path) -> list[bytes]:
    loader = pytest.importorskip("tfrecord.reader").tfrecord_loader
    shards = sorted(data.glob("*.tfrecord"))
    return [bytes(each["image/encoded"]) for path in shards for each in loader(str(path), None)]


def _written_tar(data: Path) -> list[bytes]:
    found = []
    for path in sorted(data.glob("*.tar")):
        with tarfile.open(path) as tar:
            found += [tar.extractfile(member).read() for member in tar if not member.name.endswith(".cls")]
    return found


READERS: dict[str, Callable[[Path], list[bytes]]] = {
    "tfrecord": _written_tfrecord,
    "lmdb": lambda data: [image for path in sorted(data.glob("*.lmdb_dataset")) for _, image, _ in read_vit_fiqa(path)],
    "webdataset": _written_tar,
    "parquet": lambda data: [
        row["image"]["bytes"] for path in data.glob("*.parquet") for row in pq.read_table(path).to_pylist()
    ],
    "recordio": lambda data: [image for _, image in read_rec((data / "train.rec").read_bytes()).values() if image],
    "folder": lambda data: [path.read_bytes() for path in data.rglob("*") if path.is_file()],
}


def filtered(quality: Path, output: Path, *more: str) -> int:
    return filter_dataset(["--quality", str(quality), "--output", str(output), "--drop-worst", "0.2", *more])


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        *[(kind, "same") for kind in ("tfrecord, gzip", "lmdb", "lmdb, a folder")],
        *[("tfrecord", written) for written in ("lmdb", "recordio", "folder")],
        *[("lmdb", written) for written in ("tfrecord", "parquet", "webdataset")],
        *[("insightface_bin", "lmdb"), ("webdataset", "tfrecord")],
    ],
)
def test_kept_images_are_written_with_their_stored_bytes_and_read_by_other_peoples_readers(
    scored, tmp_path, kind, written
):
    assert filtered(scored / kind / "out", tmp_path / "o", "--write", written, "--shard-size", "7") == 0
    kept = pd.read_parquet(tmp_path / "o" / "decisions").query("keep")
    wanted = sorted(table(scored, kind).set_index("key").sha256.loc[kept.key])
    name = kind.partition(",")[0] if written == "same" else written
    found = READERS[name](tmp_path / "o" / "subset" / "data")
    assert sorted(hashlib.sha256(image).digest() for image in found) == wanted
    assert len(found) == 24
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert summary["subset"]["format"] == name


def test_a_written_subset_scores_as_its_source_did(scored, tmp_path):
    for written in ("lmdb", "tfrecord"):
        out = tmp_path / written
        assert filtered(scored / "tfrecord" / "out", out, "--write", written, "--relabel", "--shard-size", "9") == 0
        arguments = ["--input", str(out / "subset" / "data"), "--output", str(out / "again")]
        assert score_dataset(arguments, MeanScorerSource()) == 0
        again = pd.read_parquet(out / "again" / "quality").set_index("key").sort_index()
        kept = pd.read_parquet(out / "decisions").query("keep").set_index("key").sort_index()
        assert again.index.tolist() == kept.index.tolist()
        assert again.quality.tolist() == kept.quality.tolist()
        assert set(again.label) <= {"0", "1", "2", "3"}


def test_a_verification_set_is_only_read(scored, tmp_path, caplog):
    assert filtered(scored / "insightface_bin" / "out", tmp_path / "o", "--write", "same") == EXIT_BAD_INPUT
    assert "insightface_bin, which is only read" in caplog.text
    with pytest.raises(SystemExit):
        filtered(scored / "insightface_bin" / "out", tmp_path / "o", "--write", "insightface_bin")


@pytest.mark.parametrize("kind", ["tfrecord", "tfrecord, gzip", "lmdb", "insightface_bin"])
def test_damaged_shards_go_through_scoring_with_a_row_for_every_loss_and_the_rest_scored(tmp_path, kind):
    (tmp_path / "in").mkdir()
    WRITERS[kind](tmp_path / "in", face_records(COUNT, 4, 40))
    path = next((tmp_path / "in").iterdir())
    whole, chance, scored = path.read_bytes(), random.Random(kind), []
    intact = {hashlib.sha256(each.data).digest() for each in face_records(COUNT, 4, 40)}
    for number in range(8):
        data, at = bytearray(whole), chance.randrange(len(whole))
        for place in range(at, min(at + chance.choice((1, 8, 200)), len(data))):
            data[place] = chance.randrange(256)
        path.write_bytes(bytes(data)[: chance.choice((len(data), len(data), at))])
        units = plan_dataset([str(path)], "auto", 7, str(tmp_path / f"plan{number}"), SETTINGS.read).units
        for unit in units:
            score_unit(unit, MeanScorer(), SETTINGS, str(tmp_path / f"out{number}"), sleep=lambda _: None)
        rows = pd.read_parquet(tmp_path / f"out{number}" / "quality")
        assert len(list((tmp_path / f"out{number}" / "quality").iterdir())) == len(units)
        good = rows[rows.status == str(Status.SCORED)]
        assert rows["index"].is_unique
        if kind.startswith("tfrecord"):  # which alone has checksums
            assert set(good.sha256) <= intact
        assert len(good) >= COUNT - 2 or set(rows.status) & {"corrupt", *map(str, SHARD_LEVEL)}
        scored.append(len(good))
    assert max(scored) >= COUNT - 2
