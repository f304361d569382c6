"""The score_dataset command as a user calls it, on real faces in real containers."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from pipelines.score_dataset import EXIT_BAD_INPUT, EXIT_INCOMPLETE, run
from tests.shared import GOLDEN, lfw_faces, needs_shared, write_golden_checkpoint

pytestmark = needs_shared
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    return write_golden_checkpoint("vit_t-token", tmp_path_factory.mktemp("weights") / "model.pt")


@pytest.fixture(scope="session")
def faces() -> list[tuple[str, str, bytes]]:
    return lfw_faces(60)


@pytest.fixture(scope="session")
def folder(tmp_path_factory, faces) -> Path:
    root = tmp_path_factory.mktemp("folder")
    for key, label, data in faces:
        (root / label).mkdir(exist_ok=True)
        (root / label / f"{key}.jpg").write_bytes(data)
    return root


def score(output: Path, checkpoint: Path, *arguments: object) -> int:
    return run(["--output", str(output), "--model", str(checkpoint), "--device", "cpu", *map(str, arguments)])


def qualities(output: Path) -> dict[bytes, float]:
    table = pd.read_parquet(output / "quality")
    assert set(table.status) == {"scored"}
    return dict(zip(table.sha256, table.quality, strict=True))


def test_golden_images_score_as_the_original_through_the_file_path(tmp_path):
    checkpoint = write_golden_checkpoint("vit_s-token", tmp_path / "model.pt")
    for order, expected in (("rgb", "quality_rgb"), ("bgr-files", "quality_bgr_unswapped")):
        out = tmp_path / order
        assert score(out, checkpoint, "--input", GOLDEN / "images", "--channel-order", order) == 0
        golden = json.loads((GOLDEN / "vit_s-token" / "expected.json").read_text())[expected]
        found = pd.read_parquet(out / "quality").set_index("key").quality
        spread = max(golden.values()) - min(golden.values())
        assert max(abs(found[name] - value) for name, value in golden.items()) <= 1e-4 * spread


def test_scores_do_not_depend_on_container_batch_units_or_threads(tmp_path, checkpoint, folder, faces):
    with webdataset.ShardWriter(str(tmp_path / "t-%04d.tar"), maxcount=25, verbose=0) as writer:
        for key, label, data in faces:
            writer.write({"__key__": key, "jpg": data, "cls": label.encode()})
    struct = [{"bytes": data, "path": key} for key, _, data in faces]
    labels = [int(label) for _, label, _ in faces]
    pq.write_table(pa.table({"image": struct, "label": labels}), tmp_path / "s.parquet", row_group_size=7)
    cases = {
        "folder": ("--input", folder),
        "small": ("--input", folder, "--batch-size", 3, "--unit-size", 7, "--decode-threads", 3),
        "tar": ("--input", tmp_path / "t-*.tar", "--threads", 1),
        "parquet": ("--input", tmp_path / "s.parquet", "--unit-size", 10),
        "processes": (
            "--input",
            tmp_path / "t-*.tar",
            "--direct_running_mode=multi_processing",
            "--direct_num_workers=2",
        ),
    }
    results = {}
    for name, arguments in cases.items():
        assert score(tmp_path / name, checkpoint, *arguments) == 0
        results[name] = qualities(tmp_path / name)
        assert len(results[name]) == len(faces)
    for name, found in results.items():
        assert max(abs(found[k] - v) for k, v in results["folder"].items()) <= 1e-5, name
    labels_of = pd.read_parquet(tmp_path / "tar" / "quality").set_index("key").label
    assert all(labels_of[key] == label for key, label, _ in faces)


def test_every_hostile_file_is_a_row_with_its_reason_and_no_neighbour_is_lost(tmp_path, checkpoint, faces):
    root = tmp_path / "in"
    root.mkdir()
    good = faces[0][2]
    wide = io.BytesIO()
    Image.new("L", (30_000, 20)).save(wide, "PNG")
    tiny = io.BytesIO()
    Image.new("RGB", (1, 1)).save(tiny, "PNG")
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    files = {
        "a_good.jpg": (good, "scored"),
        "b_zero.jpg": (b"", "empty"),
        "c_cut.jpg": (good[: len(good) // 2], "truncated"),
        "d_text.jpg": (b"this is not an image at all", "not_an_image"),
        "e_wide.png": (wide.getvalue(), "too_large"),
        "f_bomb.png": (bomb.getvalue(), "too_large"),
        "g_tiny.png": (tiny.getvalue(), "too_small"),
        "h_good.jpg": (faces[1][2], "scored"),
    }
    for name, (data, _) in files.items():
        (root / name).write_bytes(data)
    assert score(tmp_path / "out", checkpoint, "--input", root) == 0
    table = pd.read_parquet(tmp_path / "out" / "quality").set_index("key")
    assert table.status.to_dict() == {name: status for name, (_, status) in files.items()}
    assert table.quality.notna().sum() == 2
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert sum(summary["status"].values()) == summary["records"] == len(files)


def test_a_truncated_tar_keeps_its_rows_adds_a_shard_row_and_exits_non_zero(tmp_path, checkpoint, faces):
    with webdataset.ShardWriter(str(tmp_path / "t-%04d.tar"), maxcount=100, verbose=0) as writer:
        for key, label, data in faces[:10]:
            writer.write({"__key__": key, "jpg": data, "cls": label.encode()})
    whole = (tmp_path / "t-0000.tar").read_bytes()
    (tmp_path / "t-0000.tar").write_bytes(whole[: len(whole) // 2])
    assert score(tmp_path / "out", checkpoint, "--input", tmp_path / "t-0000.tar") == EXIT_INCOMPLETE
    table = pd.read_parquet(tmp_path / "out" / "quality")
    assert table.status.tolist()[-1] == "shard_truncated"
    assert set(table.status[:-1]) == {"scored"}


def test_null_images_in_parquet_are_rows(tmp_path, checkpoint, faces):
    pq.write_table(pa.table({"image": [faces[0][2], None, faces[1][2]], "label": [1, 2, None]}), tmp_path / "b.parquet")
    assert score(tmp_path / "out", checkpoint, "--input", tmp_path / "b.parquet") == 0
    table = pd.read_parquet(tmp_path / "out" / "quality")
    assert table.status.tolist() == ["scored", "missing_image", "scored"]


def test_embeddings_are_written_on_request(tmp_path, checkpoint, folder):
    assert score(tmp_path / "out", checkpoint, "--input", folder, "--embedding-type", "float16") == 0
    table = pd.read_parquet(tmp_path / "out" / "quality")
    assert np.stack(table.embedding).shape == (60, 256)


def test_a_non_empty_output_a_changed_setting_and_unknown_options_are_refused(tmp_path, checkpoint, faces, caplog):
    out, folder = tmp_path / "out", tmp_path / "folder"
    folder.mkdir()
    for key, _, data in faces[:5]:
        (folder / f"{key}.jpg").write_bytes(data)
    assert score(out, checkpoint, "--input", folder) == 0
    assert score(out, checkpoint, "--input", folder) == EXIT_BAD_INPUT
    assert "--resume" in caplog.text
    assert score(out, checkpoint, "--input", folder, "--resume", "--precision", "bf16") == EXIT_BAD_INPUT
    assert "precision: fp32 then, bf16 now" in caplog.text
    assert score(tmp_path / "o2", checkpoint, "--input", folder, "--btach-size", 3) == EXIT_BAD_INPUT
    assert "--batch-size" in caplog.text
    assert (
        score(tmp_path / "o2", checkpoint, "--input", folder, "--direct_running_mode=multi_threading") == EXIT_BAD_INPUT
    )
    assert "loses rows" in caplog.text
    assert score(out, checkpoint, "--input", folder, "--overwrite") == 0
    assert score(out, checkpoint, "--input", folder, "--resume") == 0


def test_a_missing_gpu_is_an_error_and_never_a_cpu_run(tmp_path, checkpoint, folder, caplog):
    assert (
        run(
            [
                "--output",
                str(tmp_path / "o"),
                "--model",
                str(checkpoint),
                "--input",
                str(folder),
                "--device",
                "cuda:7",
            ]
        )
        == EXIT_BAD_INPUT
    )
    assert "cuda:7" in caplog.text


def test_killed_and_resumed_equals_undisturbed(tmp_path, checkpoint, folder):
    options = ["--input", folder, "--unit-size", "4", "--batch-size", "1", "--threads", "1"]
    undisturbed, killed = tmp_path / "a", tmp_path / "b"
    assert score(undisturbed, checkpoint, *options) == 0
    command = [sys.executable, "-m", "pipelines.score_dataset", "--model", checkpoint, "--device", "cpu", *options]
    command = list(map(str, command))
    process = subprocess.Popen([*command, "--output", killed], cwd=ROOT)
    while len(list(killed.glob("quality/*.parquet"))) < 3 and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(list(killed.glob("quality/*.parquet"))) < 15
    assert subprocess.run([*command, "--output", killed, "--resume"], cwd=ROOT, check=False).returncode == 0
    tables = [pd.read_parquet(out / "quality").sort_values("index") for out in (undisturbed, killed)]
    pd.testing.assert_frame_equal(*(t.reset_index(drop=True) for t in tables))
    assert not list(killed.glob("_tmp/*"))
