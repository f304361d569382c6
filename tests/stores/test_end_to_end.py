"""The command with everything in a bucket: the same table as on a local disk, also with faults, also resumed."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from fiqa_core import storage
from fiqa_core.runs.plan import plan_dataset
from fiqa_core.scoring.score_unit import score_unit
from fiqa_core.scoring.settings import ScoreSettings
from pipelines import embed_dataset
from pipelines.score_dataset import EXIT_BAD_INPUT, EXIT_INCOMPLETE, EXIT_OK, run
from tests.fakes import MeanScorer, MeanScorerSource
from tests.makers.containers import (
    FaceRecord,
    face_records,
    samples,
    write_folder,
    write_parquet_pyarrow,
    write_tar,
)
from tests.makers.onnx_models import write_linear
from tests.shared import needs_shared, write_golden_checkpoint
from tests.stores.conftest import Bucket, independent_client
from tests.stores.fault_proxy import FirstThen, Seeded, gets

ROOT = Path(__file__).resolve().parents[2]
FORMATS = ("tar", "folder", "parquet")


@pytest.fixture(scope="module")
def faces() -> list[FaceRecord]:
    return face_records(45)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, faces) -> Path:
    """The same faces as tar shards, as a folder and as Parquet; one face of each is no image."""
    root = tmp_path_factory.mktemp("dataset")
    faces = [*faces[:-1], FaceRecord("not_a_face", 1, b"no image at all")]
    (root / "tar").mkdir()
    for number in range(3):
        write_tar(root / "tar" / f"shard-{number}.tar", samples(faces[number * 15 : number * 15 + 15]))
    write_folder(root / "folder", faces)
    (root / "parquet").mkdir()
    write_parquet_pyarrow(root / "parquet" / "faces.parquet", faces, row_group_size=10)
    return root


@pytest.fixture(scope="module")
def local_tables(tmp_path_factory, dataset) -> dict[str, pd.DataFrame]:
    """What the command makes of it on a local disk."""
    tables = {}
    for name in FORMATS:
        output = tmp_path_factory.mktemp("local") / name
        assert score(dataset / name, output) == EXIT_OK
        tables[name] = comparable(str(output))
    return tables


def score(source: object, output: object, *arguments: str) -> int:
    argv = ["--input", str(source), "--output", str(output), "--unit-size", "10", *arguments]
    return run(argv, MeanScorerSource())


def comparable(output: str) -> pd.DataFrame:
    """The table by key, without the shard's URI up to its last part (which says where it lay)."""
    names = storage.list_names(f"{output}/quality")
    parts = []
    for name in names:
        with storage.open_read(f"{output}/quality/{name}") as stream:
            parts.append(pq.read_table(stream).to_pandas())
    table = pd.concat(parts)
    table["shard"] = table["shard"].str.rpartition("/")[2]
    table["status"] = table["status"].astype(str)
    return table.sort_values(["shard", "index"], ignore_index=True)


def upload(folder: Path, uri: str) -> None:
    client = independent_client(uri)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            client.pipe_file(f"{uri}/{path.relative_to(folder).as_posix()}", path.read_bytes())


@pytest.fixture
def stored(bucket: Bucket, dataset) -> Bucket:
    """The dataset in the bucket."""
    upload(dataset, f"{bucket.uri}/in")
    bucket.proxy.reset()
    return bucket


def test_shards_folder_and_parquet_in_a_bucket_give_the_local_table(stored, local_tables):
    for name in FORMATS:
        assert score(f"{stored.uri}/in/{name}", f"{stored.uri}/out/{name}") == EXIT_OK
        pd.testing.assert_frame_equal(comparable(f"{stored.uri}/out/{name}"), local_tables[name])
        summary = json.loads(storage.read_bytes(f"{stored.uri}/out/{name}/summary.json"))
        assert summary["complete"]
        assert summary["status"] == {"not_an_image": 1, "scored": 44}
        assert set(storage.list_names(f"{stored.uri}/out/{name}")) == {"plan", "quality", "run.json", "summary.json"}


def test_faults_on_every_kind_of_request_leave_the_table_as_it_is(stored, local_tables):
    stored.proxy.plan = plan = Seeded(seed=11, rate=0.12)
    for name in FORMATS:
        assert score(f"{stored.uri}/in/{name}", f"{stored.uri}/out/{name}") == EXIT_OK
    stored.proxy.reset()
    assert set(plan.kinds) >= {"503", "429", "cut", "reset"}
    for name in FORMATS:
        pd.testing.assert_frame_equal(comparable(f"{stored.uri}/out/{name}"), local_tables[name])


