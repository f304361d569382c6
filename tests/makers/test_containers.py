"""The makers write what they say: read back by other people's readers, not by this project's."""

import tarfile
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
import webdataset

from tests.makers.containers import (
    face_records,
    write_folder,
    write_hostile_tar,
    write_long_name_tar,
    write_parquet_datasets,
    write_parquet_pyarrow,
    write_truncated_tar,
    write_webdataset,
)
from tests.makers.faces import lfw_faces

RECORDS = face_records(7)


def test_folder(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "faces", RECORDS)
    found = {path.stem: (path.parent.name, path.read_bytes()) for path in root.glob("*/*")}
    assert found == {record.key: (str(record.label), record.data) for record in RECORDS}


def test_webdataset_shards(tmp_path: Path) -> None:
    shards = write_webdataset(tmp_path / "faces-%06d.tar", RECORDS, maxcount=3)
    assert [shard.name for shard in shards] == ["faces-000000.tar", "faces-000001.tar", "faces-000002.tar"]
    samples = list(webdataset.WebDataset([str(shard) for shard in shards], shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [record.key for record in RECORDS]
    for sample, record in zip(samples, RECORDS, strict=True):
        assert (sample[record.extension], sample["cls"]) == (record.data, str(record.label).encode())


@pytest.mark.parametrize("layout", ["struct", "binary"])
def test_parquet_by_pyarrow(tmp_path: Path, layout: str) -> None:
    path = write_parquet_pyarrow(tmp_path / "faces.parquet", RECORDS, layout, row_group_size=3)  # type: ignore[arg-type]
    assert pq.ParquetFile(path).num_row_groups == 3
    images = pq.read_table(path)["image"].to_pylist()
    assert [image["bytes"] if layout == "struct" else image for image in images] == [r.data for r in RECORDS]


def test_parquet_by_datasets(tmp_path: Path) -> None:
    path = write_parquet_datasets(tmp_path / "faces.parquet", RECORDS)
    read = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    read = read.cast_column("image", datasets.Image(decode=False))
    assert [row["image"]["bytes"] for row in read] == [record.data for record in RECORDS]
    assert [row["label"] for row in read] == [record.label for record in RECORDS]


def test_truncated_tar_ends_in_the_middle_of_a_member(tmp_path: Path) -> None:
    path = write_truncated_tar(tmp_path / "cut.tar", RECORDS)
    with tarfile.open(path) as archive, pytest.raises(tarfile.ReadError):
        archive.extractall(tmp_path / "out", filter="data")


@pytest.mark.parametrize("tar_format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names(tmp_path: Path, tar_format: int) -> None:
    path = write_long_name_tar(tmp_path / "long.tar", RECORDS, tar_format)
    with tarfile.open(path) as archive:
        names = archive.getnames()
    assert all(len(name) > 300 for name in names)
    assert len(names) == 2 * len(RECORDS)
    assert (b"PaxHeader" in path.read_bytes()) == (tar_format == tarfile.PAX_FORMAT)


def test_hostile_tar(tmp_path: Path) -> None:
    path = write_hostile_tar(tmp_path / "hostile.tar", RECORDS[0])
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    assert [member.name for member in members[:3]] == ["../outside.jpg", "/absolute.jpg", "inside/../../outside.jpg"]
    assert [member.issym() or member.islnk() for member in members[3:5]] == [True, True]
    assert [member.name for member in members[-2:]] == [RECORDS[0].name, f"{RECORDS[0].key}.cls"]


def test_real_faces_have_keys_labels_and_images() -> None:
    faces = lfw_faces(1200)
    assert len({face.key for face in faces}) == 1200
    assert all(face.data[:3] == b"\xff\xd8\xff" and face.label.isdigit() for face in faces)
