"""--limit, --sample and --dry-run: a part of a dataset is scored, says that it is a part, and is complete as one."""

import importlib
import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from fiqa_core.runs.plan import plan_dataset
from fiqa_core.shards.sample import Sample, records_of, take_sample
from fiqa_core.shards.unit import ReadSettings
from fiqa_core.tables.whole_tables import whole_tables
from pipelines import align_dataset, filter_dataset
from pipelines.measure_baselines import EXIT_BAD_INPUT, EXIT_INCOMPLETE, run
from tests.shared import FACES, SHARED, needs_shared

pytestmark = needs_shared
SHARDS = [str(path) for path in sorted(FACES.glob("test-*.tar"))]
REC = SHARED / "data/native/mxnet_made/legacy_train.rec"


def measure(output: Path, *arguments: object) -> int:
    return run(["--measure", "stored-size", "--output", str(output), *map(str, arguments)])


def table(output: Path) -> pd.DataFrame:
    return pd.read_parquet(output / "quality", columns=["key", "shard", "index", "label", "quality", "status"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> pd.DataFrame:
    output = tmp_path_factory.mktemp("whole") / "out"
    assert measure(output, "--input", *SHARDS) == 0
    return table(output)


def test_limit_scores_the_first_records_and_no_others(tmp_path, whole):
    assert measure(tmp_path / "out", "--input", *SHARDS, "--limit", 1100) == 0
    pd.testing.assert_frame_equal(table(tmp_path / "out"), whole.iloc[:1100])


def test_sample_takes_exactly_that_many_records_spread_over_all_shards(tmp_path, whole):
    assert measure(tmp_path / "out", "--input", *SHARDS, "--sample", 60, "--seed", 3) == 0
    sample = table(tmp_path / "out")
    assert len(sample) == 60
    shares = (sample.shard.value_counts() - 60 * whole.shard.value_counts(normalize=True)).abs()
    assert shares.max() <= 1
    assert len(sample.merge(whole)) == 60  # every row is one of the whole table, with its score


def test_a_sample_depends_on_its_seed_and_not_on_the_unit_size(tmp_path, whole):
    rows = {}
    for name, options in {"a": ["--seed", 1], "b": ["--seed", 1, "--unit-size", 7], "c": ["--seed", 2]}.items():
        assert measure(tmp_path / name, "--input", REC, "--sample", 20, *options) == 0
        rows[name] = table(tmp_path / name)
        assert len(rows[name]) == 20
    pd.testing.assert_frame_equal(rows["a"], rows["b"])
    assert set(rows["a"].key) != set(rows["c"].key)


@pytest.mark.parametrize("kind", ["folder", "path_list"])
def test_a_sample_of_single_files_opens_only_its_own_files(tmp_path, monkeypatch, kind):
    reader = importlib.import_module(f"fiqa_core.shards.{kind}.reader")
    opened = []
    original = reader.read_local_image
    monkeypatch.setattr(reader, "read_local_image", lambda path, limit: opened.append(path) or original(path, limit))
    source = SHARED / "data/lfw_original"
    if kind == "path_list":
        files = sorted(source.rglob("*.jpg"))[:300]
        source = tmp_path / "list.txt"
        source.write_text("".join(f"{path}\n" for path in files))
    read = ReadSettings()
    whole = plan_dataset([str(source)], "auto" if kind == "folder" else kind, 50, str(tmp_path / "workspace"))
    plan, sample = take_sample(whole, Sample("sample", 30), read)
    records = [record for unit in plan.units for record in records_of(unit, read, sample)]
    assert len(records) == len(opened) == 30
    assert all(record.data for record in records)


def test_a_sample_of_more_records_than_there_are_is_all_of_them(tmp_path):
    assert measure(tmp_path / "out", "--input", REC, "--sample", 1000) == 0
    assert len(table(tmp_path / "out")) == 96


def test_a_sampled_table_is_complete_as_a_sample_and_says_so(tmp_path, caplog, capsys):
    output = tmp_path / "out"
    assert measure(output, "--input", REC, "--sample", 20) == 0
    words = "a sample: 20 of 96 records (--sample 20 --seed 0)"
    assert words in capsys.readouterr().out
    summary = json.loads((output / "summary.json").read_text())
    assert summary["complete"]
    assert summary["settings"]["sample"] == {"kind": "sample", "records": 20, "seed": 0, "out_of": 96}
    file = next((output / "quality").iterdir())
    assert json.loads(pq.read_schema(file).metadata[b"fiqa.settings"])["sample"]["out_of"] == 96
    found = whole_tables([str(output)])
    assert not found.gaps
    assert found.samples == (f"{output}: {words}",)
    assert f"{words}; all numbers are of the sample, not of the dataset" in caplog.text


def test_a_sample_is_not_mixed_with_the_whole_nor_resumed_as_it(tmp_path, caplog):
    assert measure(tmp_path / "part", "--input", REC, "--limit", 20) == 0
    assert measure(tmp_path / "all", "--input", REC) == 0
    with pytest.raises(ValueError, match=r"sample\.records: 20"):
        whole_tables([str(tmp_path / "part"), str(tmp_path / "all")])
    assert measure(tmp_path / "part", "--input", REC, "--resume") == EXIT_BAD_INPUT
    assert "sample" in caplog.text
    assert measure(tmp_path / "part", "--input", REC, "--limit", 20, "--resume") == 0


def test_a_sampled_table_without_one_of_its_rows_is_not_whole(tmp_path):
    output = tmp_path / "out"
    assert measure(output, "--input", REC, "--sample", 20) == 0
    file = next((output / "quality").iterdir())
    kept = pq.read_table(file)
    pq.write_table(kept.slice(0, 19), file)
    with pytest.raises(ValueError, match="19 rows for 20 records"):
        whole_tables([str(output)])


def test_a_sample_of_a_shard_that_breaks_off_has_the_row_that_says_so(tmp_path):
    shard = tmp_path / "cut.tar"
    shard.write_bytes(Path(SHARDS[0]).read_bytes()[:1_000_000])
    assert measure(tmp_path / "out", "--input", shard, "--sample", 10_000) == EXIT_INCOMPLETE
    rows = table(tmp_path / "out")
    assert rows.status.str.startswith("shard_").sum() == 1
    assert (rows.status == "scored").sum() > 100


def test_a_seed_without_a_sample_is_refused(tmp_path, caplog):
    assert measure(tmp_path / "out", "--input", REC, "--seed", 1) == EXIT_BAD_INPUT
    assert "--sample" in caplog.text


def test_a_dry_run_says_what_would_be_read_and_writes_nothing(tmp_path, capsys):
    assert measure(tmp_path / "out", "--input", *SHARDS, "--dry-run") == 0
    said = capsys.readouterr().out
    assert f"(webdataset {len(SHARDS)})" in said
    assert "of 64 records that were looked at:" in said
    assert "112 x 112 (64)" in said
    assert "labels: 64" in said
    assert not (tmp_path / "out").exists()


def test_a_dry_run_counts_the_records_where_the_plan_knows_them(tmp_path, capsys):
    folder = SHARED / "data/lfw_original"
    count = sum(1 for _ in folder.rglob("*.jpg"))
    assert measure(tmp_path / "out", "--input", folder, "--dry-run") == 0
    assert f"{count:,} records" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_filtering_a_sample_says_in_its_summary_that_it_is_one(tmp_path, capsys):
    assert measure(tmp_path / "out", "--input", REC, "--sample", 20) == 0
    options = ["--quality", str(tmp_path / "out"), "--drop-worst", "0.5", "--output", str(tmp_path / "kept")]
    assert filter_dataset.run(options) == 0
    (line,) = json.loads((tmp_path / "kept/summary.json").read_text())["samples"]
    assert "a sample: 20 of 96 records" in line
    assert line in capsys.readouterr().out


def test_images_of_a_sampled_table_are_read_again_from_the_whole_shards(tmp_path):
    assert measure(tmp_path / "out", "--input", *SHARDS, "--sample", 40, "--unit-size", 100) == 0
    options = ["--quality", str(tmp_path / "out"), "--write", "folder", "--output", str(tmp_path / "kept")]
    assert filter_dataset.run(options) == 0
    assert len(list((tmp_path / "kept/subset/data").rglob("*.jpg"))) == 40


def test_photographs_are_aligned_as_a_sample(tmp_path):
    options = ["--input", str(SHARED / "data/lfw_original"), "--sample", "6", "--output", str(tmp_path / "out")]
    assert align_dataset.run([*options, "--dry-run"]) == 0
    assert not (tmp_path / "out").exists()
    assert align_dataset.run(options) == 0
    assert pd.read_parquet(tmp_path / "out/quality").key.nunique() == 6
    assert whole_tables([str(tmp_path / "out")], compare="nothing").samples


def test_a_dry_run_doubts_pictures_that_are_not_crops_and_colours_that_are_exchanged(tmp_path, capsys):
    photos = ["--input", SHARED / "data/lfw_original", "--dry-run"]
    assert measure(tmp_path / "out", *photos) == 0
    assert "not aligned crops" in capsys.readouterr().out
    assert measure(tmp_path / "out", "--input", SHARDS[0], "--dry-run", "--channel-order", "bgr-files") == 0
    assert "--channel-order rgb" in capsys.readouterr().out
    assert measure(tmp_path / "out", "--input", SHARDS[0], "--dry-run") == 0
    assert "--channel-order" not in capsys.readouterr().out


NATIVE = SHARED / "data/native"


@pytest.mark.parametrize(
    "file",
    [
        "mxnet_made/legacy_train.rec",
        "mxnet_made/pairs60.bin",
        "other_made/faces.tfrecord",
        "other_made/faces.tfrecord.gz",
        "other_made/faces.lmdb_dataset",
        "insightface_paddle/small_dataset.tar",
        "webdataset_testdata/sample.tgz",
        "webdataset_testdata/compressed.tar",
    ],
)
@pytest.mark.parametrize("unit_size", [3, 4000])
def test_a_sample_of_every_container_is_records_of_the_whole_in_their_order(tmp_path, file, unit_size):
    read = ReadSettings()
    whole = plan_dataset([str(NATIVE / file)], "auto", unit_size, str(tmp_path))
    everything = [record for unit in whole.units for record in records_of(unit, read, None)]
    for wanted in (Sample("sample", 7, 1), Sample("limit", 7), Sample("sample", 10**6), Sample("limit", 10**6)):
        plan, sample = take_sample(whole, wanted, read)
        taken = [record for unit in plan.units for record in records_of(unit, read, sample)]
        assert len(taken) == plan.records == min(wanted.records, len(everything))
        places = [everything.index(record) for record in taken]
        assert places == sorted(places)
        if wanted.kind == "limit":
            assert places == list(range(len(taken)))
        assert sample.out_of in (len(everything), None)
