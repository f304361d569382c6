"""Where the identities of a Parquet dataset are: any type of column, any case, the path, and never a row's number."""

import datetime
import decimal
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.runs.plan import plan_dataset
from fiqa_core.shards.formats import PlanError
from fiqa_core.shards.parquet.reader import ColumnError, Parquet
from fiqa_core.shards.parquet.row_numbers import _LOOKED_AT
from fiqa_core.shards.unit import ReadSettings, Record


def write(path: Path, columns: dict[str, object], rows: int = 4, metadata: dict[str, str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"image": pa.array([b"x"] * rows)} | columns)
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def read(source: Path, tmp_path: Path, **settings: str) -> list[Record]:
    read = ReadSettings(**settings)
    units = plan_dataset([str(source)], "auto", 1000, str(tmp_path / "work"), read).units
    return [record for unit in units for record in Parquet().read(unit, read)]


def labels(source: Path, tmp_path: Path, **settings: str) -> list[str | None]:
    return [record.label for record in read(source, tmp_path, **settings)]


DAY = datetime.date(2020, 2, 3)
COLUMNS = {
    "whole decimals": (pa.array([decimal.Decimal(3), decimal.Decimal(-4), None, None]), ["3", "-4"]),
    "decimals with a point": (pa.array([decimal.Decimal("3.00"), decimal.Decimal("3.50"), None, None]), ["3", "3.5"]),
    "wide decimals": (pa.array([decimal.Decimal(10**40), None, None, None], pa.decimal256(50, 0)), [str(10**40), None]),
    "large integers": (pa.array([2**64 - 1, 2**53 + 1, None, None], pa.uint64()), [str(2**64 - 1), str(2**53 + 1)]),
    "booleans": (pa.array([True, False, None, None]), ["true", "false"]),
    "dates": (pa.array([DAY, None, None, None]), ["2020-02-03", None]),
    "times": (pa.array([10**9 * 5 + 1, None, None, None], pa.timestamp("ns")), ["1970-01-01 00:00:05.000000001", None]),
    "float32": (pa.array([0.1, 7.0, None, None], pa.float32()), ["0.1", "7"]),
    "fixed bytes": (pa.array([b"ab", b"\xff\x00", None, None], pa.binary(2)), ["ab", "\\xff\x00"]),
    "categorical of decimals": (pa.array([decimal.Decimal(3), None, None, None]).dictionary_encode(), ["3", None]),
}  # fmt: skip


@pytest.mark.parametrize(("column", "expected"), COLUMNS.values(), ids=COLUMNS.keys())
def test_a_label_of_any_plain_type_is_read(tmp_path, column, expected):
    found = labels(write(tmp_path / "a.parquet", {"label": column}), tmp_path)
    assert [None if label is None else label.replace("T", " ") for label in found] == [*expected, None, None]


def test_columns_are_found_in_any_case(tmp_path):
    pq.write_table(pa.table({"Image": [b"x"], "Label": [3], "File_Name": ["a.jpg"]}), tmp_path / "a.parquet")
    (record,) = read(tmp_path / "a.parquet", tmp_path)
    assert (record.data, record.label, record.key) == (b"x", "3", "a.jpg")


def classes(names: list[str]) -> dict[str, str]:
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    return {"huggingface": json.dumps({"info": {"features": features}})}


def test_a_class_label_is_its_name_and_the_numbers_are_written_down(tmp_path):
    path = write(tmp_path / "a.parquet", {"label": [1, 0, -1, 7]}, 4, classes(["Zoe", "Ann"]))
    assert labels(path, tmp_path) == ["Ann", "Zoe", None, "7"]
    written = json.loads((tmp_path / "work" / "class_labels.json").read_text())
    assert written == {"column": "label", "names": ["Zoe", "Ann"]}


@pytest.mark.parametrize("metadata", [{"huggingface": "{"}, {"huggingface": "[]"}, classes(["a", "a"]), classes([])])
def test_class_names_that_are_damaged_or_not_unique_leave_the_numbers(tmp_path, metadata):
    assert labels(write(tmp_path / "a.parquet", {"label": [1, 0, 1, 0]}, 4, metadata), tmp_path) == ["1", "0", "1", "0"]


