"""The output of an evaluation: only what its account names is replaced."""

import json
from pathlib import Path

import pytest

from fiqa_core.evaluation.evaluation_run import prepare_output, publish_all
from fiqa_core.runs.folder import OutputError


def finished(folder: Path, names: list[str]) -> Path:
    work = folder.parent / "work"
    work.mkdir(exist_ok=True)
    files = {}
    for name in names:
        (work / name).write_text(name)
        files[name] = work / name
    publish_all(str(folder), files, {"files": sorted(files)})
    return folder


def test_a_users_file_with_a_name_like_ours_is_not_replaced(tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "auc.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"auc\.csv"):
        prepare_output(str(output), resume=False, overwrite=True)
    (output / "auc.csv").unlink()
    finished(output, ["auc.csv", "edc.parquet"])
    prepare_output(str(output), resume=False, overwrite=True)
    (output / "edc-mine.png").write_text("mine")
    with pytest.raises(OutputError, match=r"edc-mine\.png"):
        prepare_output(str(output), resume=False, overwrite=True)


def test_overwriting_replaces_what_was_written_and_leaves_other_temporaries(tmp_path):
    output = finished(tmp_path / "out", ["auc.csv", "edc-a.png"])
    (output / "_tmp").mkdir()
    (output / "_tmp" / "draft").write_text("mine")
    finished(output, ["auc.csv"])
    assert sorted(path.name for path in output.iterdir()) == ["_tmp", "auc.csv", "evaluation.json"]
    assert (output / "_tmp" / "draft").read_text() == "mine"


def test_an_evaluation_that_was_broken_off_can_be_overwritten(tmp_path):
    output = finished(tmp_path / "out", ["auc.csv"])
    with pytest.raises(FileNotFoundError):
        publish_all(str(output), {"auc.csv": tmp_path / "gone", "edc.parquet": tmp_path / "gone"}, {"files": []})
    assert json.loads((output / "evaluation.json").read_text())["complete"] is False
    prepare_output(str(output), resume=False, overwrite=True)
    with pytest.raises(OutputError, match="earlier evaluation"):
        prepare_output(str(output), resume=False, overwrite=False)


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", '{"files": "auc.csv"}', '{"files": [{}, "../x"]}'])
def test_a_hostile_account_names_nothing(tmp_path, content):
    output = finished(tmp_path / "out", ["auc.csv"])
    (output / "evaluation.json").write_text(content)
    with pytest.raises(OutputError, match=r"evaluation\.json: not readable as an evaluation's"):
        prepare_output(str(output), resume=False, overwrite=True)
