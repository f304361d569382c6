"""Single records and samples of zip archives, lists and Arrow files: as a whole reading gives them."""

import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from fiqa_core.runs.plan import plan_dataset
from fiqa_core.shards.formats import container_of
from fiqa_core.shards.unit import ReadSettings
from tests.makers.containers import face_records, write_folder

FACES = face_records(20, size=24)


def as_zip(root: Path) -> Path:
    with zipfile.ZipFile(root / "a.zip", "w") as archive:
        for face in FACES:
            archive.writestr(f"{face.label}/{face.name}", b"" if face.key.endswith("7") else face.data)
            archive.writestr(f"{face.key}.txt", "beside")
    return root / "a.zip"


def as_broken_zip(root: Path) -> Path:
    data = as_zip(root).read_bytes()
    (root / "b.zip").write_bytes(data[: int(len(data) * 0.7)])
    return root / "b.zip"


def as_list(root: Path) -> Path:
    write_folder(root, FACES)
    lines = ["path,label", *(f"{face.label}/{face.name},{face.key}" for face in FACES[:15]), "../x.jpg,a", "none.jpg,b"]
    (root / "a.csv").write_text("\n".join(lines))
    return root / "a.csv"


def as_arrow(root: Path) -> Path:
    value = pa.table({"image": [face.data for face in FACES], "key": [face.key for face in FACES]})
    with pa.ipc.new_stream(str(root / "a.arrow"), value.schema) as writer:
        writer.write_table(value, max_chunksize=6)
    return root / "a.arrow"


@pytest.mark.parametrize("make", [as_zip, as_broken_zip, as_list, as_arrow])
@pytest.mark.parametrize("unit_size", [4, 100])
def test_single_records_and_samples_are_those_of_a_whole_reading(tmp_path, make, unit_size):
    (tmp_path / "in").mkdir()
    path, settings = make(tmp_path / "in"), ReadSettings()
    for unit in plan_dataset([str(path)], "auto", unit_size, str(tmp_path / "plan")).units:
        kind = container_of(unit)
        rows = [row._replace(reached=0) for row in kind.read(unit, settings)]
        for step in (1, 2, 5):
            wanted = [row.index for row in rows][::step]
            found = [row._replace(reached=0) for row in kind.read_at(unit, settings, [*wanted, 10_000])]
            assert found == [row for row in rows if row.index in wanted and (row.key is not None or row in found)]
            sample = [
                row._replace(reached=0) for row in kind.read_places(unit, settings, iter(range(0, len(rows), step)))
            ]
            assert [row for row in sample if row.key is not None] == [
                row for place, row in enumerate(rows) if place % step == 0 and row.key is not None
            ]
