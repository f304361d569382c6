"""Rows reach the quality table whatever their texts hold, in groups that fit the memory."""

import pyarrow.parquet as pq
import pytest

from fiqa_core.scoring import table as module
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.scoring.stream import Row
from fiqa_core.scoring.table import QualityWriter
from fiqa_core.shards.unit import Record, Unit
from schemas.reasons import Status

SETTINGS = ScoreSettings("none", "none", "0" * 64)
UNIT = Unit(0, "webdataset", "a.tar", "/a.tar", 0, 0, 0, -1, 1, "")


def row(index: int, key: str = "k", label: str | None = None, message: str | None = None) -> Row:
    made = Row(Record(key, index, label, None))
    made.status, made.message = Status.CORRUPT, message
    return made


@pytest.mark.parametrize(
    ("text", "stored"),
    [("\ud800", "\\ud800"), ("a\udcffb", "a\\xffb"), ("Zoë 李 😀", "Zoë 李 😀"), ("ë\udcff\udfff", "ë\\xff\\udfff")],
)
def test_a_text_that_utf8_cannot_hold_is_written_out_and_costs_no_other_row(tmp_path, text, stored):
    unit = Unit(0, "folder", f"faces{text}", f"/faces{text}", 0, 1, 0, 1, 1, "")
    with QualityWriter(tmp_path / "a.parquet", unit, SETTINGS) as writer:
        writer.write([row(0), row(1, text, text, text), row(2)])
    found = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [r["key"] for r in found] == ["k", stored, "k"]
    assert [r["label"] for r in found] == [None, stored, None]
    assert [r["message"] for r in found] == [None, stored, None]
    assert found[0]["shard"] == f"faces{stored}"
    assert writer.summary.rows == 3


def test_long_texts_reach_the_file_before_they_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CHARACTERS_AT_ONCE", 10_000)
    with QualityWriter(tmp_path / "a.parquet", UNIT, SETTINGS) as writer:
        writer.write([row(index, "k" * 500, "l" * 300, "m" * 200) for index in range(95)])
    file = pq.ParquetFile(tmp_path / "a.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [10] * 9 + [5]
    assert writer.summary.rows == 95


def test_the_bytes_of_a_file_do_not_depend_on_how_its_rows_were_handed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 64)
    for size in (7, 100):
        with QualityWriter(tmp_path / f"{size}.parquet", UNIT, SETTINGS) as writer:
            for start in range(0, 200, size):
                writer.write([row(index) for index in range(start, min(start + size, 200))])
    assert (tmp_path / "7.parquet").read_bytes() == (tmp_path / "100.parquet").read_bytes()
