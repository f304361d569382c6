"""Which tars are cut, what is kept beside the plan, and how runs go on inside a tar."""

import gzip
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fiqa_core.runs.folder import OutputError
from fiqa_core.runs.layout import UNITS
from fiqa_core.shards.container import Surroundings
from fiqa_core.shards.unit import ReadSettings
from fiqa_core.shards.webdataset import cutting
from fiqa_core.storage import StoredFile
from fiqa_core.tables.quality_files import find_parts
from tests.fiqa_core.shards.test_tar_ranges import (
    ARCHIVES,
    FORMAT,
    faces,
    pax,
    plain_members,
    plan,
    rows,
    whole,
    written,
)
from tests.makers.containers import face_records, write_webdataset
from tests.makers.hostile import TAR_END, tar_member
from tests.makers.runs import score_shards

COUNT = 40


@pytest.fixture
def tar(tmp_path: Path) -> Path:
    path = tmp_path / "faces.tar"
    path.write_bytes(written(faces(COUNT)))
    return path


def no_walk(*_: object) -> None:
    raise AssertionError("the tar was looked through again")


@pytest.mark.parametrize("unit_size", [1, 7, 10])
def test_unit_size_means_so_many_records_of_a_tar_too(tar, unit_size):
    sizes = [unit.records for unit in plan(tar, unit_size)]
    assert sum(sizes) == COUNT
    assert set(sizes[:-1]) == {unit_size}
    assert 0 < sizes[-1] <= unit_size


@pytest.mark.parametrize("kind", ["plain", "rare kinds", "global pax headers", "archives joined"])
def test_a_tar_of_large_images_whose_content_is_passed_over_is_cut_at_the_same_places(tmp_path, monkeypatch, kind):
    path = tmp_path / "t.tar"
    path.write_bytes(ARCHIVES[kind]())
    units = plan(path, 3)
    monkeypatch.setattr(cutting, "_LARGE_RECORD", 0)
    Path(units[0].listing).unlink()
    assert plan(path, 3) == units


