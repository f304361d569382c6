"""Qualities and embeddings from each kind of file."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.sources import as_matrix, read_embeddings, read_qualities


def test_a_score_file_of_the_original_tools_is_read_by_path(tmp_path):
    path = tmp_path / "scores.txt"
    path.write_text("XQLFW/images/Ann/Ann 1.jpg 0.5\nXQLFW/images/Bob/Bob_2.jpg -1.25e-1\n\n")
    assert read_qualities(str(path)).of(["Bob/Bob_2", "Ann/Ann 1"], "pairs").tolist() == [-0.125, 0.5]
    path.write_text("a.jpg 0.5\nb.jpg good\n")
    with pytest.raises(EvaluationError, match=r"line 2: 'b\.jpg good' has no score"):
        read_qualities(str(path))


def test_a_folder_of_npy_files_is_read_by_their_paths(tmp_path):
    (tmp_path / "Ann").mkdir()
    np.save(tmp_path / "Ann" / "Ann_0001.npy", np.array([1.0, 2.0], np.float32))
    np.save(tmp_path / "b.npy", np.array([[3.0, 4.0]]))
    assert read_embeddings(str(tmp_path)).of(["b", "Ann/Ann_0001"], "pairs").tolist() == [[3, 4], [1, 2]]
    np.save(tmp_path / "c.npy", np.array([1.0, 2.0, 3.0]))
    with pytest.raises(EvaluationError, match=r"c\.npy: holds 3 numbers, .*holds 2"):
        read_embeddings(str(tmp_path))


def test_an_npy_that_would_run_code_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(EvaluationError, match=r"a\.npy: not readable"):
        read_embeddings(str(tmp_path))


@pytest.mark.parametrize("kind", [pa.list_(pa.float32(), 2), pa.list_(pa.float64()), pa.list_(pa.float16(), 2)])
def test_any_column_of_lists_becomes_a_matrix(kind):
    column = pa.chunked_array([pa.array([[1, 2]], pa.list_(pa.float32())), pa.array([[3, 4]], pa.list_(pa.float32()))])
    assert as_matrix(column.cast(kind)).tolist() == [[1, 2], [3, 4]]


def test_an_image_without_an_embedding_is_named(tmp_path):
    table = pa.table({"key": ["a", "b"], "embedding": pa.array([[1.0, 2.0], None], pa.list_(pa.float32()))})
    pq.write_table(table, tmp_path / "e.parquet")
    with pytest.raises(EvaluationError, match="1 of its images have no embedding, the first is 'b'"):
        read_embeddings(str(tmp_path / "e.parquet")).of(["a", "b"], "lfw")


def test_a_table_that_lacks_a_column_is_refused_with_those_it_has(tmp_path):
    pq.write_table(pa.table({"key": ["a"], "score": [0.5]}), tmp_path / "q.parquet")
    with pytest.raises(EvaluationError, match=r"q\.parquet: has no column 'quality'.*key, score"):
        read_qualities(str(tmp_path / "q.parquet"))
    (tmp_path / "q.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(EvaluationError, match="not readable as Parquet"):
        read_qualities(str(tmp_path / "q.parquet"))
