"""The output of a training run: nothing of a user's is written over or removed."""

import json
from pathlib import Path

import pytest

from fiqa_core.curation.decisions.filter_run import FILTER_RUN
from fiqa_core.runs.folder import OutputError, prepare, read_account
from fiqa_core.training import checkpoint
from fiqa_core.training.dataset_index import index_of_decisions
from fiqa_core.training.errors import TrainingError
from fiqa_core.training.training_run import TRAINING_RUN
from pipelines.filter_dataset import run as filter_dataset
from tests.makers.runs import score_shards, write_shards


@pytest.mark.parametrize("name", ["model.pt", "settings.json", "metrics.jsonl", "thesis.tex", "checkpoints/step-mine"])
def test_a_new_run_in_a_folder_with_other_files_is_refused_by_name(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}")
    with pytest.raises(OutputError, match=name.partition("/")[0]):
        prepare(str(tmp_path), TRAINING_RUN, resume=False, overwrite=False)


def test_what_a_run_left_that_died_before_its_first_checkpoint_does_not_stand_in_the_way(tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps({"run": {"seed": 1}, "data": {}, "optimiser": {}}))
    (tmp_path / "metrics.jsonl").write_text("")
    (tmp_path / "dataset" / "process-0").mkdir(parents=True)
    (tmp_path / "checkpoints" / "_tmp-step-00000009").mkdir(parents=True)
    for output in (tmp_path, tmp_path / "not-there"):
        prepare(str(output), TRAINING_RUN, resume=False, overwrite=False)


def test_old_checkpoints_go_and_a_users_folder_of_a_like_name_stays(tmp_path):
    for name in ("step-mine", "_tmp-mine", "step-1"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, {"settings": "", "step": step}, {}, keep=1)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["_tmp-mine", "step-00000003", "step-1", "step-mine"]
    assert checkpoint.found(tmp_path) == [tmp_path / "checkpoints" / "step-00000003"]


def test_decisions_of_a_filter_run_that_was_broken_off_are_refused(tmp_path):
    shards = write_shards(tmp_path / "in", "ab")
    plan = score_shards(tmp_path / "q", shards)
    output: Path = tmp_path / "f"
    assert filter_dataset(["--quality", str(tmp_path / "q"), "--output", str(output)]) == 0
    assert len(read_account(str(output), FILTER_RUN)["quality"]) == 2
    (output / "summary.json").unlink()
    (output / "decisions" / "part-000001.parquet").unlink()
    with pytest.raises(TrainingError, match=r"not finished .1 of 2 decisions files are there"):
        index_of_decisions(plan.units, str(output))
