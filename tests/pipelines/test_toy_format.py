"""A format that is registered by one line goes through score, filter and every --write; no other file knows it."""

import ast
import csv
import json
import random
import re
import sys
import tarfile
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from fiqa_core.shards import formats
from pipelines.filter_dataset import EXIT_BAD_INPUT, run
from pipelines.score_dataset import run as score_dataset
from tests.fakes import MeanScorerSource
from tests.makers.containers import face_records, samples, write_tar
from tests.makers.recordio import read_rec
from tests.makers.toy_format import BareToy, Toy, unpacked, write_toy
from tests.packaging.project import extras

ROOT = Path(__file__).parents[2]
FORMATS = ("webdataset", "recordio", "parquet", "folder")
COUNT = 40


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> Path:
    """`in`: two shards of the toy format with a copy and a broken image; `out`: the table of their scores."""
    root = tmp_path_factory.mktemp("toy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(formats.CONTAINERS, "toy", Toy())
        records = [(f"p/{r.name}", f"id {r.label}", r.data) for r in face_records(COUNT, size=24)]
        random.Random(2).shuffle(records)
        records += [("copy.png", records[3][1], records[3][2]), ("broken.jpg", "id 0", b"no image")]
        write_toy(root / "in" / "a.toy", records[:17])
        write_toy(root / "in" / "b.toy", records[17:])
        (root / "in" / "a.toyindex").write_bytes(b"a companion is no record")
        arguments = ["--input", str(root / "in"), "--output", str(root / "out"), "--unit-size", "5"]
        assert score_dataset(arguments, MeanScorerSource()) == 0
    return root


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """The one line."""
    monkeypatch.setitem(formats.CONTAINERS, "toy", Toy())


def stored(root: Path) -> dict[bytes, tuple[str, str | None]]:
    """Key and label of each image of the input; of copies the first."""
    found: dict[bytes, tuple[str, str | None]] = {}
    for path in sorted((root / "in").glob("*.toy")):
        for key, label, data in unpacked(path.read_bytes()):
            found.setdefault(data, (key, label))
    return found


def filtered(root: Path, output: Path, *more: object) -> int:
    policy = ["--drop-worst", "0.2", "--exact-duplicates", "all"]
    return run(["--quality", str(root / "out"), "--output", str(output), *policy, *map(str, more)])


def read_back(kind: str, data: Path) -> list[bytes]:
    """Stored bytes of all images, by readers that share nothing with the product."""
    if kind in ("toy", "same"):
        return [image for p in sorted(data.glob("*.toy")) for _, _, image in unpacked(p.read_bytes())]
    if kind == "webdataset":
        found = []
        for path in sorted(data.glob("*.tar")):
            with tarfile.open(path) as tar:
                found += [tar.extractfile(m).read() for m in tar.getmembers() if not m.name.endswith(".cls")]
        return found
    if kind == "parquet":
        return [row["image"]["bytes"] for p in sorted(data.glob("*.parquet")) for row in pq.read_table(p).to_pylist()]
    if kind == "recordio":
        return [image for _, image in read_rec((data / "train.rec").read_bytes()).values() if image]
    return [path.read_bytes() for path in data.rglob("*") if path.is_file()]


def test_a_registered_format_is_planned_in_units_and_every_record_of_it_is_a_row(scored):
    units = pq.read_table(scored / "out" / "plan" / "units.parquet").to_pylist()
    assert {unit["container"] for unit in units} == {"toy"}
    assert [unit["records"] for unit in units] == [5, 5, 5, 2, 5, 5, 5, 5, 5]
    table = pd.read_parquet(scored / "out" / "quality")
    assert len(table) == COUNT + 2
    assert table.status.astype(str).value_counts().to_dict() == {"scored": COUNT + 1, "not_an_image": 1}
    images = [record for p in sorted((scored / "in").glob("*.toy")) for record in unpacked(p.read_bytes())]
    assert list(zip(table.key, table.label, strict=True)) == [(key, label) for key, label, _ in images]


@pytest.mark.parametrize("kind", ["same", "toy", *FORMATS])
def test_a_registered_format_is_filtered_and_written_byte_for_byte_as_every_format(scored, tmp_path, kind):
    assert filtered(scored, tmp_path / "o", "--write", kind, "--shard-size", 7) == 0
    decisions = pd.read_parquet(tmp_path / "o" / "decisions")
    kept = decisions[decisions.keep]
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert len(decisions) == COUNT + 2
    assert (decisions.reason.astype(str) == "duplicate_exact").sum() == 1
    assert summary["kept"] == summary["subset"]["images"] == len(kept) < COUNT
    assert summary["rows"] == summary["kept"] + sum(summary["dropped"].values())
    expected = sorted(data for data, (key, _) in stored(scored).items() if key in set(kept.key))
    assert sorted(read_back(kind, tmp_path / "o" / "subset" / "data")) == expected
    assert summary["subset"]["format"] == ("toy" if kind == "same" else kind)
    index = pd.read_parquet(tmp_path / "o" / "subset" / "index")
    assert sorted(index.key) == sorted(kept.key)


@pytest.mark.parametrize("kind", sorted(set(formats.output_formats()) - {"same", *FORMATS}))
def test_every_other_format_that_is_written_is_read_back_with_the_same_bytes(scored, tmp_path, kind):
    assert filtered(scored, tmp_path / "o", "--write", kind, "--shard-size", 9) == 0
    kept = pd.read_parquet(tmp_path / "o" / "decisions").query("keep")
    arguments = ["--input", str(tmp_path / "o" / "subset" / "data"), "--output", str(tmp_path / "again")]
    assert score_dataset(arguments, MeanScorerSource()) == 0
    again = pd.read_parquet(tmp_path / "again" / "quality")
    assert sorted(zip(again.sha256, again.label, strict=True)) == sorted(zip(kept.sha256, kept.label, strict=True))


def test_a_registered_format_is_listed_as_a_manifest(scored, tmp_path):
    assert filtered(scored, tmp_path / "o", "--write", "manifest") == 0
    listed = pd.read_parquet(tmp_path / "o" / "manifest")
    kept = pd.read_parquet(tmp_path / "o" / "decisions").query("keep")
    assert list(listed.key) == list(kept.key)
    removed = list(csv.DictReader((tmp_path / "o" / "removed.csv").open()))
    assert len(listed) + len(removed) == COUNT + 2


def test_other_formats_are_written_as_the_registered_one_resumed_and_overwritten(tmp_path):
    records = face_records(20, size=24)
    (tmp_path / "in").mkdir()
    write_tar(tmp_path / "in" / "s.tar", samples(records))
    arguments = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--unit-size", "5"]
    assert score_dataset(arguments, MeanScorerSource()) == 0
    assert filtered(tmp_path, tmp_path / "o", "--write", "toy", "--shard-size", 6, "--relabel") == 0
    data = tmp_path / "o" / "subset" / "data"
    files = {path.name: path.read_bytes() for path in data.iterdir()}
    assert sorted(files) == ["shard-000000.toy", "shard-000001.toy", "shard-000002.toy"]
    labels = {record.data: str(record.label) for record in records}
    written = [record for data in files.values() for record in unpacked(data)]
    assert len(written) == 16
    assert all(labels[image] == label for _, label, image in written)
    (data / "shard-000001.toy").unlink()
    assert filtered(tmp_path, tmp_path / "o", "--write", "toy", "--shard-size", 6, "--relabel", "--resume") == 0
    summary = json.loads((tmp_path / "o" / "subset" / "summary.json").read_text())
    assert (summary["images"], summary["images_now"]) == (16, 6)
    assert {path.name: path.read_bytes() for path in data.iterdir()} == files
    assert filtered(tmp_path, tmp_path / "o", "--write", "toy", "--shard-size", 8, "--overwrite") == 0
    assert len(list(data.iterdir())) == 2


def test_a_task_enters_a_unit_where_its_first_record_is(scored, tmp_path, monkeypatch):
    entered: list[int] = []
    monkeypatch.setitem(formats.CONTAINERS, "toy", Toy(entered.append))
    assert filtered(scored, tmp_path / "o", "--write", "toy", "--shard-size", 3) == 0
    firsts = {unit["first_index"] for unit in pq.read_table(scored / "out" / "plan" / "units.parquet").to_pylist()}
    assert set(entered) - firsts


def test_a_format_of_name_plan_and_read_alone_is_scored_and_written_as_others_and_not_as_itself(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setitem(formats.CONTAINERS, "bare", BareToy())
    records = [(r.name, f"id {r.label}", r.data) for r in face_records(12, size=24)]
    write_toy(tmp_path / "in" / "x.bare", records)
    arguments = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--format", "bare"]
    assert score_dataset(arguments, MeanScorerSource()) == 0
    for kind in FORMATS:
        assert filtered(tmp_path, tmp_path / kind, "--write", kind, "--shard-size", 4) == 0
        images = read_back(kind, tmp_path / kind / "subset" / "data")
        assert len(images) == len(set(images)) == 10
        assert set(images) <= {data for _, _, data in records}
    assert filtered(tmp_path, tmp_path / "same", "--write", "same") == EXIT_BAD_INPUT
    assert "the format bare, which is only read" in caplog.text
    with pytest.raises(SystemExit):
        filtered(tmp_path, tmp_path / "bare", "--write", "bare")
    assert not (tmp_path / "same").exists()


def test_a_format_whose_package_is_missing_is_refused_before_anything_is_written(scored, tmp_path, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    assert filtered(scored, tmp_path / "o", "--write", "lmdb") == EXIT_BAD_INPUT
    assert "pip install" in caplog.text
    assert not (tmp_path / "o").exists()


def test_a_plan_of_a_format_that_is_not_registered_is_refused_by_name(scored, tmp_path, caplog, monkeypatch):
    monkeypatch.delitem(formats.CONTAINERS, "toy")
    assert filtered(scored, tmp_path / "o", "--write", "parquet") == EXIT_BAD_INPUT
    assert re.search(r"a\.toy: planned as the format 'toy', which this version does not know", caplog.text)
    assert not (tmp_path / "o").exists()
    assert filtered(scored, tmp_path / "listed", "--write", "manifest") == 0


def test_a_label_field_is_refused_where_the_registered_format_has_none(tmp_path, caplog):
    write_toy(tmp_path / "in" / "x.toy", [("a", "b", b"c")])
    arguments = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--label-field", "person"]
    assert score_dataset(arguments, MeanScorerSource()) == EXIT_BAD_INPUT
    assert "the format toy has none: its labels are the records' own labels" in caplog.text


def test_errors_name_the_suffixes_of_the_registered_format(tmp_path, caplog):
    (tmp_path / "x.toyy").write_bytes(b"")
    arguments = ["--input", str(tmp_path / "x.toyy"), "--output", str(tmp_path / "out")]
    assert score_dataset(arguments, MeanScorerSource()) == EXIT_BAD_INPUT
    said = caplog.text
    assert "Did you mean .toy?" in said
    assert re.search(r"Expected .*\.toy\b", said)


# What is made of one format for good: it does not have to know any other.
OF_ONE_FORMAT = {
    Path("fiqa_core/scoring/crop_shard.py"): "aligned crops are written as tars",
    Path("fiqa_core/evaluation/pairs.py"): "verification sets hold pairs",
    Path("fiqa_core/evaluation/benchmark_folder.py"): "verification sets hold pairs",
    Path("fiqa_core/tables/notebook.py"): "tables are given as Arrow, which is no format of images",
}


def test_a_format_is_named_in_its_own_folder_and_in_the_registry_only():
    """No comparison with a format's name, and no import of its modules, stands anywhere else."""
    names = set(formats.CONTAINERS) - {"toy"}
    found = []
    for path in sorted(p for room in ("fiqa_core", "transforms", "pipelines") for p in (ROOT / room).rglob("*.py")):
        relative = path.relative_to(ROOT)
        own = relative.parts[2] if relative.parts[:2] == ("fiqa_core", "shards") else ""
        if relative == Path("fiqa_core/shards/formats.py") or relative in OF_ONE_FORMAT:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                room, _, module = node.module.rpartition("fiqa_core.shards.")
                if not room and module.partition(".")[0] in names - {own} and node.module != module:
                    found.append(f"{relative}:{node.lineno} imports {node.module}")
            # A table of extras (onnx, lmdb ...) is not one of formats.
            if isinstance(node, ast.Dict) and names & _keys(node) - {own} and not _keys(node) <= set(extras()):
                found.append(f"{relative}:{node.lineno} has a table of formats {ast.unparse(node)[:80]}")
            if isinstance(node, ast.Compare) and names & _compared(node) - {own}:
                found.append(f"{relative}:{node.lineno} compares {ast.unparse(node)}")
    assert found == []


def _compared(node: ast.Compare) -> set[str]:
    """Texts that something is compared with; not where it is `.kind` (of a file, of a table of embeddings)."""
    if isinstance(node.left, ast.Attribute) and node.left.attr == "kind":
        return set()
    sides = [node.left, *node.comparators]
    return {each.value for side in sides for each in ast.walk(side) if isinstance(each, ast.Constant)}


def _keys(node: ast.Dict) -> set[str]:
    return {key.value for key in node.keys if isinstance(key, ast.Constant)}
