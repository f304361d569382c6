"""Planning many shards at once keeps their order and names the one that cannot be planned."""

import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.runs.plan import PlanError, plan_dataset
from fiqa_core.shards.parquet import reader as parquet


@pytest.fixture
def shards(tmp_path):
    for number in range(30):
        table = pa.table({"image": [b"x"] * 10, "label": [number] * 10})
        pq.write_table(table, tmp_path / f"s-{number:02}.parquet", row_group_size=5)
    return tmp_path


def test_units_stand_in_the_order_of_their_shards_whichever_footer_comes_first(shards, monkeypatch):
    open_read = parquet.open_read

    def later_shards_answer_first(url, *how):
        time.sleep(0.03 if url.endswith("0.parquet") else 0.001)
        return open_read(url, *how)

    monkeypatch.setattr(parquet, "open_read", later_shards_answer_first)
    units = plan_dataset([str(shards)], "auto", 5, str(shards / "plan")).units
    assert [unit.number for unit in units] == list(range(60))
    assert [unit.shard for unit in units] == sorted(unit.shard for unit in units)
    assert [unit.first_index for unit in units] == [0, 5] * 30


def test_footers_are_waited_for_together(shards, monkeypatch):
    open_read = parquet.open_read

    def far_away(url, *how):
        time.sleep(0.1)
        return open_read(url, *how)

    monkeypatch.setattr(parquet, "open_read", far_away)
    started = time.monotonic()
    plan_dataset([str(shards)], "auto", 5, str(shards / "plan"))
    assert time.monotonic() - started < 30 * 0.1


def test_one_shard_that_cannot_be_planned_is_named(shards):
    (shards / "odd.xyz").write_bytes(b"")
    with pytest.raises(PlanError, match=r"odd\.xyz"):
        plan_dataset([str(shards / "s-00.parquet"), str(shards / "odd.xyz")], "auto", 5, str(shards / "plan"))
