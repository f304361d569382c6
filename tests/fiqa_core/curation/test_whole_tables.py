"""One table is one run, whole, of one network: what else is refused, by name and with counts."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.evaluation.sources import read_embeddings, read_qualities
from fiqa_core.runs.lock import hold_output
from fiqa_core.scoring.run import write_summary
from fiqa_core.scoring.score_unit import score_unit
from fiqa_core.scoring.summary import Summary, merge
from fiqa_core.storage import filesystem
from fiqa_core.tables import embedding_matrix, load_quality
from fiqa_core.tables.quality_files import TableError
from fiqa_core.tables.whole_tables import whole_tables
from tests.fakes import MeanScorer
from tests.makers.images import png_bytes
from tests.makers.runs import OTHER_NETWORK, SETTINGS, score_shards, write_shards


@pytest.fixture
def shards(tmp_path) -> list[Path]:
    return write_shards(tmp_path / "in", "abcd")


@pytest.fixture
def output(tmp_path) -> Path:
    return tmp_path / "out"


def parts(output: Path) -> list[Path]:
    return sorted((output / "quality").iterdir())


def test_a_finished_run_is_whole_however_it_is_named(shards, output):
    score_shards(output, shards)
    for name in (output, output / "quality", f"{output}/quality/*.parquet"):
        assert len(whole_tables([str(name)]).urls) == 4
    assert len(whole_tables([str(output), str(output / "quality"), str(output)]).urls) == 4  # read once


def test_an_interrupted_run_is_refused_with_counts_and_the_shards_that_are_missing(shards, output, caplog):
    score_shards(output, shards, units=1, finish=False)
    with pytest.raises(TableError, match=r"not finished.*\n.*3 units are missing, 1 file is there") as refused:
        whole_tables([str(output)])
    for shard in shards[1:]:
        assert str(shard) in str(refused.value)
    assert "--allow-incomplete" in str(refused.value)
    assert refused.value.several_lines
    with caplog.at_level(logging.WARNING):
        whole = whole_tables([str(output)], allow_incomplete=True)
    assert len(whole.urls) == 1
    assert "3 units are missing" in caplog.text


def test_every_reader_refuses_it_and_goes_on_where_that_is_asked_for(shards, output):
    score_shards(output, shards, units=2, finish=False)
    for read in (load_quality, read_qualities):
        with pytest.raises(TableError, match="2 units are missing"):
            read(str(output))
        assert read(str(output), allow_incomplete=True) is not None
    for read in (embedding_matrix, read_embeddings):
        with pytest.raises(TableError, match="2 units are missing"):
            read(str(output))
    assert len(load_quality(output, allow_incomplete=True)) == 8


def test_a_run_at_work_is_refused_and_named_as_such(shards, output):
    score_shards(output, shards, finish=False)
    with hold_output(str(output)), pytest.raises(TableError, match=r"process \d+ on .* is still at work on it"):
        whole_tables([str(output)])
    with pytest.raises(TableError, match=r"there is no summary\.json"):
        whole_tables([str(output)])
    score_shards(output, shards, resume=True)
    with hold_output(str(output)), pytest.raises(TableError, match="is at work on it again"):
        whole_tables([str(output)])
    assert len(whole_tables([str(output)]).urls) == 4


def test_a_unit_that_failed_is_refused_with_its_reason(shards, output):
    kept = shards[1].read_bytes()
    plan = score_shards(output, shards, units=0, finish=False)
    shards[1].unlink()
    total = Summary()
    for unit in plan.units:
        total = merge(total, score_unit(unit, MeanScorer(), SETTINGS, str(output), sleep=lambda _: None))
    write_summary(str(output), 4, 1.0, SETTINGS.to_dict(), total)
    shards[1].write_bytes(kept)
    with pytest.raises(TableError, match=rf"1 unit is missing.*{shards[1]}.*failed: FileNotFoundError"):
        whole_tables([str(output)])


@pytest.mark.parametrize("damage", ["deleted", "cut", "emptied", "rows lost"])
def test_a_file_of_a_finished_run_that_is_gone_or_damaged_is_refused_by_name(shards, output, damage):
    score_shards(output, shards)
    path = parts(output)[2]
    if damage == "deleted":
        path.unlink()
    elif damage == "rows lost":
        pq.write_table(pq.read_table(path).slice(0, 0), path)
    else:
        path.write_bytes(path.read_bytes()[:300] if damage == "cut" else b"")
    if damage == "rows lost":  # a tar's plan does not know its records: the table cannot tell
        assert len(whole_tables([str(output)]).urls) == 4
        return
    with pytest.raises(TableError, match=f"1 unit is missing.*{path.name}"):
        whole_tables([str(output)])
    assert len(whole_tables([str(output)], allow_incomplete=True).urls) == 3


def test_rows_that_a_planned_number_of_records_lacks_are_missed(tmp_path, output):
    folder = tmp_path / "faces"
    shutil.copytree(_images(tmp_path), folder)
    score_shards(output, [folder])
    path = parts(output)[0]
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 1), path)
    with pytest.raises(TableError, match="at least 3 records unknown"):
        whole_tables([str(output)])


def test_a_shard_that_broke_off_is_refused_with_its_name_and_place(shards, output):
    whole = shards[1].read_bytes()
    shards[1].write_bytes(whole[:4000])
    score_shards(output, shards)
    with pytest.raises(TableError, match=rf"1 shard broke off; at least 1 record unknown: {shards[1]} at record \d"):
        whole_tables([str(output)])
    # Also of a copy of the files without any plan.
    shutil.copytree(output / "quality", output.parent / "copy")
    with pytest.raises(TableError, match="1 shard broke off"):
        whole_tables([str(output.parent / "copy")])
    (gap,) = whole_tables([str(output)], allow_incomplete=True).gaps
    assert (gap.kind, gap.shard, gap.records) == ("shard", str(shards[1]), 1)


def test_part_of_a_table_named_by_its_files_is_a_part(shards, output):
    score_shards(output, shards)
    with pytest.raises(TableError, match="3 units are missing, 1 file is there"):
        whole_tables([str(parts(output)[0])])


def test_a_file_that_the_plan_does_not_know_is_refused(shards, output):
    score_shards(output, shards)
    shutil.copy(parts(output)[0], output / "quality" / "part-000009-0123456789ab.parquet")
    with pytest.raises(TableError, match=r"part-000009-0123456789ab\.parquet is not a file of this run"):
        whole_tables([str(output)])


def test_files_without_a_plan_beside_them_are_taken_as_they_are(shards, output, tmp_path):
    score_shards(output, shards, units=2, finish=False)
    shutil.copytree(output / "quality", tmp_path / "copy")
    assert len(whole_tables([str(tmp_path / "copy")]).urls) == 2
    table = pa.table({"key": ["a"], "quality": [0.5], "shard": ["s"], "index": [0], "status": ["scored"]})
    pq.write_table(table, tmp_path / "foreign.parquet")
    assert len(whole_tables([str(tmp_path / "foreign.parquet")]).urls) == 1


def test_a_table_in_a_store_is_compared_with_its_plan_too(shards):
    place = "memory://whole-tables/out"
    fs = filesystem(place)[0]
    score_shards(place, shards)
    assert len(whole_tables([place]).urls) == 4
    fs.rm(sorted(fs.glob("/whole-tables/out/quality/*"))[0])
    with pytest.raises(TableError, match="1 unit is missing"):
        whole_tables([f"{place}/quality"])
    fs.rm("/whole-tables/out/summary.json")
    with pytest.raises(TableError, match=r"there is no summary\.json"):
        whole_tables([place])


def test_tables_of_two_networks_are_refused_with_the_settings_that_differ(shards, tmp_path):
    a, b, c = (tmp_path / name for name in "xyz")
    score_shards(a, shards[:2])
    score_shards(b, shards[2:], OTHER_NETWORK)
    with pytest.raises(TableError, match=f"checkpoint_sha256: 0+ in {a}, 1+ in {b}"):
        whole_tables([str(a), str(b)])
    with pytest.raises(TableError, match="checkpoint_sha256"):
        load_quality(f"{tmp_path}/[xy]/quality/*.parquet")
    score_shards(c, shards[2:], replace(SETTINGS, min_side=18))
    with pytest.raises(TableError, match=r"min_side: 16 in .*, 18 in"):
        whole_tables([str(a), str(c)])
    # Embeddings of two datasets may differ in what was admitted, not in the network.
    assert len(whole_tables([str(a), str(c)], compare="embeddings").urls) == 4
    with pytest.raises(TableError, match="checkpoint_sha256"):
        whole_tables([str(a), str(b)], compare="embeddings")


def test_the_same_records_in_two_tables_are_refused_by_name(shards, tmp_path):
    a, b = tmp_path / "x", tmp_path / "y"
    score_shards(a, shards[:3])
    score_shards(b, shards[2:])
    with pytest.raises(TableError, match=rf"twice, 4 of them:\n.*{shards[2]}, 0: in {a} and in {b}"):
        whole_tables([str(a), str(b)])


def test_a_set_that_grew_is_scored_in_two_runs_and_is_one_table(shards, tmp_path):
    a, b = tmp_path / "x", tmp_path / "y"
    score_shards(a, shards[:3])
    score_shards(b, shards[3:])
    assert len(whole_tables([str(a), str(b)]).urls) == 4
    assert len(load_quality(f"{tmp_path}/[xy]/quality/*.parquet")) == 16


def test_new_images_of_a_folder_are_told_by_their_paths_and_not_by_their_places(tmp_path):
    images = _images(tmp_path)
    a, b, c = (tmp_path / name for name in "xyz")
    score_shards(a, [images / "[01].png"])
    score_shards(b, [images / "[23].png"])
    assert len(whole_tables([str(a), str(b)]).urls) == 2
    score_shards(c, [images / "[12].png"])
    with pytest.raises(TableError, match=r"twice, 1 of them:\n.*1\.png"):
        whole_tables([str(a), str(c)])


def test_a_rewritten_copy_beside_its_table_is_the_same_records(shards, output, tmp_path):
    score_shards(output, shards)
    table = pa.concat_tables([pq.read_table(path) for path in parts(output)], promote_options="permissive")
    pq.write_table(table.unify_dictionaries().replace_schema_metadata(None), tmp_path / "all.parquet")
    with pytest.raises(TableError, match="twice, 16 of them"):
        whole_tables([str(output), str(tmp_path / "all.parquet")])


def test_a_damaged_plan_or_account_is_said_and_never_a_traceback(shards, output):
    score_shards(output, shards)
    for name in ("summary.json", "plan/units.parquet", "run.json"):
        kept = (output / name).read_bytes()
        for content in (b"[" * 100_000, b"{}", b"[1]", b'{"failed_units": 7}', b"\xff\x00"):
            (output / name).write_bytes(content)
            if name == "summary.json" and content.startswith(b"{"):
                assert len(whole_tables([str(output)]).urls) == 4  # every unit is there
                continue
            with pytest.raises(TableError, match=r"not readable|missing or damaged"):
                whole_tables([str(output)])
        (output / name).write_bytes(kept)
    assert json.loads((output / "summary.json").read_text())["complete"]


def _images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.png").write_bytes(png_bytes(number, 20))
    return folder
