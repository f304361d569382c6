"""What a run reads back of itself: damaged columns, hostile JSON, a grown input, settings of half precision."""

import json
import logging
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from fiqa_core.runs.folder import OutputError
from fiqa_core.runs.own_files import holds_run
from fiqa_core.runs.plan import plan_dataset
from fiqa_core.scoring.run import begin, prepare_output
from fiqa_core.scoring.settings import ScoreSettings
from pipelines import score_dataset
from pipelines.cli.table_options import batch_setting
from schemas.versions import QUALITY_SCHEMA_VERSION
from tests.fakes import MeanScorerSource
from tests.makers.images import png_bytes
from tests.makers.runs import SETTINGS, score_shards, write_shards


@pytest.fixture
def shards(tmp_path) -> list[Path]:
    return write_shards(tmp_path / "in", "abc")


def command(shards, output, *more) -> list[str]:
    return ["--input", *map(str, shards), "--output", str(output), *more]


def damage(path: Path, column: str) -> None:
    """Flip a bit in the middle of a column's pages."""
    metadata = pq.read_metadata(path)
    number = metadata.schema.names.index(column)
    chunk = metadata.row_group(0).column(number)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data = bytearray(path.read_bytes())
    data[start + chunk.total_compressed_size - 3] ^= 16
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("column", ["key", "index", "quality", "status", "width", "sha256", "phash", "thumb"])
def test_a_damaged_column_of_a_finished_table_is_mended_by_resume(shards, tmp_path, column, caplog):
    out = tmp_path / "out"
    assert score_dataset.run(command(shards, out, "--phash"), MeanScorerSource()) == 0
    before = pd.read_parquet(out / "quality")
    path = sorted((out / "quality").iterdir())[1]
    content = path.read_bytes()
    damage(path, column)
    assert path.read_bytes() != content
    assert score_dataset.run(command(shards, out, "--phash", "--resume"), MeanScorerSource()) == 0
    assert path.read_bytes() == content
    assert f"{path}: damaged" in caplog.text
    pd.testing.assert_frame_equal(pd.read_parquet(out / "quality"), before)


HOSTILE = {
    "nested": b'{"a":' * 100_000,
    "list": b"[]",
    "digits": b'{"unit_size": ' + b"9" * 5000 + b"}",
    "not text": b"\xff\xfe\x00",
    "cut": b'{"inputs": ["x"',
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_run_json_gets_a_sentence(shards, tmp_path, content, caplog):
    out = tmp_path / "out"
    score_shards(out, shards)
    (out / "run.json").write_bytes(content)
    for flag in ("--resume", "--overwrite"):
        caplog.clear()
        assert score_dataset.run(command(shards, out, flag), MeanScorerSource()) == score_dataset.EXIT_BAD_INPUT
        assert f"{out / 'run.json'}: not readable as a scoring run's" in caplog.text
        assert len(caplog.text) < 2000
    assert not holds_run(str(out))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("unit_size", True),
        ("unit_size", 10**30),
        ("unit_size", "4"),
        ("settings", {"read": [1], "arch": {"a": {"b": 1}}, "mode": "x" * 10**6}),
        ("plan_version", {"deep": [[[]]]}),
    ],
)
def test_wrong_types_in_run_json_are_refused_in_words(shards, tmp_path, name, value):
    out = tmp_path / "out"
    score_shards(out, shards)
    run = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(run | {name: value}))
    with pytest.raises(OutputError) as refused:
        score_shards(out, shards, resume=True)
    assert len(str(refused.value)) < 2000


def test_an_account_that_was_changed_by_hand_is_not_believed(shards, tmp_path):
    out = tmp_path / "out"
    score_shards(out, shards)
    plan = plan_dataset([str(path) for path in shards], "auto", 4, f"{out}/plan")
    assert begin(str(out), ["x"], 4, SETTINGS, plan) is not None
    for content in ('{"complete": true}', "[" * 100_000, "7"):
        (out / "summary.json").write_text(content)
        assert begin(str(out), ["x"], 4, SETTINGS, plan) is None


def test_a_run_json_of_gigabytes_is_not_read(tmp_path, shards):
    out = tmp_path / "out"
    score_shards(out, shards)
    with (out / "run.json").open("r+b") as stream:
        stream.truncate(4 << 30)  # a sparse file
    with pytest.raises(OutputError, match="which no run writes"):
        prepare_output(str(out), resume=True, overwrite=False)