def test_globs_and_a_shard_by_name_are_found_in_a_bucket(stored, local_tables):
    sources = [f"{stored.uri}/in/tar/shard-[01].tar", f"{stored.uri}/in/tar/shard-2.tar"]
    argv = ["--input", *sources, "--output", f"{stored.uri}/out"]
    assert run(argv, MeanScorerSource()) == EXIT_OK
    pd.testing.assert_frame_equal(comparable(f"{stored.uri}/out"), local_tables["tar"])


def test_a_store_that_fails_for_one_shard_fails_its_unit_and_resume_does_only_that(stored, local_tables, caplog):
    output = f"{stored.uri}/out"

    def second_shard(method: str, path: str) -> bool:
        return gets(method, path) and "shard-1.tar" in path

    stored.proxy.plan = FirstThen(second_shard, ["503"] * 1000)
    assert score(f"{stored.uri}/in/tar", output) == EXIT_INCOMPLETE
    stored.proxy.reset()
    (failure,) = json.loads(storage.read_bytes(f"{output}/summary.json"))["failed_units"]
    assert failure["shard"] == f"{stored.uri}/in/tar/shard-1.tar"
    assert "gave up after 5 attempts" in failure["reason"]
    assert len(storage.list_names(f"{output}/quality")) == 2
    assert set(comparable(output).status) == {"scored", "not_an_image"}  # no row made of a network's fault
    assert score(f"{stored.uri}/in/tar", output) == EXIT_BAD_INPUT  # without --resume
    assert score(f"{stored.uri}/in/tar", output, "--resume") == EXIT_OK
    summary = json.loads(storage.read_bytes(f"{output}/summary.json"))
    assert (summary["records"], summary["records_this_run"]) == (45, 15)
    pd.testing.assert_frame_equal(comparable(output), local_tables["tar"])


