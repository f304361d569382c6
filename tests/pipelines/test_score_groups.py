"""score_dataset --group-by: the summary of a run says how scores fall in each group."""

import json

import numpy as np
import pandas as pd
import pytest

from pipelines.score_dataset import EXIT_BAD_INPUT, EXIT_OK, run
from tests.fakes import MeanScorerSource
from tests.makers.containers import face_records, write_folder


def scored(folder, *more):
    command = ["--input", str(folder / "faces"), "--output", str(folder / "out"), *map(str, more)]
    return run(command, MeanScorerSource())


def test_the_summary_has_records_scores_and_quantiles_of_each_group_and_stays_an_account(tmp_path, capsys):
    write_folder(tmp_path / "faces", face_records(7))
    (tmp_path / "faces" / "broken.png").write_bytes(b"no picture")
    assert scored(tmp_path) == EXIT_OK
    table = pd.read_parquet(tmp_path / "out" / "quality")
    listed = pd.DataFrame({"key": sorted(table.key)[:-2]})
    listed["group"] = np.where(np.arange(len(listed)) % 2, "odd", "even")
    listed.to_csv(tmp_path / "groups.csv", index=False)
    # A run that is complete needs no image again for it.
    assert scored(tmp_path, "--resume", "--group-by", tmp_path / "groups.csv") == EXIT_OK
    shown = capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "summary.json").read_text())["groups"]
    names = table.key.map(dict(zip(listed.key, listed.group, strict=True))).fillna("(no group)")
    assert found["by"] == "group"
    assert set(found["groups"]) == set(names)
    for name, group in found["groups"].items():
        own = table[names == name]
        values = own.quality.dropna().sort_values()
        assert (group["records"], group["scored"]) == (len(own), len(values))
        assert group["quality_mean"] == pytest.approx(values.mean(), abs=1e-6)
        assert group["quality_quantiles"]["0.5"] == pytest.approx(values.iloc[(len(values) - 1) // 2])
        assert f"  {name} " in shown
    assert sum(group["records"] for group in found["groups"].values()) == len(table)
    capsys.readouterr()
    assert scored(tmp_path, "--resume", "--group-by", "label") == EXIT_OK
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["groups"]["by"] == "label"


def test_a_file_of_groups_that_is_not_there_is_refused_before_anything_is_scored(tmp_path, caplog):
    write_folder(tmp_path / "faces", face_records(2))
    assert scored(tmp_path, "--group-by", tmp_path / "none.csv") == EXIT_BAD_INPUT
    assert "none.csv" in caplog.text
    assert not (tmp_path / "out" / "quality").exists()
