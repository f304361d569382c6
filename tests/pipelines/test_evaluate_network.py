"""A face recognition network given to the evaluation embeds the images of the pairs by itself."""

from itertools import combinations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pipelines.cli.exit_codes import EXIT_BUG
from pipelines.embed_dataset import run as embed_dataset
from pipelines.evaluate_quality import run
from tests.makers.onnx_models import write_linear


def test_a_network_gives_the_curves_of_the_table_that_embed_dataset_writes_with_it(tmp_path, capsys):
    random = np.random.default_rng(0)
    faces = tmp_path / "faces"
    keys = [f"p{person}/{image}" for person in range(3) for image in range(3)]
    for key in keys:
        (faces / key).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (112, 112, 3), np.uint8)).save(faces / f"{key}.png")
    network = str(write_linear(tmp_path / "fr.onnx", (2, 3, 112, 112)))
    pairs = "".join(f"{a} {b} {int(a[:2] == b[:2])}\n" for a, b in combinations(keys, 2))
    (tmp_path / "pairs.txt").write_text(pairs)
    pq.write_table(pa.table({"key": keys, "quality": pa.array(random.random(9), pa.float32())}), tmp_path / "q.parquet")
    common = ["--quality", f"q={tmp_path / 'q.parquet'}", "--pairs", f"set={tmp_path / 'pairs.txt'}", "--fmr", "0.1"]
    common += ["--no-plots", "--random-seeds", "1"]
    options = ["--flip", "--onnx-mean", "100", "--device", "cpu"]
    flags = ["--embeddings", f"fr={network}", "--images", f"set={faces}", "--output", str(tmp_path / "direct")]
    assert run([*common, *flags, *options]) == 0
    # What was embedded lay in a folder that is gone now.
    assert "next:" not in capsys.readouterr().out
    table = str(tmp_path / "table")
    assert embed_dataset(["--model", network, "--input", str(faces), "--output", table, *options]) == 0
    assert run([*common, "--embeddings", f"fr={table}", "--output", str(tmp_path / "by-table")]) == 0
    direct, by_table = (pd.read_parquet(tmp_path / name / "edc.parquet") for name in ("direct", "by-table"))
    pd.testing.assert_frame_equal(direct, by_table)
    assert direct.threshold.notna().any()


def test_a_network_that_cannot_be_used_ends_the_evaluation(tmp_path, caplog):
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    (tmp_path / "pairs.txt").write_text("a b 1\na c 0\n")
    flags = [
        "--quality",
        str(tmp_path / "q.txt"),
        "--pairs",
        f"set={tmp_path / 'pairs.txt'}",
        "--no-plots",
        "--fmr",
        "0.5",
    ]
    (tmp_path / "q.txt").write_text("a 1\nb 2\nc 3\n")
    flags += ["--embeddings", f"fr={tmp_path / 'bad.onnx'}", "--images", f"set={tmp_path}", "--allow-unmeasurable"]
    assert run([*flags, "--output", str(tmp_path / "out")]) == 2
    assert "was not embedded by" in caplog.text
    assert not (tmp_path / "out").exists()


def test_a_bug_while_a_network_embeds_is_a_bug_of_the_evaluation(tmp_path, caplog, monkeypatch):
    def fail(*_: object, **__: object) -> int:
        raise KeyError("a bug")

    monkeypatch.setattr("pipelines.jobs.embed_job.run", fail)
    (tmp_path / "pairs.txt").write_text("a b 1\na c 0\n")
    (tmp_path / "q.txt").write_text("a 1\nb 2\nc 3\n")
    flags = ["--quality", str(tmp_path / "q.txt"), "--pairs", f"set={tmp_path / 'pairs.txt'}", "--no-plots"]
    flags += ["--embeddings", "fr=model.onnx", "--images", f"set={tmp_path}", "--fmr", "0.5", "--allow-unmeasurable"]
    assert run([*flags, "--output", str(tmp_path / "out")]) == EXIT_BUG
    assert "Traceback" in caplog.text
    assert not list(tmp_path.glob("out/*"))