def test_resume_on_a_grown_input_points_to_a_second_table(tmp_path, shards):
    score_shards(tmp_path / "out", shards[:2])
    with pytest.raises(OutputError, match=r"c\.tar: not in the earlier run[\s\S]*--quality FIRST SECOND"):
        score_shards(tmp_path / "out", shards, resume=True)
    with pytest.raises(OutputError) as other:
        score_shards(tmp_path / "out", shards, replace(SETTINGS, min_side=17), resume=True)
    assert "--quality FIRST" not in str(other.value)


def test_resume_on_a_grown_folder_points_to_a_second_table(tmp_path):
    folder = tmp_path / "faces"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(png_bytes(number, 20))
    score_shards(tmp_path / "out", [folder])
    (folder / "3.png").write_bytes(png_bytes(3, 20))
    with pytest.raises(OutputError, match=r"its content changed[\s\S]*--quality FIRST SECOND"):
        score_shards(tmp_path / "out", [folder], resume=True)


def test_a_table_of_an_earlier_schema_is_not_resumed(tmp_path, shards):
    score_shards(tmp_path / "out", shards)
    place = tmp_path / "out" / "run.json"
    run = json.loads(place.read_text())
    del run["schema_version"]
    place.write_text(json.dumps(run))
    with pytest.raises(OutputError, match=f"table schema version: 1 then, {QUALITY_SCHEMA_VERSION} now"):
        score_shards(tmp_path / "out", shards, resume=True)


def test_a_shard_that_broke_off_is_named_with_what_is_known_of_the_loss(tmp_path, shards, caplog):
    shards[1].write_bytes(shards[1].read_bytes()[:4000])
    with caplog.at_level(logging.WARNING):
        score_shards(tmp_path / "out", shards)
    (loss,) = json.loads((tmp_path / "out" / "summary.json").read_text())["shards_broken_off"]
    assert loss["shard"] == str(shards[1])
    assert loss["unit"] == 1
    assert loss["status"] == "shard_truncated"
    assert "ends" in loss["reason"]
    assert loss["records_lost_at_least"] == 1
    assert loss["bytes_lost"] is None  # what was cut off is not there to be measured
    assert f"{shards[1]} broke off at record {loss['index']}" in caplog.text


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16", "int8"])
def test_the_batch_size_is_a_setting_of_half_precision_only(precision):
    def digest(size: int | None) -> str:
        given = Namespace(precision=precision, batch_size=size, device="cpu", gpu=None)
        return ScoreSettings("v", "token", "0" * 64, precision=precision, batch_size=batch_setting(given)).digest()

    assert (digest(4) != digest(16)) == (precision in ("bf16", "fp16"))
    assert digest(None) == digest(8)  # the default on a CPU
    without = ScoreSettings("v", "token", "0" * 64, precision=precision).to_dict()
    assert "batch_size" not in without


def test_the_command_writes_it_down(tmp_path, shards, monkeypatch):
    seen = []
    monkeypatch.setattr("pipelines.jobs.score_job.run_table", lambda job: seen.append(job.settings.to_dict()) or 0)
    half = ["--precision", "bf16", "--batch-size", "3", "--device", "cpu"]
    assert score_dataset.run(command(shards, tmp_path / "a", *half)) == 0
    assert score_dataset.run(command(shards, tmp_path / "a", "--batch-size", "3", "--device", "cpu")) == 0
    assert [settings.get("batch_size") for settings in seen] == [3, None]


def test_the_plan_is_the_same_file_wherever_the_output_lies_and_after_a_death_while_planning(tmp_path):
    folder = tmp_path / "faces"
    folder.mkdir()
    for number in range(9):
        (folder / f"{number}.png").write_bytes(png_bytes(number, 20))
    inputs = [folder]
    score_shards(tmp_path / "a", inputs)
    # Killed with the listing written and the plan of units in the making.
    (tmp_path / "b" / "plan" / "_tmp").mkdir(parents=True)
    (tmp_path / "b" / "plan" / "_tmp" / "fiqa-01").write_bytes(b"half")
    plan_dataset([str(folder)], "auto", 4, f"{tmp_path}/b/plan")
    score_shards(tmp_path / "b", inputs)
    for name in ("plan/units.parquet", *(f"plan/{p.name}" for p in (tmp_path / "a" / "plan").glob("files-*"))):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
