"""One unit: published whole or not at all, tried again when the store fails, kept when it is there."""

import errno
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fiqa_core.ahead import ahead
from fiqa_core.runs.plan import plan_dataset
from fiqa_core.scoring import score_unit as module
from fiqa_core.scoring.score_unit import score_unit, unit_file
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.scoring.summary import merge
from schemas.quality import quality_schema
from tests.fakes import MeanScorer

SETTINGS = ScoreSettings("none", "none", "0" * 64)


@pytest.fixture
def units(tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    for number in range(10):
        buffer = io.BytesIO()
        Image.new("RGB", (112, 112), (number * 20,) * 3).save(buffer, "PNG")
        (root / f"{number}.png").write_bytes(buffer.getvalue())
    return plan_dataset([str(root)], "auto", 4, str(tmp_path / "plan")).units


def test_units_add_up_to_the_dataset_and_the_table_has_the_schema(units, tmp_path):
    summary = None
    for unit in units:
        one = score_unit(unit, MeanScorer(), SETTINGS, str(tmp_path / "out"))
        summary = one if summary is None else merge(summary, one)
    assert summary.rows == 10
    assert summary.status == {"scored": 10}
    assert summary.units == 0b111
    table = pq.read_table(tmp_path / "out" / "quality")
    assert table.schema.equals(quality_schema(), check_metadata=False)
    expected = np.arange(10) * 20 / 255
    np.testing.assert_allclose(sorted(table["quality"].to_pylist()), expected, atol=1e-6)


def test_a_finished_unit_is_kept_and_counts_the_same(units, tmp_path):
    first = score_unit(units[0], MeanScorer(), SETTINGS, str(tmp_path / "out"))
    again = score_unit(units[0], MeanScorer(), SETTINGS, str(tmp_path / "out"))
    assert again.rows_now == 0
    assert (again.rows, again.status, again.sample) == (first.rows, first.status, first.sample)


def test_the_same_unit_gives_the_same_bytes(units, tmp_path):
    for name in ("a", "b"):
        score_unit(units[0], MeanScorer(), SETTINGS, str(tmp_path / name))
    files = [Path(unit_file(str(tmp_path / name), units[0], SETTINGS)).read_bytes() for name in ("a", "b")]
    assert files[0] == files[1]


def test_a_full_disk_fails_the_unit_by_name_and_leaves_nothing(units, tmp_path, monkeypatch):
    def full(path, url):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "publish", full)
    out = tmp_path / "out"
    summary = score_unit(units[0], MeanScorer(), SETTINGS, str(out), sleep=lambda _: None)
    ((number, shard, reason),) = summary.failures
    assert (number, shard) == (0, units[0].shard)
    assert "No space left" in reason
    assert not list(out.rglob("*.parquet"))
    assert not list((out / "_tmp").iterdir())


def test_a_store_that_fails_once_is_tried_again(units, tmp_path, monkeypatch):
    publish, calls = module.publish, []

    def flaky(path, url):
        calls.append(url)
        if len(calls) == 1:
            raise OSError("connection reset")
        publish(path, url)

    monkeypatch.setattr(module, "publish", flaky)
    assert score_unit(units[0], MeanScorer(), SETTINGS, str(tmp_path / "out"), sleep=lambda _: None).rows == 4
    assert len(calls) == 2


def test_a_file_gone_since_planning_is_a_row(units, tmp_path):
    (tmp_path / "in" / "1.png").unlink()
    summary = score_unit(units[0], MeanScorer(), SETTINGS, str(tmp_path / "out"))
    assert summary.status == {"scored": 3, "unreadable": 1}


def test_a_score_that_is_no_number_is_a_row_with_its_reason(units, tmp_path):
    class Broken(MeanScorer):
        def score_pixels(self, pixels):
            scores = super().score_pixels(pixels)
            scores.quality[1] = np.nan
            return scores

    summary = score_unit(units[0], Broken(), SETTINGS, str(tmp_path / "out"))
    assert summary.status == {"scored": 3, "non_finite": 1}


def test_reading_ahead_keeps_order_raises_in_place_and_stops_when_closed():
    def items():
        yield from range(5)
        raise OSError("gone")

    seen = []
    with pytest.raises(OSError, match="gone"):
        seen.extend(ahead(items(), 2))
    endless = ahead(iter(int, 1), 2)
    next(endless)
    endless.close()


def test_a_shard_that_cannot_be_read_is_its_row_and_not_a_wrong_count(tmp_path):
    pq.write_table(pa.table({"image": ["text", "more text"]}), tmp_path / "a.parquet")
    (unit,) = plan_dataset([str(tmp_path / "a.parquet")], "auto", 4, str(tmp_path / "plan")).units
    assert unit.records == 2
    summary = score_unit(unit, MeanScorer(), SETTINGS, str(tmp_path / "out"))
    assert summary.status == {"shard_unreadable": 1}
    assert not summary.failures


def test_a_unit_with_fewer_records_than_were_planned_fails_by_name(units, tmp_path):
    more = replace(units[0], records=5)
    ((_, _, reason),) = score_unit(more, MeanScorer(), SETTINGS, str(tmp_path / "out")).failures
    assert "5 records were planned, 4 were read" in reason