def test_a_run_that_was_killed_goes_on_in_the_bucket(amazon, dataset, local_tables):
    upload(dataset / "tar", f"{amazon.uri}/in")
    argv = ["--input", f"{amazon.uri}/in", "--output", f"{amazon.uri}/out", "--unit-size", "10"]
    code = (
        "import sys; from pipelines.score_dataset import run; from tests.fakes import SlowMeanScorerSource\n"
        "run(sys.argv[1:], SlowMeanScorerSource())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, *argv], cwd=ROOT)
    while not storage.list_names(f"{amazon.uri}/out/quality") and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.wait()
    done = storage.list_names(f"{amazon.uri}/out/quality")
    assert 1 <= len(done) <= 2
    assert score(f"{amazon.uri}/in", f"{amazon.uri}/out", "--resume") == EXIT_OK
    pd.testing.assert_frame_equal(comparable(f"{amazon.uri}/out"), local_tables["tar"])
    summary = json.loads(storage.read_bytes(f"{amazon.uri}/out/summary.json"))
    assert summary["records_this_run"] == 45 - 15 * len(done)


def test_a_unit_scored_twice_at_once_leaves_one_file_with_the_same_content(stored, tmp_path):
    settings = ScoreSettings("none", "none", "0" * 64)
    (unit, *_) = plan_dataset([f"{stored.uri}/in/tar"], "auto", 100, str(tmp_path)).units
    with ThreadPoolExecutor(4) as pool:
        output = f"{stored.uri}/out"
        summaries = list(pool.map(lambda _: score_unit(unit, MeanScorer(), settings, output), range(4)))
    assert [summary.rows for summary in summaries] == [15] * 4
    (name,) = storage.list_names(f"{output}/quality")
    score_unit(unit, MeanScorer(), settings, str(tmp_path / "alone"))
    assert storage.read_bytes(f"{output}/quality/{name}") == (tmp_path / "alone" / "quality" / name).read_bytes()


def test_an_image_gone_since_planning_is_a_row_and_a_refused_one_fails_the_unit(stored):
    stored.proxy.plan = FirstThen(lambda method, path: gets(method, path) and "face_00007" in path, ["404"] * 100)
    assert score(f"{stored.uri}/in/folder", f"{stored.uri}/out/a") == EXIT_OK
    table = comparable(f"{stored.uri}/out/a").set_index("key")
    assert table.status["1/face_00007.png"] == "unreadable"
    assert table.status.value_counts().to_dict() == {"scored": 43, "unreadable": 1, "not_an_image": 1}
    stored.proxy.plan = FirstThen(lambda method, path: gets(method, path) and "face_00008" in path, ["403"] * 100)
    assert score(f"{stored.uri}/in/folder", f"{stored.uri}/out/b") == EXIT_INCOMPLETE
    stored.proxy.reset()
    assert set(comparable(f"{stored.uri}/out/b").status) == {"scored"}
    (failure,) = json.loads(storage.read_bytes(f"{stored.uri}/out/b/summary.json"))["failed_units"]
    assert "face_00008" in failure["reason"]
    assert "access refused" in failure["reason"]


def test_overwriting_a_run_in_a_bucket_removes_what_was_there(stored, local_tables):
    output = f"{stored.uri}/out"
    assert score(f"{stored.uri}/in/tar", output) == EXIT_OK
    assert score(f"{stored.uri}/in/folder", output, "--overwrite") == EXIT_OK
    pd.testing.assert_frame_equal(comparable(output), local_tables["folder"])


def test_a_bucket_that_is_not_there_is_refused_before_any_work(stored, caplog):
    missing = f"{stored.uri.partition('://')[0]}://no-such-bucket-7"
    assert score(f"{stored.uri}/in/tar", f"{missing}/out") == EXIT_BAD_INPUT
    assert f"{missing}/out: no such object or bucket" in caplog.text
    assert score(f"{missing}/in", f"{stored.uri}/out") == EXIT_BAD_INPUT
    assert not storage.is_folder(f"{stored.uri}/out/quality")


def test_everything_in_memory_works_in_one_process(dataset, local_tables, caplog):
    for path in sorted((dataset / "folder").rglob("*.*")):
        storage.publish(path, f"memory://memory-run/in/{path.relative_to(dataset / 'folder').as_posix()}")
    assert score("memory://memory-run/in", "memory://memory-run/out") == EXIT_OK
    table = comparable("memory://memory-run/out")
    pd.testing.assert_frame_equal(
        table.drop(columns="shard"), local_tables["folder"].drop(columns="shard"), check_like=True
    )
    two = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    assert score("memory://memory-run/in", "memory://memory-run/out2", *two) == EXIT_BAD_INPUT
    assert "memory://" in caplog.text


def test_a_file_uri_is_the_local_disk(dataset, local_tables, tmp_path):
    assert score(f"file://{dataset}/tar", f"file://{tmp_path}/out") == EXIT_OK
    pd.testing.assert_frame_equal(comparable(str(tmp_path / "out")), local_tables["tar"])


@needs_shared
def test_a_checkpoint_in_a_bucket_scores_as_the_local_one(stored, tmp_path, dataset):
    (tmp_path / "zoo").mkdir()
    checkpoint = write_golden_checkpoint("vit_t-token", tmp_path / "zoo" / "model.pt")
    upload(checkpoint.parent, f"{stored.uri}/zoo")
    tables = []
    for weights, output in ((checkpoint, tmp_path / "out"), (f"{stored.uri}/zoo", f"{stored.uri}/out")):
        argv = ["--input", str(dataset / "tar" / "shard-0.tar"), "--output", str(output), "--model", str(weights)]
        assert run([*argv, "--device", "cpu"]) == EXIT_OK
        tables.append(comparable(str(output)))
    pd.testing.assert_frame_equal(*tables)


def test_an_onnx_network_in_a_bucket_takes_its_weights_from_beside_it_there(stored, tmp_path, dataset):
    import onnx

    (tmp_path / "zoo").mkdir()
    whole = write_linear(tmp_path / "whole.onnx", ("n", 3, 112, 112))
    onnx.save_model(
        onnx.load(whole), tmp_path / "zoo" / "fr.onnx", save_as_external_data=True, location="w.data", size_threshold=0
    )
    upload(tmp_path / "zoo", f"{stored.uri}/zoo")
    tables = []
    for model, output in ((whole, tmp_path / "out"), (f"{stored.uri}/zoo/fr.onnx", f"{stored.uri}/out")):
        argv = ["--input", str(dataset / "tar" / "shard-0.tar"), "--output", str(output), "--model", str(model)]
        assert embed_dataset.run([*argv, "--device", "cpu"]) == EXIT_OK
        tables.append(comparable(str(output)))
    pd.testing.assert_frame_equal(*tables)


def test_beam_s_own_google_client_reads_the_table(google, dataset, local_tables, monkeypatch):
    upload(dataset / "tar", f"{google.uri}/in")
    assert score(f"{google.uri}/in", f"{google.uri}/out") == EXIT_OK
    from apache_beam.internal.gcp import auth
    from apache_beam.io.filesystems import FileSystems

    # Else it looks for credentials for 20 s before it does without.
    monkeypatch.setattr(auth._Credentials, "_credentials_init", True)
    monkeypatch.setattr(auth._Credentials, "_credentials", None)
    (match,) = FileSystems.match([f"{google.uri}/out/quality/*.parquet"])
    rows = 0
    for found in match.metadata_list:
        with FileSystems.open(found.path) as stream:
            rows += pq.read_table(stream).num_rows
    assert rows == len(local_tables["tar"])
