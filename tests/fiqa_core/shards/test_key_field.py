"""`--key-field`: the column or feature that names records, refused where there is none."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.runs.plan import plan_dataset
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.shards.container import UnfitShardError
from fiqa_core.shards.formats import PlanError, container_of
from fiqa_core.shards.unit import ReadSettings
from tests.makers.images import png_bytes
from tests.makers.tfrecord import example, write_tfrecord

FACE = png_bytes(1, 16)


def keys(path, plan, **settings) -> list[str]:
    read = ReadSettings(**settings)
    units = plan_dataset([str(path)], "auto", 10, str(plan), read).units
    return [record.key for unit in units for record in container_of(unit).read(unit, read)]


def test_a_named_column_or_feature_is_the_key(tmp_path):
    table = {"image": pa.array([FACE, FACE], pa.binary()), "key": ["a", "b"], "file": ["x/1", "x/2"]}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    write_tfrecord(tmp_path / "t.tfrecord", [example({"image": FACE, "key": b"a", "file": b"x/1"})])
    assert keys(tmp_path / "t.parquet", tmp_path / "p") == ["a", "b"]
    assert keys(tmp_path / "t.parquet", tmp_path / "p", key_field="file") == ["x/1", "x/2"]
    assert keys(tmp_path / "t.tfrecord", tmp_path / "q", key_field="file") == ["x/1"]


def test_a_column_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    pq.write_table(pa.table({"image": pa.array([FACE], pa.binary()), "id": [3]}), tmp_path / "t.parquet")
    for name in ("file", "id"):
        with pytest.raises(UnfitShardError, match=rf"'{name}' cannot be the key column .*Columns: image .*--key-field"):
            keys(tmp_path / "t.parquet", tmp_path / "p", key_field=name)


def test_a_format_without_such_fields_refuses_the_option(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(FACE)
    with pytest.raises(PlanError, match="in the format folder keys are names of their own"):
        keys(tmp_path / "in", tmp_path / "p", key_field="file")


def test_settings_without_it_are_those_of_earlier_tables():
    plain = ScoreSettings("none", "none", "0" * 64)
    assert "key_field" not in plain.to_dict()["read"]
    assert ScoreSettings("none", "none", "0" * 64, read=ReadSettings(key_field="x")).digest() != plain.digest()
