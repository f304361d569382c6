"""From a damaged shard to a subset, through both commands: kept images are the originals, losses are said."""

import csv
import gzip
import hashlib
import io
import json
import random
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines import filter_dataset, score_dataset
from tests.fakes import MeanScorerSource
from tests.makers.containers import FaceRecord, face_records, samples, write_parquet_pyarrow, write_tar
from tests.makers.recordio import payload, write_rec
from tests.pipelines.test_subset import read_back

COUNT, BROKEN = 24, 15  # the face whose record is damaged; the second shard begins with face 8
FACES = face_records(COUNT, size=24)
SHA = {hashlib.sha256(face.data).digest(): face for face in FACES}
HALVES = (FACES[:8], FACES[8:])
LOSS, NO_LOSS = score_dataset.EXIT_INCOMPLETE, 0


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :]


def insert(data: bytes, at: int, count: int = 7) -> bytes:
    return data[:at] + random.Random(1).randbytes(count) + data[at:]


def header_of(data: bytes, name: str) -> int:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getmember(name).offset_data - 512


def tars(root: Path, suffix: str = ".tar") -> Path:
    for half, faces in zip("ab", HALVES, strict=True):
        write_tar(root / f"{half}{suffix}", samples(faces))
    return root / f"b{suffix}"


def tar_header(root: Path) -> None:
    path = tars(root)
    data = path.read_bytes()
    path.write_bytes(flip(data, header_of(data, FACES[BROKEN].name) + 150))


def tar_inserted(root: Path) -> None:
    path = tars(root)
    data = path.read_bytes()
    path.write_bytes(insert(data, header_of(data, FACES[BROKEN].name) + 900))


def tar_cut(root: Path) -> None:
    path = tars(root)
    data = path.read_bytes()
    path.write_bytes(data[: header_of(data, FACES[BROKEN].name) + 700])


