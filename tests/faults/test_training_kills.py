"""train_fiqa on an output that it wrote before: resume, overwrite, and kill -9 in the middle."""

import json
from pathlib import Path

import pytest
import torch

from tests.makers.containers import face_records, write_webdataset

JOB = "tests.faults.jobs:train"
CONFIG = {
    "run": {"log_steps": 1, "threads": 1, "device": "cpu", "checkpoint_minutes": 0, "score_only": "float32"},
    "network": {"width": 16, "depth": 1, "patch": 28},
    "optimiser": {"batch": 6, "epochs": 1, "warmup_epochs": 0},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    write_webdataset(folder / "in-%06d.tar", face_records(18, identities=3), maxcount=18)
    (folder / "config.json").write_text(json.dumps(CONFIG | {"data": {"input": str(folder / "in-000000.tar")}}))
    return folder


@pytest.fixture(scope="module")
def whole(data, prepared, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("whole") / "run"
    assert prepared.run(JOB, flags(data, output)) == 0
    return output


def flags(data: Path, output: Path, *more: str) -> list[str]:
    return ["--config", str(data / "config.json"), "--output", str(output), *more]


def weights(output: Path) -> dict[str, torch.Tensor]:
    return torch.load(output / "model.pt", weights_only=True)["state_dict_backbone"]


def contents(output: Path) -> dict[str, int]:
    return {str(path.relative_to(output)): path.stat().st_mtime_ns for path in output.rglob("*")}


@pytest.mark.parametrize("name", ["settings.json", "step-00000002", "model.pt"])
def test_killed_before_any_file_is_in_place_it_does_not_look_whole_and_resume_ends_as_the_undisturbed(
    data, whole, prepared, tmp_path, name
):
    output = tmp_path / "run"
    assert prepared.run("tests.faults.jobs:train_and_be_killed", name, flags(data, output)) == -9
    assert not (output / name).exists()
    assert not (output / "checkpoints" / name).exists()
    assert not (output / "model.safetensors").exists()
    assert prepared.run(JOB, flags(data, output, "--resume")) == 0
    assert all(torch.equal(tensor, weights(whole)[key]) for key, tensor in weights(output).items())
    assert {path.name for path in output.iterdir()} == {path.name for path in whole.iterdir()}


def test_resume_of_a_complete_run_says_so_and_other_settings_are_named_then_and_now(data, whole, prepared):
    before = contents(whole)
    child = prepared.start(JOB, flags(data, whole, "--resume"))
    assert child.wait() == 0
    assert "is complete already: nothing to do" in child.log.read_text()
    child = prepared.start(JOB, flags(data, whole, "--resume", "--set", "optimiser.lr=0.5"))
    assert child.wait() == 2
    assert "so --resume would mix two:\n  optimiser.lr: 0.001 then, 0.5 now\nUse the earlier" in child.log.read_text()
    child = prepared.start(JOB, flags(data, whole))
    assert child.wait() == 2
    assert "--resume keeps its finished checkpoints and does the rest, --overwrite starts" in child.log.read_text()
    ours = {name: when for name, when in contents(whole).items() if not name.startswith(("dataset", "tensorboard"))}
    assert ours == {name: when for name, when in before.items() if name in ours}


def test_overwrite_replaces_a_run_and_touches_nothing_where_somebody_elses_file_lies(data, prepared, tmp_path):
    output = tmp_path / "run"
    assert prepared.run(JOB, flags(data, output)) == 0
    first = weights(output)
    for name in ("thesis.tex", "checkpoints/step-mine", "checkpoints/step-00000003/notes.txt", "tensorboard/mine"):
        (output / name).write_text("years of work")
        before = contents(output)
        child = prepared.start(JOB, flags(data, output, "--overwrite", "--set", "run.seed=4"))
        assert child.wait() == 2
        assert f"only what a training run writes is ever removed, but there is also '{name}'" in child.log.read_text()
        assert contents(output) == before
        (output / name).unlink()
    assert prepared.run(JOB, flags(data, output, "--overwrite", "--set", "run.seed=4")) == 0
    assert any(not torch.equal(tensor, first[key]) for key, tensor in weights(output).items())
    assert [json.loads(line)["step"] for line in (output / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3]
