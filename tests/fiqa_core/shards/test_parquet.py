"""Rows of Parquet as records: which column is what, and text that is not UTF-8."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.shards.parquet.reader import ColumnError, Parquet
from fiqa_core.shards.unit import ReadSettings, Record, Unit
from fiqa_core.storage import StoredFile

IMAGES = [b"one", b"two", None]


def written(path: Path, columns: dict[str, pa.Array]) -> StoredFile:
    pq.write_table(pa.table(columns), path)
    return StoredFile("given.parquet", str(path), path.stat().st_size, "")


def plan(file: StoredFile, settings: ReadSettings | None = None) -> list[Unit]:
    return list(Parquet().plan(file, 1000, settings))


def records(path: Path, columns: dict[str, pa.Array], settings: ReadSettings = ReadSettings()) -> list[Record]:  # noqa: B008
    (unit,) = plan(written(path, columns))
    return list(Parquet().read(unit, settings))


def not_utf8(*values: bytes | None) -> pa.Array:
    """A string column of bytes that are none, as writers that do not check leave it."""
    return pa.array(values, pa.binary()).view(pa.string())


IMAGE_COLUMNS = {
    "binary": pa.array(IMAGES, pa.binary()),
    "large_binary": pa.array(IMAGES, pa.large_binary()),
    "binary_view": pa.array(IMAGES, pa.binary_view()),
    "dictionary": pa.array(IMAGES, pa.binary()).dictionary_encode(),
    "struct": pa.array([{"bytes": v} for v in IMAGES], pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    "struct of views": pa.array([{"bytes": v} for v in IMAGES], pa.struct([("bytes", pa.binary_view())])),
}


@pytest.mark.parametrize("column", IMAGE_COLUMNS.values(), ids=IMAGE_COLUMNS.keys())
def test_image_bytes_are_read_from_every_kind_of_binary_column(tmp_path, column):
    found = records(tmp_path / "a.parquet", {"image": column})
    assert [r.data for r in found] == IMAGES
    assert [r.fault.status.value if r.fault else "ok" for r in found] == ["ok", "ok", "missing_image"]


LABEL_COLUMNS = {
    "string": (pa.array(["a", "b", None]), ["a", "b", None]),
    "large_string": (pa.array(["a", "b", None], pa.large_string()), ["a", "b", None]),
    "string_view": (pa.array(["a", "b", None], pa.string_view()), ["a", "b", None]),
    "pandas categorical": (pa.array(["a", "b", None]).dictionary_encode(), ["a", "b", None]),
    "categorical of integers": (pa.array([7, 8, None]).dictionary_encode(), ["7", "8", None]),
    "binary": (pa.array([b"a", b"\xff", None]), ["a", "\\xff", None]),
    "integers": (pa.array([7, -8, None]), ["7", "-8", None]),
    "floats of integers": (pa.array([7.0, float("nan"), None]), ["7", None, None]),
    "other floats": (pa.array([0.5, float("inf"), -0.0]), ["0.5", "inf", "0"]),
    "half floats": (pa.array([7.0, 0.5, None], pa.float16()), ["7", "0.5", None]),
    "nothing at all": (pa.nulls(3), [None, None, None]),
    "not UTF-8": (not_utf8(b"\xff\xfe", b"b", None), ["\\xff\\xfe", "b", None]),
    "categorical, not UTF-8": (not_utf8(b"\xff\xfe", b"b", None).dictionary_encode(), ["\\xff\\xfe", "b", None]),
}


@pytest.mark.parametrize(("column", "labels"), LABEL_COLUMNS.values(), ids=LABEL_COLUMNS.keys())
@pytest.mark.parametrize("named", [False, True], ids=["found", "named"])
def test_labels_are_read_from_every_kind_of_text_and_number_column(tmp_path, column, labels, named):
    name = "who" if named else "identity"
    table = {"image": pa.array(IMAGES), name: column}
    found = records(tmp_path / "a.parquet", table, ReadSettings(label_field=name if named else ""))
    assert [r.label for r in found] == labels


def test_a_key_that_is_not_utf8_costs_no_row(tmp_path):
    found = records(tmp_path / "a.parquet", {"image": pa.array(IMAGES), "path": not_utf8(b"a", b"\xff", None)})
    assert [(r.key, r.data) for r in found] == [("a", b"one"), ("\\xff", b"two"), ("2", None)]


def test_a_path_in_the_struct_that_is_not_utf8_costs_no_row(tmp_path):
    image = pa.StructArray.from_arrays([pa.array(IMAGES), not_utf8(b"a", b"\xff", b"\xfe")], ["bytes", "path"])
    found = records(tmp_path / "a.parquet", {"image": image})
    assert [r.key for r in found] == ["a", "\\xff", "\\xfe"]
    assert "files outside the table are not read" in found[2].fault.message


def test_long_keys_and_labels_are_shortened_and_stay_apart(tmp_path):
    long = pa.array(["x" * 100_000 + end for end in "abc"])
    found = records(tmp_path / "a.parquet", {"image": pa.array(IMAGES), "key": long, "label": long})
    assert [len(r.key) for r in found] == [4096] * 3
    assert [len(r.label) for r in found] == [1024] * 3
    assert len({r.key for r in found}) == len({r.label for r in found}) == 3
    assert "100001 characters" in found[0].note


def test_an_image_over_the_limit_is_hashed(tmp_path):
    found = records(tmp_path / "a.parquet", {"image": pa.array([b"abc", b"abcd"])}, ReadSettings(max_stored_bytes=3))
    assert [r.data for r in found] == [b"abc", None]
    assert found[1].fault.status.value == "too_large"
    assert found[1].sha256 == hashlib.sha256(b"abcd").digest()


NO_IMAGE = {
    "list of bytes": pa.array([[b"x"]], pa.list_(pa.binary())),
    "list<uint8>": pa.array([[1, 2]], pa.list_(pa.uint8())),
    "string": pa.array(["x"]),
    "struct without bytes": pa.array([{"data": b"x"}]),
}


@pytest.mark.parametrize("column", NO_IMAGE.values(), ids=NO_IMAGE.keys())
def test_a_file_without_an_image_column_is_refused_when_it_is_planned(tmp_path, column):
    file = written(tmp_path / "a.parquet", {"image": column, "label": pa.array([1])})
    with pytest.raises(ColumnError) as caught:
        plan(file, ReadSettings())
    message = str(caught.value)
    assert message.startswith("given.parquet: ")
    assert f"image ({pq.read_schema(file.url).field('image').type})" in message
    assert "Store the images' files as binary" in message


def test_two_columns_that_could_be_the_image_are_refused_until_one_is_named(tmp_path):
    file = written(tmp_path / "a.parquet", {"left": pa.array([b"x"]), "right": pa.array([b"y"])})
    with pytest.raises(ColumnError, match=r"found 2.*--image-field"):
        plan(file, ReadSettings())
    (unit,) = plan(file, ReadSettings(image_field="right"))
    assert [r.data for r in Parquet().read(unit, ReadSettings(image_field="right"))] == [b"y"]


@pytest.mark.parametrize("name", ["nosuch", "age", "twice"])
def test_a_named_column_that_is_missing_or_of_no_use_is_refused_when_it_is_planned(tmp_path, name):
    arrays = [pa.array([b"x"]), pa.array([[1]]), pa.array(["a"]), pa.array(["b"])]
    pq.write_table(pa.Table.from_arrays(arrays, names=["image", "age", "twice", "twice"]), tmp_path / "a.parquet")
    file = StoredFile("given.parquet", str(tmp_path / "a.parquet"), 1, "")
    for settings in (ReadSettings(label_field=name), ReadSettings(image_field=name)):
        with pytest.raises(ColumnError, match=rf"given\.parquet: '{name}' cannot be .*Columns: image \(binary\), age"):
            plan(file, settings)


def test_the_image_column_is_never_taken_for_the_label(tmp_path):
    assert [r.label for r in records(tmp_path / "a.parquet", {"id": pa.array([b"x"])})] == [None]


def test_read_without_that_check_the_file_is_one_row_that_says_why(tmp_path):
    (record,) = records(tmp_path / "a.parquet", {"image": pa.array(["x", "y"])})
    assert (record.key, record.index, record.fault.status.value) == (None, 0, "shard_unreadable")
    assert "image (string)" in record.fault.message
