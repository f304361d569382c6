"""Quality tables in a notebook: pandas, Arrow and DuckDB, with what the columns mean."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.tables import column_meanings, embedding_matrix, load_quality
from fiqa_core.tables.quality_files import TableError
from schemas.quality import COLUMNS, quality_schema


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A table of two files whose dictionaries of `status` differ, as a run of two units leaves them."""
    folder = tmp_path_factory.mktemp("scored")
    (folder / "quality").mkdir()
    schema = quality_schema("float16", 2, storage=False)
    for number, statuses in enumerate([["scored", "truncated"], ["empty", "scored"]]):
        rows = {
            "key": [f"{number}a", f"{number}b"],
            "quality": [0.5 if status == "scored" else None for status in statuses],
            "status": pa.array(statuses).dictionary_encode(),
            "embedding": pa.FixedSizeListArray.from_arrays(
                pa.array(np.array([number, 1, np.nan, np.nan], np.float16)), type=schema.field("embedding").type
            ),
        }
        columns = {name: rows.get(name, [None, None]) for name in schema.names} | {"shard": ["s", "s"], "index": [0, 1]}
        pq.write_table(pa.table(columns, schema=schema), folder / "quality" / f"part-{number:06d}.parquet")
    return str(folder)


def test_pandas_has_statuses_as_categories_and_says_what_columns_mean(scored):
    frame = load_quality(scored)
    assert frame.status.tolist() == ["scored", "truncated", "empty", "scored"]
    assert set(frame.status.cat.categories) == {"scored", "truncated", "empty"}
    assert frame.attrs["columns"]["quality"]["direction"] == "higher = more useful for face recognition"
    assert frame.attrs["columns"]["width"] == {"description": COLUMNS["width"], "unit": "pixels"}
    assert "embedding" not in frame


def test_arrow_has_it_in_the_fields_metadata(scored):
    table = load_quality(scored, ["key", "quality"], to="arrow")
    assert table.column_names == ["key", "quality"]
    assert table.schema.field("quality").metadata[b"direction"] == b"higher = more useful for face recognition"


def test_columns_of_measures_keep_description_unit_and_direction():
    meanings = column_meanings(["resolution", "pose_yaw", "natural_colour_quality"])
    assert meanings["resolution"]["unit"] == "pixels, 1..112"
    assert meanings["pose_yaw"]["direction"] == "nearer to 0 = better"
    assert meanings["natural_colour_quality"]["direction"] == "higher = better"
    assert all(meaning["description"] for meaning in meanings.values())


def test_duckdb_asks_all_files_at_once(scored):
    counted = load_quality(scored, to="duckdb").aggregate("status::varchar as status, count(*) as n").order("status")
    assert counted.fetchall() == [("empty", 1), ("scored", 2), ("truncated", 1)]


def test_whole_numbers_with_gaps_stay_whole_in_pandas(tmp_path):
    phash = [2**63 + 1, None]
    pq.write_table(pa.table({"key": ["a", "b"], "phash": pa.array(phash, pa.uint64())}), tmp_path / "q.parquet")
    frame = load_quality(tmp_path / "q.parquet")
    assert frame.phash.dtype == "UInt64"
    assert int(frame.phash[0]) == phash[0]
    assert frame.phash.isna().tolist() == [False, True]


def test_what_columns_mean_can_be_asked_without_a_table():
    assert column_meanings(["width"]) == {"width": {"description": COLUMNS["width"], "unit": "pixels"}}
    assert set(column_meanings()) == set(COLUMNS)


def test_embeddings_are_one_matrix_with_nan_where_there_is_none(scored):
    found = embedding_matrix(scored)
    np.testing.assert_array_equal(found, np.array([[0, 1], [np.nan] * 2, [1, 1], [np.nan] * 2], np.float32))


def test_what_is_not_there_is_said(scored, tmp_path):
    with pytest.raises(TableError, match="has no column 'score'; it has key, shard"):
        load_quality(scored, ["score"])
    with pytest.raises(TableError, match="no such file or folder"):
        load_quality(str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="expected one of pandas, arrow, duckdb"):
        load_quality(scored, to="polars")


def test_tables_of_an_earlier_schema_and_of_this_one_are_read_together(tmp_path):
    row = {"key": ["a"], "quality": pa.array([0.5], pa.float32())}
    old = {"sha256": pa.array([b"1" * 32], pa.binary(32)), "phash": pa.array([2**63 + 1], pa.uint64())}
    new = {"sha256": pa.array([b"2" * 32], pa.binary()), "phash": pa.array(["00000000000000ff"])}
    pq.write_table(pa.table(row | old), tmp_path / "1.parquet")
    pq.write_table(pa.table(row | new), tmp_path / "2.parquet")
    frame = load_quality(tmp_path)
    assert frame.phash.tolist() == ["8000000000000001", "00000000000000ff"]
    assert frame.sha256.tolist() == [b"1" * 32, b"2" * 32]
