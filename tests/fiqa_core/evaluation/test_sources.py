"""Qualities and embeddings from each kind of file."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.evaluation.dataset import Dataset
from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.keys import KeyIndex
from fiqa_core.evaluation.sources import Embeddings, read_embeddings, read_qualities
from fiqa_core.tables.columns import as_matrix
from fiqa_core.tables.quality_files import TableError


def test_a_score_file_of_the_original_tools_is_read_by_path(tmp_path):
    path = tmp_path / "scores.txt"
    path.write_text("XQLFW/images/Ann/Ann 1.jpg 0.5\nXQLFW/images/Bob/Bob_2.jpg -1.25e-1\n\n")
    assert read_qualities(str(path)).of(["Bob/Bob_2", "Ann/Ann 1"], "pairs").tolist() == [-0.125, 0.5]
    path.write_text("a.jpg 0.5\nb.jpg good\n")
    with pytest.raises(EvaluationError, match=r"line 2: has no score"):
        read_qualities(str(path))


def test_a_score_file_may_have_tabs_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "scores.txt"
    path.write_text("\ufeffa b.jpg\t0.5\r\nb.jpg  nan\r\n")
    assert read_qualities(str(path)).of(["a b", "b"], "pairs").tolist() == pytest.approx([0.5, np.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a 0.5\nb 1_0\n", "line 2: has no score"),
        (b"a inf\n", "line 1: has no score"),
        (b"a 1e999\n", "line 1: its score is too large"),
        (b"a 0.5\n 0.5\n", "line 2: has a score and no path"),
        (b"a 0.5\n\xff 0.5\n", "line 2: byte 0xff is not UTF-8"),
        (b"\n", "holds no scores"),
    ],
)
def test_what_is_no_score_is_refused_with_its_line(tmp_path, text, said):
    (tmp_path / "scores.txt").write_bytes(text)
    with pytest.raises(EvaluationError, match=f"scores.txt.*{said}"):
        read_qualities(str(tmp_path / "scores.txt"))


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
    with pytest.raises(EvaluationError, match=r"a\.npy: holds Python objects"):
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
    with pytest.raises(TableError, match=r"q\.parquet: has no column 'quality'.*key, score"):
        read_qualities(str(tmp_path / "q.parquet"))
    (tmp_path / "q.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(TableError, match="not readable as Parquet"):
        read_qualities(str(tmp_path / "q.parquet"))


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.dictionary(pa.int8(), pa.string()), pa.string_view(), pa.int64()]
)
def test_keys_and_labels_may_be_any_text_or_whole_numbers(tmp_path, kind):
    texts = pa.array(["1", "2"]) if kind != pa.int64() else pa.array([1, 2])
    column = texts.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else texts.cast(kind)
    lists = pa.array([[1.0], [2.0]], pa.list_(pa.float32()))
    pq.write_table(
        pa.table({"key": column, "label": column, "quality": [0.1, 0.2], "embedding": lists}), tmp_path / "t"
    )
    (tmp_path / "t").rename(tmp_path / "t.parquet")
    for read in (read_qualities, read_embeddings):
        source = read(str(tmp_path / "t.parquet"))
        assert source.labels.to_pylist() == ["1", "2"]
        assert source.index.find(["2"]).tolist() == [1]


@pytest.mark.parametrize(("name", "values"), [("quality", ["x"]), ("key", [0.5]), ("label", [[1]])])
def test_a_column_of_another_type_is_refused_with_its_file(tmp_path, name, values):
    table = pa.table({"key": ["a"], "label": ["a"], "quality": [0.5]} | {name: values})
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(TableError, match=rf"t\.parquet: its column '{name}' is of type"):
        read_qualities(str(tmp_path / "t.parquet"))


def test_embeddings_of_several_files_are_one_matrix_wherever_rows_have_none(tmp_path):
    for number, rows in enumerate([[None], [[1.0, 2.0], None], [[3.0, 4.0]]]):
        table = pa.table({"key": [f"{number}-{i}" for i in range(len(rows))]})
        table = table.append_column("embedding", pa.array(rows, pa.list_(pa.float32())))
        pq.write_table(table, tmp_path / f"{number}.parquet")
    source = read_embeddings(str(tmp_path))
    np.testing.assert_array_equal(source.matrix, [[np.nan] * 2, [1, 2], [np.nan] * 2, [3, 4]])
    assert source.index.find(["2-0", "1-0"]).tolist() == [3, 1]
    pq.write_table(pa.table({"key": ["x"], "embedding": [[1.0, 2.0, 3.0]]}), tmp_path / "3.parquet")
    with pytest.raises(TableError, match=r"different lengths \(\[2, 3\]\)"):
        read_embeddings(str(tmp_path))


def test_labels_that_are_not_used_are_said(tmp_path, caplog):
    (tmp_path / "p.txt").write_text("a b 1\na c 0\n")
    pq.write_table(
        pa.table({"key": list("abc"), "label": ["1", "1", None], "quality": [1, 2, 3]}), tmp_path / "q.parquet"
    )
    dataset = Dataset.read("set", str(tmp_path / "p.txt"))
    assert dataset.labels([read_qualities(str(tmp_path / "q.parquet"))]) is None
    assert "q.parquet are not used: 1 of 3 images have none" in caplog.text


def test_an_embedding_of_zeros_is_named_with_its_dataset_and_model(tmp_path):
    (tmp_path / "p.txt").write_text("a b 1\na c 0\n")
    model = Embeddings(KeyIndex(list("abc"), "m"), np.array([[1.0, 0], [1, 1], [0, 0]]), None)
    with pytest.raises(EvaluationError, match="set, embeddings m: 1 embedding is all zeros, the first is that of 'c'"):
        Dataset.read("set", str(tmp_path / "p.txt")).compare([model], "m", "arccos")