def test_a_hive_partition_is_the_label_with_its_percent_encoding_undone(tmp_path):
    root = tmp_path / "set"
    for folder in ("label=Ann%20Lee%2F2", "label=__HIVE_DEFAULT_PARTITION__", "label=3"):
        write(root / folder / "a.parquet", {"id": [1, 1]}, 2)
    found = read(root, tmp_path)
    assert [r.label for r in found] == ["3", "3", "Ann Lee/2", "Ann Lee/2", None, None]
    assert found[0].label_from == "folder names label=..."


def test_a_column_goes_before_a_partition_of_the_same_name_and_either_can_be_named(tmp_path):
    path = write(tmp_path / "label=a" / "who=b" / "f.parquet", {"label": ["c"] * 4})
    assert labels(path, tmp_path) == ["c"] * 4
    assert labels(path, tmp_path, label_field="who") == ["b"] * 4
    with pytest.raises(ColumnError, match="nosuch"):
        labels(path, tmp_path, label_field="nosuch")


def test_a_column_that_numbers_the_rows_is_no_identity_unless_named(tmp_path, caplog):
    path = write(tmp_path / "a.parquet", {"id": ["r1", "r2", "r3", "r4"], "person": ["p", "p", "q", "q"]})
    found = read(path, tmp_path)
    assert [(r.label, r.label_from) for r in found] == [(None, "person")] * 4
    assert "column 'id' has another value in every row" in caplog.text
    assert "person" in caplog.text
    assert labels(path, tmp_path, label_field="id") == ["r1", "r2", "r3", "r4"]


def test_the_next_column_is_taken_where_the_first_numbers_rows_in_all_shards_alike(tmp_path):
    write(tmp_path / "set" / "a.parquet", {"id": [1, 2, 3, 4], "subject": ["p", "p", "q", "q"]})
    write(tmp_path / "set" / "b.parquet", {"id": [1, 2, 3, 4], "subject": ["q", "p", "q", "q"]})
    assert labels(tmp_path / "set", tmp_path) == ["p", "p", "q", "q", "q", "p", "q", "q"]


def test_an_id_with_a_value_twice_is_an_identity(tmp_path):
    assert labels(write(tmp_path / "a.parquet", {"id": [7, 7, 8, 9]}), tmp_path) == ["7", "7", "8", "9"]


def test_few_different_labels_are_kept_and_very_many_are_taken_for_numbers_of_rows(tmp_path, caplog):
    assert labels(write(tmp_path / "few.parquet", {"label": list("abcd")}), tmp_path) == ["a", "b", "c", "d"]
    many = write(tmp_path / "many.parquet", {"label": np.arange(_LOOKED_AT)}, _LOOKED_AT)
    plan_dataset([str(many)], "auto", 1000, str(tmp_path / "work"), ReadSettings())
    assert "column 'label' has another value in every row (20000 looked at)" in caplog.text


def test_a_huge_value_used_in_every_row_is_not_copied_for_each(tmp_path):
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 4000, pa.int32()), pa.array(["x" * (8 << 20)]))
    path = write(tmp_path / "a.parquet", {"label": column}, 4000)
    before = pa.total_allocated_bytes()
    plan_dataset([str(path)], "auto", 1000, str(tmp_path / "work"), ReadSettings())
    assert pa.default_memory_pool().max_memory() - before < 1 << 30  # 4,000 copies would be 32 GiB


def test_a_nested_label_is_named_and_not_used(tmp_path):
    path = write(tmp_path / "a.parquet", {"label": [[1]] * 4})
    (record, *_) = read(path, tmp_path)
    assert record.label is None
    assert record.label_from.startswith("label (list<")


@pytest.mark.parametrize("name", ["a/1.jpg", "1.jpg"])
def test_a_label_field_is_refused_for_a_folder(tmp_path, name):
    path = tmp_path / "faces" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    with pytest.raises(PlanError, match=r"--label-field 'who'.*folder has none"):
        plan_dataset([str(tmp_path / "faces")], "auto", 10, str(tmp_path / "work"), ReadSettings("who"))
