"""filter_dataset on tables that are not whole: refused, or gone on with and said in log, summary and removed.csv."""

import csv
import json
import logging
import re
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from fiqa_core.tables import load_quality
from fiqa_core.tables.quality_files import TableError
from fiqa_core.tables.whole_tables import whole_tables
from pipelines.cli.log_format import VisibleFormatter
from pipelines.evaluate_quality import run as evaluate
from pipelines.filter_dataset import EXIT_BAD_INPUT, run
from tests.fiqa_core.curation.tables import frame, write_quality
from tests.makers.runs import OTHER_NETWORK, score_shards, write_shards


@pytest.fixture
def shards(tmp_path) -> list[Path]:
    return write_shards(tmp_path / "in", "abcd")


def removed(output: Path) -> list[dict[str, str]]:
    with (output / "removed.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def summary_of(output: Path) -> dict:
    return json.loads((output / "summary.json").read_text())


def test_an_interrupted_run_is_refused_and_allowed_it_is_said_everywhere(shards, tmp_path, caplog, capsys):
    score_shards(tmp_path / "q", shards, units=2, finish=False)
    arguments = ["--quality", str(tmp_path / "q"), "--output", str(tmp_path / "f")]
    assert run(arguments) == EXIT_BAD_INPUT
    assert "2 units are missing, 2 files are there" in caplog.text
    assert not (tmp_path / "f").exists()
    caplog.clear()
    assert run([*arguments, "--allow-incomplete"]) == 0
    assert "incomplete table allowed" in caplog.text
    assert str(shards[3]) in caplog.text
    assert "INCOMPLETE --quality: 2 units are missing; at least 2 records unknown" in capsys.readouterr().out
    found = summary_of(tmp_path / "f")["incomplete"]["quality"]
    assert (found["units_missing"], found["records_unknown_at_least"]) == (2, 2)
    rows = [row for row in removed(tmp_path / "f") if row["reason"] == "not_read" and row["shard"]]
    assert [row["shard"] for row in rows] == [str(shard) for shard in shards[2:]]
    assert all("At least 1 record is not known" in row["explanation"] for row in rows)


def test_a_shard_that_broke_off_counts_as_unknown_records_and_not_as_a_dropped_row(shards, tmp_path, capsys):
    shards[1].write_bytes(shards[1].read_bytes()[:4000])
    score_shards(tmp_path / "q", shards)
    table = pd.read_parquet(tmp_path / "q" / "quality")
    records = int((table.status != "shard_truncated").sum())
    assert len(table) == records + 1
    arguments = ["--quality", str(tmp_path / "q"), "--output", str(tmp_path / "f"), "--min-quality", "0.9999"]
    assert run(arguments) == EXIT_BAD_INPUT
    assert run([*arguments, "--allow-incomplete"]) == 0
    summary = summary_of(tmp_path / "f")
    assert summary["kept"] + sum(summary["dropped"].values()) == summary["rows"] == records
    assert "not_read" not in summary["dropped"]
    assert summary["unread_rows"] == summary["incomplete"]["quality"]["shards_broken_off"] == 1
    said = capsys.readouterr().out
    assert "INCOMPLETE --quality: 1 shard broke off; at least 1 record unknown" in said
    assert f"{records:,} rows:" in said
    # Each row of the table still has its decision.
    decisions = pd.read_parquet(tmp_path / "f" / "decisions")
    assert len(decisions) == len(table)
    assert decisions.reason[decisions.key.isna()].tolist() == ["not_read"]
    (row,) = [row for row in removed(tmp_path / "f") if row["reason"] == "not_read"]
    assert row["shard"] == str(shards[1])
    assert row["explanation"].startswith("At least 1 record is not known: no end-of-archive mark")


def test_tables_of_two_networks_and_the_same_records_twice_are_refused(shards, tmp_path, caplog):
    score_shards(tmp_path / "a", shards[:2])
    score_shards(tmp_path / "b", shards[2:], OTHER_NETWORK)
    score_shards(tmp_path / "c", shards[1:])
    output = ["--output", str(tmp_path / "f")]
    assert run(["--quality", str(tmp_path / "a"), str(tmp_path / "b"), *output]) == EXIT_BAD_INPUT
    assert "checkpoint_sha256" in caplog.text
    assert run(["--quality", str(tmp_path / "a"), str(tmp_path / "c"), *output]) == EXIT_BAD_INPUT
    assert f"{shards[1]}, 0: in {tmp_path / 'a'} and in {tmp_path / 'c'}" in caplog.text
    assert not (tmp_path / "f").exists()


def test_a_set_scored_in_two_runs_is_filtered_as_one_of_all_its_shards(shards, tmp_path):
    score_shards(tmp_path / "a", shards[:3])
    score_shards(tmp_path / "b", shards[3:])
    score_shards(tmp_path / "all", shards)
    kept = {}
    for name, tables in {"one": ["all"], "two": ["a", "b"]}.items():
        arguments = ["--quality", *(str(tmp_path / table) for table in tables), "--drop-worst", "0.25"]
        assert run([*arguments, "--write", "webdataset", "--output", str(tmp_path / name)]) == 0
        decisions = pd.read_parquet(tmp_path / name / "decisions")
        kept[name] = decisions[decisions.keep][["key", "shard", "quality_quantile"]].to_dict("records")
        assert summary_of(tmp_path / name)["subset"]["images"] == 12
    assert kept["one"] == kept["two"]


def test_against_and_embeddings_are_compared_with_their_plans_too(shards, tmp_path, caplog):
    score_shards(tmp_path / "q", shards[:2])
    score_shards(tmp_path / "other", shards[2:], OTHER_NETWORK, units=1, finish=False)
    arguments = ["--quality", str(tmp_path / "q"), "--output", str(tmp_path / "f")]
    against = ["--against", str(tmp_path / "other"), "--overlap-exact"]
    assert run([*arguments, *against]) == EXIT_BAD_INPUT
    assert "1 unit is missing" in caplog.text
    assert run([*arguments, *against, "--allow-incomplete"]) == 0
    assert summary_of(tmp_path / "f")["incomplete"]["against"]["units_missing"] == 1
    caplog.clear()
    assert run([*arguments[:2], "--dry-run", "--embeddings", str(tmp_path / "other")]) == EXIT_BAD_INPUT
    assert "1 unit is missing" in caplog.text


def test_findings_of_a_search_that_was_broken_off_are_refused(tmp_path, caplog):
    rows = frame([0.1, 0.2, 0.3])
    write_quality(tmp_path / "q", rows)
    (tmp_path / "f" / "findings").mkdir(parents=True)
    (tmp_path / "f" / "_findings").mkdir()
    shutil.copy(next((tmp_path / "q").iterdir()), tmp_path / "f" / "findings" / "pairs-000000-0123456789ab.parquet")
    arguments = ["--quality", str(tmp_path / "q"), "--output", str(tmp_path / "o")]
    assert run([*arguments, "--findings", str(tmp_path / "f" / "findings")]) == EXIT_BAD_INPUT
    assert "the search did not finish" in caplog.text


def test_evaluate_refuses_an_unfinished_table(shards, tmp_path, caplog):
    score_shards(tmp_path / "q", shards, units=2, finish=False)
    (tmp_path / "pairs.txt").write_text("a0 a1 1\na0 b0 0\n")
    arguments = ["--quality", f"m={tmp_path / 'q'}", "--embeddings", f"fr={tmp_path / 'q'}", "--no-plots"]
    output = ["--pairs", f"p={tmp_path / 'pairs.txt'}", "--output", str(tmp_path / "e"), "--fmr", "0.5"]
    assert evaluate([*arguments, *output, "--allow-unmeasurable"]) == EXIT_BAD_INPUT
    assert "2 units are missing" in caplog.text
    caplog.clear()
    assert evaluate([*arguments, *output, "--allow-unmeasurable", "--allow-incomplete"]) == EXIT_BAD_INPUT
    assert "incomplete table allowed" in caplog.text  # it got as far as the table that has no embeddings
    assert "has no column 'embedding'" in caplog.text


def test_files_copied_away_from_their_plan_are_refused_where_one_is_missing_between_them(shards, tmp_path, caplog):
    score_shards(tmp_path / "q", shards)
    copied = shutil.copytree(tmp_path / "q" / "quality", tmp_path / "copied")
    arguments = ["--quality", str(copied), "--dry-run"]
    assert run(arguments) == 0
    sorted(copied.glob("*.parquet"))[1].unlink()
    assert run(arguments) == EXIT_BAD_INPUT
    assert "1 unit is missing, 3 files are there" in caplog.text
    assert "no file of unit 1 is there, though there is one of unit 3" in caplog.text
    assert run([*arguments, "--allow-incomplete"]) == 0


def test_the_lines_of_a_refusal_are_lines_and_not_escapes(shards, tmp_path):
    score_shards(tmp_path / "q", shards, units=2, finish=False)
    with pytest.raises(TableError) as refused:
        whole_tables([str(tmp_path / "q")])
    record = logging.LogRecord("filter_dataset", logging.ERROR, "x.py", 1, "%s", (refused.value,), None)
    lines = VisibleFormatter("%(message)s").format(record).splitlines()
    assert lines[0] == "the table is not whole:"
    assert lines[-1].startswith("Numbers over a part")
    assert "\\n" not in "".join(lines)


@pytest.mark.parametrize("column", ["quality", "label", "key"])
def test_a_flipped_bit_in_a_table_is_found_by_its_checksum_and_never_used(shards, tmp_path, caplog, column):
    score_shards(tmp_path / "q", shards)
    file = sorted((tmp_path / "q" / "quality").glob("*.parquet"))[1]
    metadata = pq.ParquetFile(file).metadata
    names = [metadata.schema.column(number).path for number in range(metadata.num_columns)]
    chunk = metadata.row_group(0).column(names.index(column))
    begin = chunk.dictionary_page_offset or chunk.data_page_offset
    data = bytearray(file.read_bytes())
    data[begin + chunk.total_compressed_size - 1] ^= 0x10
    file.write_bytes(data)
    assert run(["--quality", str(tmp_path / "q"), "--output", str(tmp_path / "f")]) == EXIT_BAD_INPUT
    assert f"{file}: damaged" in caplog.text
    with pytest.raises(TableError, match=re.escape(str(file))):
        load_quality(tmp_path / "q")
