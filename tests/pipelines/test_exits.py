"""`--exit` and `--fuse` of score_dataset: settings, resume, and the exit that is found on a sample."""

import json
import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fiqa_core import QualityScorer
from pipelines import filter_dataset
from pipelines.score_dataset import EXIT_BAD_INPUT, run
from tests.makers.faces import lfw_faces


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("faces")
    for face in lfw_faces(40):
        (root / f"{face.key}.jpg").write_bytes(face.data)
    return root


def score(folder: Path, output: Path, *options: object) -> int:
    return run(["--input", str(folder), "--output", str(output), "--device", "cpu", *map(str, options)])


def settings(output: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((output / "run.json").read_text())["settings"]
    return found


def qualities(output: Path) -> np.ndarray:
    return pd.read_parquet(output / "quality").sort_values("key").quality.to_numpy()


def test_the_exit_is_scored_and_named_in_the_settings_and_a_resume_with_another_is_refused(folder, tmp_path, caplog):
    assert score(folder, tmp_path / "out", "--exit", 2) == 0
    assert settings(tmp_path / "out")["exit"] == 2
    files = sorted(folder.glob("*.jpg"), key=lambda file: file.name)
    expected = QualityScorer.from_checkpoint(device="cpu", exit=2).score(files)
    np.testing.assert_allclose(qualities(tmp_path / "out"), expected, atol=1e-5)
    assert score(folder, tmp_path / "out", "--exit", 3, "--resume") == EXIT_BAD_INPUT
    assert "exit" in caplog.text
    assert score(folder, tmp_path / "out", "--fuse", "mean", "--resume") == EXIT_BAD_INPUT
    assert score(folder, tmp_path / "out", "--exit", 2, "--resume") == 0


def test_the_last_block_by_number_has_the_settings_of_an_ordinary_run(folder, tmp_path):
    assert score(folder, tmp_path / "named", "--exit", 3) == 0
    assert not {"exit", "fuse"} & set(settings(tmp_path / "named"))
    assert score(folder, tmp_path / "named", "--resume") == 0


def test_auto_takes_the_earliest_exit_that_decides_as_the_whole_network_and_says_so(folder, tmp_path, caplog):
    every = [QualityScorer.from_checkpoint(device="cpu", exit=exit_) for exit_ in (1, 2, 3)]
    files = sorted(folder.glob("*.jpg"), key=lambda file: file.name)
    dropped = [set(np.argsort(scorer.score(files), kind="stable")[:10]) for scorer in every]
    agreement = [1 - len(each ^ dropped[-1]) / len(files) for each in dropped]
    wanted = 0.84
    earliest = next(number for number, share in enumerate(agreement, start=1) if share >= wanted)
    caplog.set_level(logging.INFO)
    assert score(folder, tmp_path / "out", "--exit", f"auto:{wanted}", "--drop-worst", 0.25) == 0
    said = re.search(r"exit (\d) of 3: on a sample of 40 images, of which the policy drops 25.0 %", caplog.text)
    assert said is not None
    assert int(said.group(1)) == earliest
    assert f"All exits, in %: 1: {100 * agreement[0]:.1f}, 2: {100 * agreement[1]:.1f}" in caplog.text
    assert settings(tmp_path / "out").get("exit", 3) == earliest
    np.testing.assert_allclose(qualities(tmp_path / "out"), every[earliest - 1].score(files), atol=1e-5)
    # The found exit is the setting: naming it continues the same run.
    assert score(folder, tmp_path / "out", "--exit", earliest, "--resume") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--exit", "auto:0.9"], "say by which policy, with --policy or --drop-worst"),
        (["--exit", "2", "--fuse", "mean"], "give only one of the two"),
        (["--drop-worst", "0.1"], "--drop-worst says what --exit auto:SHARE goes by"),
        (["--exit", "2", "--calibration", "embedded"], "was made for another network (mode token, here token, exit 2)"),
        (["--exit", "auto:0.9", "--drop-worst", "0.1", "--calibration", "embedded"], "name the exit"),
        (["--exit", "7"], "exit 7: this network has 3 blocks; expected 1 to 3"),
        (["--exit", "auto:0.9", "--drop-worst", "0"], "the policy drops none"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message, folder, tmp_path, caplog):
    assert score(folder, tmp_path / "out", *options) == EXIT_BAD_INPUT
    assert message in caplog.text
    assert not list((tmp_path / "out").glob("quality/*"))


@pytest.mark.parametrize("wrong", ["0", "-1", "auto:", "auto:0.2", "auto:1.5", "six", "auto:nan"])
def test_an_exit_that_is_not_a_block_or_a_share_is_a_usage_error(wrong, folder, tmp_path, capsys):
    with pytest.raises(SystemExit):
        score(folder, tmp_path / "out", f"--exit={wrong}")
    assert "--exit" in capsys.readouterr().err


def test_a_network_without_exits_is_refused_by_its_file(folder, tmp_path, caplog):
    from fiqa_core.networks.architectures import named

    network = named("iresnet_1-1-1-1", "crfiqa").build()
    tensors = {
        name: torch.ones(t.shape) if t.is_floating_point() else torch.tensor(0)
        for name, t in network.state_dict().items()
    }
    torch.save(tensors, tmp_path / "backbone.pth")
    assert score(folder, tmp_path / "out", "--model", tmp_path / "backbone.pth", "--exit", "1") == EXIT_BAD_INPUT
    assert "exits and fusion exist for ViT networks only" in caplog.text


def test_tables_of_two_exits_are_not_mixed_by_the_filter(folder, tmp_path, capsys, caplog):
    assert score(folder, tmp_path / "a", "--exit", "2", "--limit", "4") == 0
    assert score(folder, tmp_path / "b", "--fuse", "mean", "--limit", "4") == 0
    options = ["--quality", str(tmp_path / "a"), str(tmp_path / "b"), "--drop-worst", "0.1", "--dry-run"]
    assert filter_dataset.run(options) == EXIT_BAD_INPUT
    assert "exit: 2 in" in caplog.text
    assert "fuse: none in" in caplog.text
