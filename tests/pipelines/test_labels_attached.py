"""Labels from a file of their own: filter, evaluate and train take them in place of the dataset's."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.runs.plan import plan_dataset
from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.tables.attached_labels import attach, read_label_list
from fiqa_core.tables.quality_files import TableError, find_parts
from fiqa_core.training.dataset_index import index_of_decisions, index_of_records
from pipelines import evaluate_quality, filter_dataset, measure_baselines
from tests.shared import FACES, needs_shared

pytestmark = needs_shared
SHARD = sorted(FACES.glob("test-*.tar"))[0]


@pytest.fixture(scope="module")
def scores(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("scores") / "out"
    options = ["--measure", "stored-size", "--input", str(SHARD), "--limit", "300", "--output", str(output)]
    assert measure_baselines.run(options) == 0
    return output


def plan(inputs: list[str], workspace: Path) -> tuple[Unit, ...]:
    return plan_dataset(inputs, "auto", 4000, str(workspace)).units


def rows(scores: Path) -> pd.DataFrame:
    return pd.read_parquet(scores / "quality", columns=["key", "label"])


def test_filter_decides_by_the_labels_of_a_csv_file_and_writes_them(scores, tmp_path, caplog):
    table = rows(scores)
    people = pd.DataFrame({"image": table.key, "person": [f"p{i % 7}" for i in range(len(table))]})
    people = pd.concat([people.iloc[:200], pd.DataFrame({"image": ["nobody"], "person": ["p0"]})])
    people.to_csv(tmp_path / "people.csv", index=False)
    options = ["--quality", str(scores), "--labels", str(tmp_path / "people.csv"), "--labels-column", "person"]
    options += ["--write", "webdataset", "--output", str(tmp_path / "kept")]
    assert filter_dataset.run(options) == 2  # the other 100 would keep their stored labels
    assert "--drop-unlabelled" in caplog.text
    assert filter_dataset.run([*options, "--drop-unlabelled"]) == 0
    decided = pd.concat(map(pd.read_parquet, (tmp_path / "kept/decisions").iterdir()))
    wanted = dict(zip(people.image, people.person, strict=True))
    assert [wanted.get(key) for key in decided.key] == [None if pd.isna(x) else x for x in decided.label]
    summary = json.loads((tmp_path / "kept/summary.json").read_text())
    assert (summary["before"]["identities"], summary["before"]["images_without_label"]) == (7, 100)
    assert "1 key is of no row of the table" in caplog.text
    assert "100 rows have no label there" in caplog.text
    again = plan([str(tmp_path / "kept/subset/data")], tmp_path / "workspace")
    assert set(index_of_records(again, ReadSettings()).labels) == {f"p{i}" for i in range(7)}


def test_a_run_with_other_labels_is_not_resumed(scores, tmp_path, caplog):
    for name, label in (("a.csv", "x"), ("b.csv", "y")):
        rows(scores).assign(label=label).to_csv(tmp_path / name, index=False)
    options = ["--quality", str(scores), "--output", str(tmp_path / "out")]
    assert filter_dataset.run([*options, "--labels", str(tmp_path / "a.csv")]) == 0
    assert filter_dataset.run([*options, "--labels", str(tmp_path / "b.csv"), "--resume"]) == 2
    assert "labels" in caplog.text


def test_numbers_of_a_class_label_become_its_names(scores, tmp_path):
    table = rows(scores)
    feature = {"info": {"features": {"label": {"names": ["ann", "bob"], "_type": "ClassLabel"}}}}
    schema = pa.schema([("key", pa.string()), ("label", pa.int64())], {b"huggingface": json.dumps(feature).encode()})
    numbers = pa.table([table.key.tolist(), [i % 2 for i in range(len(table))]], schema=schema)
    pq.write_table(numbers, tmp_path / "labels.parquet")
    (part,) = attach(find_parts([str(scores)]), read_label_list(str(tmp_path / "labels.parquet")))
    assert part.labels.of(pa.array(table.key.tolist()[:3])).to_pylist() == ["ann", "bob", "ann"]


def test_keys_may_have_the_ending_of_an_image_file(scores, tmp_path):
    table = rows(scores)
    pd.DataFrame({"path": table.key + ".JPG", "id": "x"}).to_csv(tmp_path / "l.csv", index=False)
    (part,) = attach(find_parts([str(scores)]), read_label_list(str(tmp_path / "l.csv")))
    assert part.labels.of(pa.array(table.key.tolist())).null_count == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key,label\na,1\na,2\n", r"1 key has two different labels \(rows 1 and 2\)"),
        ("key,label\nnobody,1\n", "none of its 1 key is a key of the table"),
        ("picture,label\na,1\n", "Columns: picture, label. Name the right one by --labels-key"),
        ("key,colour\na,1\n", "Name the right one by --labels-column"),
        ("key,label\na,1,2\n", "line 2: 3 values, and the header has 2"),
        ('key,label\n"a,1\n', "not readable as CSV"),
        ("key,label\n", "holds no rows"),
        ("", "Columns: none"),
    ],
)
def test_a_file_of_labels_that_cannot_be_meant_is_refused(scores, tmp_path, text, message):
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(TableError, match=message):
        attach(find_parts([str(scores)]), read_label_list(str(tmp_path / "l.csv")))


def test_one_label_for_a_key_that_two_rows_have_is_refused(tmp_path):
    table = pa.table({"key": ["1", "1", "2"], "label": ["a", "b", "c"]})
    for name, kind in (
        ("shard", pa.string()),
        ("index", pa.int64()),
        ("quality", pa.float32()),
        ("status", pa.string()),
    ):
        table = table.append_column(name, pa.nulls(3, kind))
    pq.write_table(table.append_column("sha256", pa.nulls(3, pa.binary())), tmp_path / "q.parquet")
    (tmp_path / "l.csv").write_text("key,label\n1,x\n2,y\n")
    with pytest.raises(TableError, match="a key that another row has too"):
        attach(find_parts([str(tmp_path / "q.parquet")]), read_label_list(str(tmp_path / "l.csv")))


def test_training_takes_attached_labels_for_shards_and_for_decisions(scores, tmp_path):
    table = rows(scores)
    table.assign(label=[f"p{i % 5}" for i in range(len(table))]).iloc[:50].to_csv(tmp_path / "l.csv", index=False)
    labels = read_label_list(str(tmp_path / "l.csv"))
    units = plan([str(SHARD)], tmp_path / "workspace")
    index = index_of_records(units, ReadSettings(), labels)
    assert (index.kept, index.labels) == (50, ("p0", "p1", "p2", "p3", "p4"))
    assert filter_dataset.run(["--quality", str(scores), "--output", str(tmp_path / "out")]) == 0
    decided = index_of_decisions(units, str(tmp_path / "out"), labels)
    np.testing.assert_array_equal(decided.by_shard[str(SHARD)].classes, index.by_shard[str(SHARD)].classes)


def test_evaluation_makes_pairs_from_attached_labels(scores, tmp_path):
    table = rows(scores)
    random = np.random.default_rng(0)
    people = np.arange(len(table)) % 60
    vectors = random.normal(size=(60, 8))[people] + 0.5 * random.normal(size=(len(table), 8))
    pq.write_table(pa.table({"key": table.key.tolist(), "embedding": list(vectors)}), tmp_path / "fr.parquet")
    pd.DataFrame({"key": table.key, "label": people}).to_csv(tmp_path / "l.csv", index=False)
    options = ["--quality", f"size={scores}", "--embeddings", f"fr={tmp_path / 'fr.parquet'}", "--no-plots"]
    options += ["--fmr", "0.01", "--labels", str(tmp_path / "l.csv"), "--bootstrap", "5"]
    made = {}
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        asked = ["--pairs", "labels:mated=200,nonmated=1000", "--seed", seed, "--output", str(tmp_path / name)]
        assert evaluate_quality.run([*options, *asked]) == 0
        (made[name],) = json.loads((tmp_path / name / "evaluation.json").read_text())["datasets"]
    assert (made["a"]["n_mated"], made["a"]["n_nonmated"], made["a"]["subjects"]) == (200, 1000, 60)
    areas = {name: (tmp_path / name / "auc.csv").read_bytes() for name in made}
    assert areas["a"] == areas["b"] != areas["c"]