def tar_gz(root: Path) -> None:
    path = tars(root, ".tar.gz")
    for half in (root / "a.tar.gz", path):
        half.write_bytes(gzip.compress(half.read_bytes(), mtime=0))
    data = path.read_bytes()
    path.write_bytes(flip(data, len(data) // 2))


def records(root: Path, index: bool, change: Callable[[bytes, int], bytes]) -> None:
    for half, faces in zip("ab", HALVES, strict=True):
        offsets = write_rec(
            root / f"{half}.rec", [payload(face.data, float(face.label), n) for n, face in enumerate(faces)], index
        )
    path = root / "b.rec"
    path.write_bytes(change(path.read_bytes(), offsets[BROKEN - 8]))


def parquets(root: Path) -> Path:
    for half, faces in zip("ab", HALVES, strict=True):
        write_parquet_pyarrow(root / f"{half}.parquet", faces, row_group_size=4)
    return root / "b.parquet"


def parquet_page(root: Path) -> None:
    path = parquets(root)
    data = path.read_bytes()
    chunk = pq.read_metadata(path).row_group(1).column(1)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    path.write_bytes(data[:start] + bytes(40) + data[start + 40 :])


def parquet_footer(root: Path) -> None:
    path = parquets(root)
    data = path.read_bytes()
    path.write_bytes(data[:-60] + bytes(40) + data[-20:])


# What is damaged, the exit code of scoring, and what the images are written as.
DAMAGE = {
    "tar, header": (tar_header, LOSS, "recordio"),
    "tar, bytes inserted": (tar_inserted, LOSS, "folder"),
    "tar, cut off": (tar_cut, LOSS, "same"),
    "tar.gz": (tar_gz, LOSS, "same"),
    # Of RecordIO and of Parquet pages it is known which records are damaged: each is a row, and none is unknown.
    "rec with idx": (lambda root: records(root, True, lambda data, at: insert(data, at + 60)), NO_LOSS, "same"),
    "rec without idx": (lambda root: records(root, False, lambda data, at: insert(data, at + 60)), NO_LOSS, "folder"),
    "rec, magic": (lambda root: records(root, True, flip), NO_LOSS, "parquet"),
    "rec, cut off": (lambda root: records(root, False, lambda data, at: data[: at + 60]), LOSS, "parquet"),
    "parquet, page": (parquet_page, NO_LOSS, "same"),
    "parquet, footer": (parquet_footer, LOSS, "webdataset"),
}


@pytest.fixture(scope="module", params=DAMAGE)
def scored(request, tmp_path_factory) -> tuple[Path, int, str]:
    damage, code, write = DAMAGE[request.param]
    root = tmp_path_factory.mktemp("damaged")
    (root / "in").mkdir()
    damage(root / "in")
    arguments = ["--input", str(root / "in"), "--output", str(root / "table")]
    assert score_dataset.run(arguments, MeanScorerSource()) == code
    return root, code, write


def table_of(root: Path) -> list[dict]:
    return pq.read_table(root / "table" / "quality").to_pylist()


def container(root: Path) -> str:
    suffix = next((root / "in").iterdir()).suffix
    return {".tar": "webdataset", ".gz": "webdataset", ".rec": "recordio", ".idx": "recordio"}.get(suffix, "parquet")


def keys_of(face: FaceRecord, root: Path) -> list[str]:
    """What the key of a face's row may be: its own, in a `.rec` its number, or where its record begins."""
    if container(root) != "recordio":
        return [face.key]
    if (root / "in" / "b.idx").exists():
        return [str(FACES.index(face) - (8 if face in HALVES[1] else 0))]
    shards = [(root / "in" / f"{half}.rec").read_bytes() for half in "ab"]
    places = [data.find(face.data) for data in shards]
    return [f"@{place - 32}" for place in places if place >= 0]


def test_scored_rows_of_a_damaged_set_are_the_original_images_each_once(scored):
    root, code, _ = scored
    rows = table_of(root)
    good = [row for row in rows if row["status"] == "scored"]
    assert len({row["sha256"] for row in good}) == len(good)
    assert {face.key for face in HALVES[0]} <= {SHA[row["sha256"]].key for row in good}
    for row in good:
        face = SHA[row["sha256"]]
        assert row["key"] in keys_of(face, root)
        assert row["label"] == str(face.label)
    summary = json.loads((root / "table" / "summary.json").read_text())
    assert summary["records"] == len(rows) == sum(summary["status"].values())
    lost = {row["shard"] for row in rows if row["status"] in ("shard_unreadable", "shard_truncated")}
    assert summary["shards_not_read_to_their_end"] == len(lost) == (code == LOSS)
    assert summary["complete"] == (code != LOSS)


def test_a_subset_of_a_damaged_set_has_every_kept_image_once_with_its_bytes_and_label(scored, tmp_path, capsys):
    root, code, write = scored
    kind = container(root) if write == "same" else write
    out = tmp_path / "clean"
    arguments = ["--quality", str(root / "table"), "--output", str(out), "--write", write]
    if code == LOSS:
        assert filter_dataset.run(arguments) == filter_dataset.EXIT_BAD_INPUT
    assert filter_dataset.run([*arguments, "--allow-incomplete"]) == 0
    good = [row for row in table_of(root) if row["status"] == "scored"]
    wanted = Counter((row["label"], row["sha256"]) for row in good)
    old = {}
    if kind == "recordio":
        with (out / "subset" / "labels.csv").open() as stream:
            old = {row["new_label"]: row["label"] for row in csv.DictReader(stream)}
    found = read_back(kind, out / "subset" / "data")
    assert Counter((old.get(label, label), digest) for _, label, digest in found) == wanted
    assert max(wanted.values()) == 1
    summary = json.loads((out / "summary.json").read_text())
    assert summary["subset"]["images"] == summary["kept"] == len(good)
    assert summary["kept"] + sum(summary["dropped"].values()) == summary["rows"]
    assert summary["rows"] + summary.get("unread_rows", 0) == len(table_of(root))
    assert ("INCOMPLETE" in capsys.readouterr().out) == (code == LOSS)
