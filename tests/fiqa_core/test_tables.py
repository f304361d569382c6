"""Quality tables in a notebook: pandas, Arrow and DuckDB, with what the columns mean."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.curation.parts import TableError
from fiqa_core.tables import embedding_matrix, load_quality
from schemas.quality import COLUMNS, quality_schema


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A table of two files whose dictionaries of `status` differ, as a run of two units leaves them."""
    folder = tmp_path_factory.mktemp("scored")
    (folder / "quality").mkdir()
    schema = quality_schema("float16", 2)
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


def test_duckdb_asks_all_files_at_once(scored):
    counted = load_quality(scored, to="duckdb").aggregate("status::varchar as status, count(*) as n").order("status")
    assert counted.fetchall() == [("empty", 1), ("scored", 2), ("truncated", 1)]


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
