"""calibrate_scores and score_dataset --calibration as a user calls them."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.calibrate_scores import EXIT_BAD_INPUT, run
from pipelines.score_dataset import run as score
from tests.makers.runs import score_shards, write_shards
from tests.shared import lfw_faces, needs_shared


@pytest.fixture
def scored(tmp_path):
    """A table of 4 people with 8 images, and made embeddings that differ more where the score is low."""
    score_shards(tmp_path / "q", write_shards(tmp_path / "in", "abcd", 8))
    table = pd.read_parquet(tmp_path / "q" / "quality")
    random = np.random.default_rng(0)
    people = table.key.str[0]
    centres = {person: random.normal(size=16) for person in "abcd"}
    rank = table.quality.rank(pct=True).to_numpy()
    vectors = np.stack([centres[person] for person in people]) + random.normal(size=(32, 16)) * (1.5 - rank)[:, None]
    embeddings = tmp_path / "embeddings.parquet"
    columns = {"key": table.key, "label": people, "embedding": list(vectors.astype(np.float32))}
    pq.write_table(pa.table(columns), embeddings)
    return tmp_path, embeddings


def test_a_table_embeddings_and_labels_become_a_calibration(scored, capsys):
    folder, embeddings = scored
    flags = ["--quality", str(folder / "q"), "--embeddings", f"eye={embeddings}", "--name", "grey", "--fmr", "0.02"]
    flags += ["--bootstrap", "5", "--output", str(folder / "c.json")]
    assert run(flags) == 0
    content = json.loads((folder / "c.json").read_text())
    assert (content["set"], content["judge"], content["images"], content["subjects"]) == ("grey", "eye", 32, 4)
    assert content["network"]["checkpoint_sha256"] == "0" * 64
    assert content["mated_pairs"] == 4 * 28
    assert "predicted FNMR" in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == ["c.json", "embeddings.parquet", "in", "q"]
    assert run(flags) == EXIT_BAD_INPUT  # the file is there
    assert run([*flags, "--overwrite"]) == 0


def test_a_pair_list_is_taken_instead_of_labels(scored):
    folder, embeddings = scored
    keys = sorted(pd.read_parquet(folder / "q" / "quality").key)
    pairs = [f"{a} {b} {int(a[0] == b[0])}\n" for place, a in enumerate(keys) for b in keys[place + 1 : place + 12]]
    (folder / "pairs.txt").write_text("".join(pairs))
    flags = ["--quality", str(folder / "q"), "--embeddings", f"eye={embeddings}", "--pairs", str(folder / "pairs.txt")]
    assert run([*flags, "--fmr", "0.05", "--bootstrap", "3", "--output", str(folder / "c.json")]) == 0
    assert json.loads((folder / "c.json").read_text())["mated_pairs"] == sum(line[-2] == "1" for line in pairs)


def test_scores_that_name_no_network_and_networks_as_embeddings_are_refused(scored, caplog):
    folder, embeddings = scored
    table = pd.read_parquet(folder / "q" / "quality")
    table.to_parquet(folder / "foreign.parquet")
    output = ["--output", str(folder / "c.json")]
    assert run(["--quality", str(folder / "foreign.parquet"), "--embeddings", f"e={embeddings}", *output]) == 2
    assert "does not say which network" in caplog.text
    assert run(["--quality", str(folder / "q"), "--embeddings", "e=model.onnx", *output]) == EXIT_BAD_INPUT
    assert "fiqa embed" in caplog.text
    assert run(["--quality", str(folder / "q"), "--embeddings", f"e={embeddings}", "--fmrs", "1", *output]) == 2
    assert "Did you mean --fmr" in caplog.text
    assert not (folder / "c.json").exists()


@needs_shared
def test_score_dataset_adds_what_the_shipped_calibration_says(tmp_path, capsys):
    faces = tmp_path / "faces"
    faces.mkdir()
    for key, _, data in lfw_faces(6):
        (faces / f"{key}.jpg").write_bytes(data)
    flags = ["--input", str(faces), "--device", "cpu", "--calibration", "embedded"]
    assert score([*flags, "--output", str(tmp_path / "out")]) == 0
    table = pd.read_parquet(tmp_path / "out" / "quality").sort_values("quality")
    assert table.percentile.is_monotonic_increasing
    assert table.predicted_fnmr.is_monotonic_decreasing
    assert table.percentile.between(0, 100).all()
    assert "percentile in lfw-test (judge edgeface, FMR 0.001)" in capsys.readouterr().out
