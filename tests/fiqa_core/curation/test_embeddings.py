"""Where embeddings come from, and what happens to those that cannot be used."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.curation.findings.embedding_join import match_embeddings
from fiqa_core.curation.findings.rows import read_rows
from fiqa_core.curation.findings.similarity import unit_rows
from fiqa_core.tables.embedding_files import EmbeddingSource, embedding_files, read_embedding_rows
from fiqa_core.tables.quality_files import TableError, find_parts
from tests.makers.embedded import people_images, write_quality


@pytest.fixture(scope="module")
def vectors():
    return people_images(4, 5, 8)[0]


@pytest.fixture
def plain(tmp_path):
    """A table of 20 rows without embeddings."""
    return find_parts([str(write_quality(tmp_path / "plain", ["a"] * 20, None, 7))])


def joined(source, parts):
    """What each row gets: (20, d), NaN without one; and the counts."""
    rows = read_rows(parts, sum(part.rows for part in parts))
    files = embedding_files(source, parts)
    number, rid, counts = match_embeddings(source, files, parts, rows)
    every = np.concatenate([values for file in files for _, values in read_embedding_rows(file, 0, file.rows)])
    found = np.full((len(rows.scored), every.shape[1]), np.nan, np.float32)
    found[rid] = every[number]
    return found, counts


def digests(rows):
    return [hashlib.sha256(b"%d" % row).digest() for row in rows]


def test_a_column_of_the_quality_tables_themselves(tmp_path, vectors):
    parts = find_parts([str(write_quality(tmp_path / "t", ["a"] * 20, vectors, 7))])
    found, counts = joined(EmbeddingSource(), parts)
    np.testing.assert_array_equal(found, vectors.astype(np.float16))
    assert counts["without_embedding"] == 0


def test_the_tables_of_an_embedding_run_join_by_the_stored_bytes(tmp_path, plain, vectors):
    order = np.random.default_rng(0).permutation(20)[:18]
    run = write_quality(tmp_path / "run", ["x"] * 18, vectors[order], 5, digests(order))
    found, counts = joined(EmbeddingSource("run", (str(run),)), plain)
    np.testing.assert_array_equal(found[order], vectors[order].astype(np.float16))
    assert counts["without_embedding"] == 2
    assert np.isnan(found).all(axis=1).sum() == 2


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float64(), 8), pa.large_list(pa.float16())])
def test_a_foreign_parquet_by_digest_in_hexadecimal(tmp_path, plain, vectors, kind):
    values = vectors.astype(kind.value_type.to_pandas_dtype())
    table = pa.table({"vec": pa.array(list(values), kind), "digest": [value.hex() for value in digests(range(20))]})
    pq.write_table(table, tmp_path / "f.parquet", row_group_size=6)
    source = EmbeddingSource("parquet", (str(tmp_path / "f.parquet"),), "vec", "sha256", "digest")
    np.testing.assert_allclose(joined(source, plain)[0], vectors, atol=1e-3)


def test_a_npy_with_a_text_file_of_keys(tmp_path, plain, vectors):
    np.save(tmp_path / "e.npy", vectors[::-1])
    (tmp_path / "keys.txt").write_text("".join(f"k{row}\n" for row in reversed(range(20))))
    source = EmbeddingSource("npy", (str(tmp_path / "e.npy"),), join="key", keys=str(tmp_path / "keys.txt"))
    np.testing.assert_array_equal(joined(source, plain)[0], vectors)
    (tmp_path / "keys.txt").write_text("k0\nk1\n")
    with pytest.raises(TableError, match=r"2 lines, .* has 20 rows"):
        joined(source, plain)
    np.save(tmp_path / "e.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(TableError, match=r"holds Python objects, not plain numbers"):
        joined(source, plain)


def test_equal_bytes_share_an_embedding_and_repeated_ones_are_counted(tmp_path, vectors):
    parts = find_parts([str(write_quality(tmp_path / "t", ["a"] * 4, None, 9, digests([0, 1, 0, 2])))])
    run = write_quality(tmp_path / "run", ["x"] * 3, vectors[:3], 5, digests([0, 0, 1]))
    found, counts = joined(EmbeddingSource("run", (str(run),)), parts)
    np.testing.assert_array_equal(found[[0, 2]], np.repeat(vectors[:1].astype(np.float16), 2, axis=0))
    assert counts["embeddings_repeated"] == 2
    assert counts["without_embedding"] == 1


def test_a_key_that_is_there_twice_cannot_join(tmp_path, plain, vectors):
    keys = [f"k{row}" for row in range(19)] + ["k0"]
    pq.write_table(pa.table({"embedding": list(vectors), "key": keys}), tmp_path / "f.parquet")
    with pytest.raises(TableError, match=r"key(s have| has) several embeddings"):
        joined(EmbeddingSource("parquet", (str(tmp_path / "f.parquet"),), join="key"), plain)


def test_embeddings_of_other_files_or_of_two_sizes_or_of_none_are_refused(tmp_path, plain, vectors):
    other = write_quality(tmp_path / "other", ["x"] * 20, vectors, 50, digests(range(100, 120)))
    with pytest.raises(TableError, match="none of its 20 embeddings belongs to a row"):
        joined(EmbeddingSource("run", (str(other),)), plain)
    more = write_quality(tmp_path / "more", ["x"] * 20, vectors[:, :4], 50)
    with pytest.raises(TableError, match=r"embeddings of 4 numbers, those of .* have 8"):
        embedding_files(EmbeddingSource("run", (str(other), str(more))), plain)
    with pytest.raises(TableError, match="no embeddings: no column 'embedding'"):
        embedding_files(EmbeddingSource(), plain)
    ragged = pa.table({"key": ["k0", "k1"], "embedding": [[1.0, 2.0], [1.0]]})
    pq.write_table(ragged, tmp_path / "ragged.parquet")
    with pytest.raises(TableError, match="lists of 2 and of 1 numbers"):
        joined(EmbeddingSource("parquet", (str(tmp_path / "ragged.parquet"),), join="key"), plain)


def test_unit_length_whatever_the_scale():
    rows = np.array([[3, 4], [3e38, 0], [1e-40, 0], [0, 0], [np.nan, 1], [np.inf, 1]], np.float32)
    unit, length = unit_rows(rows)
    np.testing.assert_allclose(unit[:3], [[0.6, 0.8], [1, 0], [1, 0]], atol=1e-6)
    assert length[0] == pytest.approx(5)
    assert length[3] == 0
    assert not np.isfinite(length[4:]).any()