def test_a_tar_with_less_than_two_units_of_records_stays_one_unit(tar):
    (unit,) = plan(tar, COUNT // 2 + 5)
    assert unit == whole(tar)
    assert FORMAT.is_sequential(unit)
    assert not (tar.parent / "plan").exists()


@pytest.mark.parametrize("name", ["t.tar.gz", "t.tgz", "t.tar"])
def test_a_compressed_tar_stays_one_unit_whatever_it_is_called(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(written(faces(COUNT)), 1))
    assert plan(path, 1) == [whole(path)]


def test_among_many_shards_tars_below_a_gigabyte_stay_whole_and_are_not_even_opened(tmp_path):
    file = StoredFile("gone.tar", str(tmp_path / "gone.tar"), 500 << 20, "")
    around = Surroundings(str(tmp_path / "plan"), 1000)
    (unit,) = FORMAT.plan_among(file, 10, None, around)
    assert (unit.start, unit.stop, unit.records) == (0, 0, -1)


def test_the_index_is_kept_beside_the_plan_and_used_again_without_a_look_at_the_tar(tar, monkeypatch):
    units = plan(tar, 7)
    (index,) = (tar.parent / "plan").glob("*.parquet")
    assert {unit.listing for unit in units} == {str(index)}
    monkeypatch.setattr(cutting, "Walk", no_walk)
    assert plan(tar, 7) == units
    with pytest.raises(AssertionError):
        plan(tar, 8)


@pytest.mark.parametrize("content", [b"", b"PAR1 half of it", None], ids=["empty", "cut off", "another table"])
def test_a_damaged_index_is_made_anew_by_the_plan_and_named_by_the_reader(tar, content):
    units = plan(tar, 7)
    index = Path(units[0].listing)
    if content is None:
        table = pq.read_table(index)
        pq.write_table(table.slice(1), index)
    else:
        index.write_bytes(content)
    cutting.read_index.cache_clear()
    with pytest.raises(OSError, match=r"not readable as the index of a tar .* --resume"):
        list(FORMAT.read(units[1], ReadSettings()))
    assert plan(tar, 7) == units
    assert rows(units) == rows([whole(tar)])


def test_an_index_without_the_place_of_a_unit_is_refused(tar):
    unit = plan(tar, 7)[1]
    with pytest.raises(OSError, match=f"knows no place at byte {unit.start + 512}"):
        list(FORMAT.read(replace(unit, start=unit.start + 512), ReadSettings()))


def test_reading_enters_a_range_near_any_record_of_it(tar):
    for unit in plan(tar, 20):
        own = rows([unit])
        for place, record in enumerate(own):
            inside = FORMAT.enter_at(unit, record.index)
            assert unit.start <= inside.start < unit.stop
            assert record.index - 2 < inside.first_index <= record.index
            found = rows([inside])
            assert found == own[inside.first_index - unit.first_index :]
            assert len(found) == inside.records >= len(own) - place


def test_single_records_of_a_range_are_read_without_the_rest_of_the_tar(tar):
    for unit in plan(tar, 20):
        own = rows([unit])
        for wanted in ([0], [COUNT - 1], [3, 4, 18, 25, 39], [], list(range(COUNT))):
            found = list(FORMAT.read_at(unit, ReadSettings(), wanted))
            assert [r._replace(reached=0) for r in found] == [r for r in own if r.index in wanted]


@pytest.mark.parametrize("step", [1, 3])
def test_blocks_find_every_image_of_every_range_of_a_plain_tar(tmp_path, step):
    (path,) = write_webdataset(tmp_path / "s-%06d.tar", face_records(50, size=40))
    units = plan(path, 9)
    assert len(units) > 4
    for unit in units:
        expected = {r.index: r.data for r in rows([unit])}
        for first in range(unit.first_index, unit.first_index + unit.records, step):
            found: dict[int, bytes] = {}
            for block in FORMAT.blocks(unit, ReadSettings(), lambda first=first: first):
                for index, start, size in zip(block.index.tolist(), block.starts, block.sizes, strict=True):
                    found[index] = bytes(block.data[start : start + size])
            assert {index: data for index, data in expected.items() if index >= first}.items() <= found.items()
            assert found.items() <= expected.items()


def test_blocks_leave_ranges_to_the_reader_where_global_attributes_name_the_members(tmp_path):
    path = tmp_path / "t.tar"
    path.write_bytes(
        plain_members(4) + tar_member(b"g", pax(path="all.jpg"), b"g") + plain_members(8, "n%d.jpg") + TAR_END
    )
    for unit in plan(path, 1):
        keys = {record.key for record in rows([unit])}
        found = [index for block in FORMAT.blocks(unit, ReadSettings(), lambda: 0) for index in block.index.tolist()]
        assert (keys == {"all"}) == (not found)


def test_a_tar_that_damage_keeps_from_being_cut_says_so(tmp_path, caplog):
    data = written(faces(30))
    path = tmp_path / "t.tar"
    header = data.index(b"face_0012.jpg")
    path.write_bytes(data[:header] + bytes(512) + data[header + 512 :])
    with caplog.at_level(logging.WARNING):
        units = plan(path, 2)
    assert "cannot be cut everywhere (damage)" in caplog.text
    assert max(unit.records for unit in units) > 4
    assert len(units) > 8
    assert rows(units) == rows([whole(path)])


def test_a_run_that_was_stopped_inside_a_tar_keeps_its_finished_ranges(tmp_path, monkeypatch):
    (path,) = write_webdataset(tmp_path / "s-%06d.tar", face_records(24, size=40))
    plan = score_shards(tmp_path / "out", [path], units=3, finish=False)
    assert [unit.records for unit in plan.units] == [4] * 6
    quality = tmp_path / "out" / "quality"
    before = {part.name: part.stat().st_mtime_ns for part in quality.iterdir()}
    assert len(before) == 3
    with monkeypatch.context() as patched:
        patched.setattr(cutting, "Walk", no_walk)
        score_shards(tmp_path / "out", [path], resume=True)
    after = {part.name: part.stat().st_mtime_ns for part in quality.iterdir()}
    assert len(after) == 6
    assert before.items() <= after.items()
    score_shards(tmp_path / "whole", [path], finish=True)
    tables = [pq.read_table(folder / "quality") for folder in (tmp_path / "out", tmp_path / "whole")]
    assert tables[0].equals(tables[1])
    assert np.array_equal(tables[0]["index"].to_numpy(), np.arange(24))


def test_a_run_is_not_resumed_where_a_tar_changed_since(tmp_path):
    (path,) = write_webdataset(tmp_path / "s-%06d.tar", face_records(24, size=40))
    score_shards(tmp_path / "out", [path], units=3, finish=False)
    path.write_bytes(path.read_bytes() + bytes(512))
    with pytest.raises(OutputError, match="its content changed"):
        score_shards(tmp_path / "out", [path], resume=True)


def test_the_index_of_a_finished_run_is_found_after_it_was_moved(tmp_path):
    (path,) = write_webdataset(tmp_path / "s-%06d.tar", face_records(24, size=40))
    score_shards(tmp_path / "out", [path])
    (tmp_path / "out").rename(tmp_path / "moved")
    units = [part.unit for part in find_parts([str(tmp_path / "moved")])]
    assert [unit.listing.rpartition("/plan/")[0] for unit in units] == [str(tmp_path / "moved")] * 6
    assert rows(units) == rows([whole(path)])
    assert len(pq.read_table(tmp_path / "moved" / UNITS)) == 6


def test_the_index_is_no_input_of_a_later_run(tmp_path):
    (tmp_path / "in").mkdir()
    (path,) = write_webdataset(tmp_path / "in" / "s-%06d.tar", face_records(24, size=40))
    score_shards(tmp_path / "in" / "out", [path])
    plan = score_shards(tmp_path / "again", [tmp_path / "in"])
    assert {unit.url for unit in plan.units} == {str(path)}
