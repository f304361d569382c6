"""The same faces in every container that is read give the same table, apart from key, shard and index."""

import sys
import zipfile
from pathlib import Path

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.filter_dataset import run as filter_dataset
from pipelines.score_dataset import run
from tests.fakes import MeanScorerSource
from tests.makers.containers import face_records, write_folder, write_webdataset
from tests.makers.images import encoded, face_pixels, heic_bytes

FACES = face_records(14, size=32)
# One that is damaged, and the formats of phones.
BROKEN = b"\xff\xd8\xff\xe0 not a picture"
IMAGES = [(f"{face.label}/{face.name}", str(face.label), face.data) for face in FACES]
IMAGES += [("0/broken.jpg", "0", BROKEN), ("1/a.avif", "1", encoded(face_pixels(50, 32), "AVIF"))]
IMAGES += [("2/b.heic", "2", heic_bytes(face_pixels(51, 32)))]


def as_folder(root: Path) -> Path:
    write_folder(root / "f", FACES)
    for name, _, data in IMAGES[14:]:
        (root / "f" / name).write_bytes(data)
    return root / "f"


def as_zip(root: Path) -> Path:
    with zipfile.ZipFile(root / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, _, data in IMAGES:
            archive.writestr(name, data)
    return root / "a.zip"


def as_list(root: Path) -> Path:
    folder = as_folder(root)
    (folder / "image_path_list.txt").write_text("\n".join(name for name, _, _ in IMAGES))
    return folder / "image_path_list.txt"


def as_csv(root: Path) -> Path:
    folder = as_folder(root)
    rows = pd.DataFrame(IMAGES, columns=["path", "label", "data"])
    rows[["label", "path"]].to_csv(folder / "faces.csv", index=False)
    return folder / "faces.csv"


def as_saved(root: Path) -> Path:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["0", "1", "2"])})
    columns = {
        "image": [{"bytes": data, "path": name.rpartition("/")[2]} for name, _, data in IMAGES],
        "label": [int(label) for _, label, _ in IMAGES],
    }
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(root / "saved", num_shards=2)
    return root / "saved"


def as_hive(root: Path) -> Path:
    table = pa.table({"image": [data for _, _, data in IMAGES], "label": [label for _, label, _ in IMAGES]})
    pq.write_to_dataset(table, root / "hive", partition_cols=["label"])
    return root / "hive"


def as_brace_shards(root: Path) -> str:
    for number, part in enumerate((FACES[:6], FACES[6:])):
        (root / str(number)).mkdir()
        write_webdataset(root / str(number) / "%06d.tar", part)
    return f"{root}/{{0..1}}/000000.tar"


def told(output: Path) -> list[tuple[object, ...]]:
    table = pd.read_parquet(output / "quality").sort_values(["sha256", "label"])
    columns = ["sha256", "label", "status", "quality", "width", "height"]
    return [
        tuple(None if pd.isna(value) else value for value in row) for row in table[columns].astype(object).to_numpy()
    ]


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> list[tuple[object, ...]]:
    root = tmp_path_factory.mktemp("alike")
    assert run(["--input", str(as_folder(root)), "--output", str(root / "out")], MeanScorerSource()) == 0
    return told(root / "out")


@pytest.mark.parametrize("make", [as_zip, as_list, as_csv, as_saved, as_hive, as_brace_shards])
def test_every_container_gives_the_table_of_the_folder(tmp_path, make, expected):
    output = tmp_path / "out"
    arguments = ["--input", str(make(tmp_path)), "--output", str(output), "--unit-size", "5"]
    assert run(arguments, MeanScorerSource()) == 0
    if make is as_brace_shards:
        shas = {row[0] for row in told(output)}
        assert told(output) == [row for row in expected if row[0] in shas]
        assert len(shas) == len(FACES)
        return
    assert told(output) == expected
    assert [row[2] for row in expected].count("scored") == len(IMAGES) - 1


@pytest.mark.parametrize("make", [as_zip, as_csv, as_saved])
def test_kept_images_of_it_are_written_as_other_formats_byte_for_byte(tmp_path, make):
    output = tmp_path / "out"
    assert run(["--input", str(make(tmp_path)), "--output", str(output)], MeanScorerSource()) == 0
    arguments = ["--quality", str(output), "--output", str(tmp_path / "kept"), "--write", "folder"]
    assert filter_dataset(arguments) == 0
    written = {path.read_bytes() for path in (tmp_path / "kept" / "subset" / "data").rglob("*") if path.is_file()}
    assert written == {data for _, _, data in IMAGES if data != BROKEN}


def test_members_of_an_archive_that_was_moved_are_found_in_its_new_place(tmp_path):
    (tmp_path / "old").mkdir()
    output = tmp_path / "out"
    uri = f"zip://*/*.png::{as_zip(tmp_path / 'old')}"
    assert run(["--input", uri, "--output", str(output)], MeanScorerSource()) == 0
    (tmp_path / "old").rename(tmp_path / "new")
    arguments = ["--quality", str(output), "--output", str(tmp_path / "kept"), "--write", "parquet"]
    assert filter_dataset([*arguments, "--moved", f"{tmp_path}/old={tmp_path}/new"]) == 0
    (part,) = (tmp_path / "kept" / "subset" / "data").glob("*.parquet")
    written = {row["image"]["bytes"] for row in pq.read_table(part).to_pylist()}
    assert written == {data for name, _, data in IMAGES if name.endswith(".png")}


def test_heic_without_its_package_is_unsupported_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    output = tmp_path / "out"
    assert run(["--input", str(as_folder(tmp_path)), "--output", str(output)], MeanScorerSource()) == 0
    table = pd.read_parquet(output / "quality").set_index("key")
    assert table.status["2/b.heic"] == "unsupported"
    assert ".[images]" in table.message["2/b.heic"]


@pytest.mark.parametrize("make", [as_zip, as_list])
def test_a_change_of_the_input_is_noticed_when_a_run_is_resumed(tmp_path, make, caplog):
    path, output = make(tmp_path), tmp_path / "out"
    arguments = ["--input", str(path), "--output", str(output)]
    assert run(arguments, MeanScorerSource()) == 0
    assert run([*arguments, "--resume"], MeanScorerSource()) == 0
    if make is as_zip:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("0/new.jpg", FACES[0].data)
    else:
        (path.parent / IMAGES[0][0]).write_bytes(FACES[1].data * 2)
    assert run([*arguments, "--resume"], MeanScorerSource()) == 2
    assert "--overwrite" in caplog.text
