"""Which rows are placed: all with an embedding, or a sample of them; the others are counted by reason."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.atlas import points as module
from fiqa_core.atlas.points import order_of, read_points
from fiqa_core.tables.embedding_files import EmbeddingSource
from fiqa_core.tables.quality_files import TableError, find_parts
from tests.makers.embedded import people_images, write_quality


def embeddings(path: Path, digests: list[bytes], vectors: list) -> EmbeddingSource:
    pq.write_table(pa.table({"sha256": digests, "embedding": pa.array(vectors, pa.list_(pa.float32()))}), path)
    return EmbeddingSource("parquet", (str(path),))


def test_a_sample_is_the_same_for_every_block_size_and_another_for_another_seed(tmp_path, monkeypatch):
    vectors, _ = people_images(50, 6, dim=16)
    parts = find_parts([str(write_quality(tmp_path / "t", ["a"] * 300, vectors, rows_a_file=120))])
    whole = read_points(parts, EmbeddingSource(), 300, 0)
    assert (whole.usable, len(whole.rids), whole.left_out) == (300, 300, {})
    found = [read_points(parts, EmbeddingSource(), 40, seed) for seed in (3, 4)]
    monkeypatch.setattr("fiqa_core.tables.embedding_files._ROWS_AT_ONCE", 7)
    again = read_points(parts, EmbeddingSource(), 40, 3)
    assert np.array_equal(found[0].rids, again.rids)
    assert np.array_equal(found[0].vectors, again.vectors)
    assert not np.array_equal(found[0].rids, found[1].rids)
    assert (again.usable, again.rows) == (300, 300)
    expected = np.sort(np.argsort(order_of(np.arange(300), 3))[:40])
    assert np.array_equal(again.rids, expected)
    assert np.array_equal(again.vectors, whole.vectors[expected])


def test_a_sample_takes_every_row_with_the_same_chance():
    taken = np.zeros(500, int)
    for seed in range(400):
        taken[np.argsort(order_of(np.arange(500), seed))[:50]] += 1
    # 40 times each on average, standard deviation 6.
    assert abs(taken - 40).max() < 30
    assert 4.5 < taken.std() < 7.5


def test_no_more_embeddings_are_held_than_the_sample_and_a_block(tmp_path, monkeypatch):
    held = []
    prune = module._Held._prune
    monkeypatch.setattr(module._Held, "_prune", lambda self: (held.append(self._count), prune(self)))
    monkeypatch.setattr("fiqa_core.tables.embedding_files._ROWS_AT_ONCE", 10)
    vectors, _ = people_images(100, 10, dim=8)
    parts = find_parts([str(write_quality(tmp_path / "t", ["a"] * 1000, vectors))])
    assert len(read_points(parts, EmbeddingSource(), 40, 0).rids) == 40
    assert len(held) > 2
    assert max(held) <= 40 * 5 // 4 + 10


def test_rows_without_a_usable_embedding_are_counted_by_reason(tmp_path):
    digests = [bytes([number]) * 32 for number in range(1, 7)]
    write_quality(tmp_path / "t", ["a"] * 6, None, sha256=digests)
    place = next((tmp_path / "t" / "quality").iterdir())
    table = pq.read_table(place)
    status = pa.array([*["scored"] * 5, "truncated"]).dictionary_encode()
    pq.write_table(table.set_column(table.column_names.index("status"), "status", status), place)
    vectors = [[0.6, 0.8], None, [float("nan"), 1], [0, 0], [1e30, float("inf")], [1, 0]]
    source = embeddings(tmp_path / "e.parquet", [*digests[:4], b"x" * 32, digests[5]], vectors)
    found = read_points(find_parts([str(tmp_path / "t")]), source, 10, 0)
    assert found.rids.tolist() == [0]
    assert found.vectors.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]
    assert found.left_out == {
        "truncated": 1, "no_embedding": 1, "embedding_not_finite": 2, "embedding_zero": 1,
    }  # fmt: skip
    assert found.rows == found.usable + sum(found.left_out.values())


def test_a_table_without_rows_has_no_points(tmp_path):
    write_quality(tmp_path / "t", ["a"], np.ones((1, 4), np.float32))
    place = next((tmp_path / "t" / "quality").iterdir())
    pq.write_table(pq.read_table(place).slice(0, 0), place)
    found = read_points(find_parts([str(tmp_path / "t")]), EmbeddingSource(), 10, 0)
    assert (found.rows, found.usable, found.vectors.shape) == (0, 0, (0, 4))


def test_embeddings_of_another_dataset_are_refused(tmp_path):
    write_quality(tmp_path / "t", ["a"] * 3, None)
    source = embeddings(tmp_path / "e.parquet", [b"x" * 32], [[1.0, 0.0]])
    with pytest.raises(TableError, match="none of its 1 embedding belongs"):
        read_points(find_parts([str(tmp_path / "t")]), source, 10, 0)
