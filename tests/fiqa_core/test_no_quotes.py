"""A file that is not what it should be (a link to a system file) is refused without a word of its content."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fiqa_core.curation.decisions.policy_file import read_policy
from fiqa_core.evaluation.pairs import read_pairs
from fiqa_core.evaluation.sources import read_embeddings, read_qualities
from fiqa_core.evaluation.templates import read_templates
from fiqa_core.networks.onnx_session import read_onnx
from fiqa_core.runs.folder import read_account
from fiqa_core.scoring.run import SCORING_RUN
from fiqa_core.tables import load_quality
from fiqa_core.tables.embedding_files import EmbeddingSource, embedding_files, join_digests
from pipelines import train_fiqa

SECRETS = {
    "accounts": "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:Sn4ke:/:/usr/sbin/nologin\n",
    "settings": "Sn4ke: hunter2\nother: root:x\n",
    "one setting": "Sn4ke: hunter2\n",
    "tabs": "\tSn4ke: [hunter2\n root: &x\n",
    "alias": "a: *Sn4ke\n",
    "tag": "!Sn4ke\nroot: 1\n",
    "words": "%Sn4ke hunter2 is the word\n@root\n",
    "json": json.dumps({"Sn4ke": "hunter2", "unit_size": "root:"}),
    "numbers": "3\nSn4ke hunter2 root:\n",
}


def _train(path: str) -> object:
    if train_fiqa.run(["--config", path]) == 2:
        raise ValueError("its message is in the log")
    return None


def _keys(path: str) -> object:
    import numpy as np

    np.save(f"{path}.npy", np.zeros((7, 4), np.float32))
    source = EmbeddingSource("npy", (f"{path}.npy",), keys=path, join="key")
    return join_digests(source, embedding_files(source, []))


READERS: dict[str, Callable[[str], object]] = {
    "policy.yaml": read_policy,
    "pairs.txt": read_pairs,
    "templates.txt": read_templates,
    "scores.txt": read_qualities,
    "scores.npy": read_qualities,
    "table.parquet": load_quality,
    "embeddings.npy": read_embeddings,
    "net.onnx": read_onnx,
    "train.yaml": _train,
    "run.json": lambda path: read_account(path.rpartition("/")[0], SCORING_RUN),
    "keys.txt": _keys,
}


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("name", READERS)
def test_an_error_never_quotes_a_file_that_is_not_what_it_should_be(name, secret, tmp_path: Path, caplog) -> None:
    (tmp_path / "elsewhere").write_text(SECRETS[secret])
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises((ValueError, OSError)) as caught:
        READERS[name](str(tmp_path / name))
    said = f"{caught.value} {caplog.text}"
    assert name in said
    for word in ("Sn4ke", "hunter2", "root:", "nologin"):
        assert word not in said


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_or_device_is_refused_at_once_in_the_place_of_any_file(name: str, tmp_path: Path, caplog) -> None:
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises((ValueError, OSError)) as caught:
        READERS[name](str(tmp_path / name))
    assert "a device, pipe or socket" in f"{caught.value} {caplog.text}"


def test_a_run_json_nested_too_deeply_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"run\.json: not readable"):
        read_account(str(tmp_path), SCORING_RUN)


def test_a_policy_s_misspelt_name_is_still_told(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("qualty:\n  min: 1\n")
    with pytest.raises(ValueError, match=r"'qualty'.*Did you mean 'quality'"):
        read_policy(str(tmp_path / "policy.yaml"))
