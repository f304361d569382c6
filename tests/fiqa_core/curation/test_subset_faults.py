"""What goes wrong while a subset is written: it is named, nothing half-written looks whole, and resume mends it."""

import functools
import gc
import os
import re
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest

from fiqa_core.curation.subset.plan import SubsetPlan, plan_subset
from fiqa_core.curation.subset.report import finish, read_report
from fiqa_core.curation.subset.settings import SubsetError, SubsetSettings
from fiqa_core.curation.subset.summary import SubsetSummary, merge
from fiqa_core.curation.subset.write_task import write_task
from fiqa_core.shards.formats import CONTAINERS
from fiqa_core.shards.recordio.output import InsightFaceSet
from fiqa_core.tables.quality_files import find_parts
from pipelines.score_dataset import run
from tests.fakes import MeanScorerSource
from tests.makers.containers import face_records, samples, write_tar
from tests.makers.decisions import write_decisions

FORMATS = ("webdataset", "recordio", "parquet", "folder")


@pytest.fixture(scope="module")
def lasting(tmp_path_factory) -> Path:
    """A scored set that is the same for every test."""
    return make_scored(tmp_path_factory.mktemp("lasting"))


@pytest.fixture
def scored(lasting) -> Iterator[Path]:
    """The same set, for a test that changes its shards: they are put back after it."""
    shards = {path.name: path.read_bytes() for path in (lasting / "in").iterdir()}
    yield lasting
    shutil.rmtree(lasting / "elsewhere", ignore_errors=True)
    (lasting / "in").mkdir(exist_ok=True)
    for name, data in shards.items():
        (lasting / "in" / name).write_bytes(data)


def make_scored(root: Path) -> Path:
    records = face_records(40, size=24)
    (root / "in").mkdir()
    for number in range(4):
        write_tar(root / "in" / f"s-{number}.tar", samples(records[number * 10 : number * 10 + 10]))
    assert run(["--input", str(root / "in"), "--output", str(root / "table")], MeanScorerSource()) == 0
    write_decisions(find_parts([str(root / "table")]), root / "decisions", lambda row: row["sha256"][0] % 4 != 0)
    return root


def planned(root: Path, output: Path, kind: str, resume: bool = False, **more) -> SubsetPlan:
    settings = SubsetSettings(kind, 3, **more)
    return plan_subset(find_parts([str(root / "table")]), str(root / "decisions"), settings, str(output), resume)


def write(root: Path, output: Path, kind: str, resume: bool = False, **more) -> dict:
    plan = planned(root, output, kind, resume, **more)
    done = [write_task(task, plan.settings, str(output), plan.grouped, lambda _: None) for task in plan.tasks]
    finish(functools.reduce(merge, done, SubsetSummary()), plan.brief(), str(output))
    return read_report(str(output))


def files_of(output: Path) -> dict[str, bytes]:
    root = output / "subset"
    found = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    return {name: data for name, data in found.items() if name != "summary.json"}


def in_a_child(root: Path, output: Path, kind: str, pause: float = 0.0) -> int:
    """Fork a process that writes the subset, with a pause at every published file; its process number."""
    child = os.fork()
    if child == 0:
        try:
            replace = Path.replace

            def slowly(self: Path, target: Path) -> Path:
                time.sleep(pause)
                return replace(self, target)

            Path.replace = slowly  # type: ignore[method-assign,assignment]
            write(root, output, kind, resume=True)
        finally:
            os._exit(0)
    return child


@pytest.mark.parametrize("kind", FORMATS)
def test_killed_at_several_moments_and_resumed_it_is_byte_for_byte_the_undisturbed_subset(lasting, tmp_path, kind):
    write(lasting, tmp_path / "whole", kind)
    expected = files_of(tmp_path / "whole")
    partial = 0
    for wanted in (1, 3, 5):
        child = in_a_child(lasting, tmp_path / "killed", kind, 0.01)
        end = time.monotonic() + 60
        while len(list((tmp_path / "killed").glob("subset/**/*.*"))) < wanted + 1 and time.monotonic() < end:
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        now = files_of(tmp_path / "killed")
        assert {name: data for name, data in now.items() if name in expected} == {
            name: expected[name] for name in now if name in expected
        }
        partial += 0 < len(now) < len(expected)
    assert partial
    report = write(lasting, tmp_path / "killed", kind, resume=True)
    assert report["complete"]
    assert files_of(tmp_path / "killed") == expected


def test_finished_shards_are_kept_and_only_the_others_are_written(lasting, tmp_path):
    whole = write(lasting, tmp_path, "webdataset")
    data = tmp_path / "subset" / "data"
    (data / "shard-000002.tar").unlink()
    with (data / "shard-000004.tar").open("r+b") as stream:
        stream.truncate(600)
    before = {path.name: path.stat().st_mtime_ns for path in data.iterdir()}
    report = write(lasting, tmp_path, "webdataset", resume=True)
    assert (report["complete"], report["images"], report["images_now"]) == (True, whole["images"], 6)
    after = {path.name: path.stat().st_mtime_ns for path in data.iterdir()}
    assert {name for name in before if after[name] != before[name]} == {"shard-000004.tar"}


def test_a_resume_of_another_subset_is_refused_and_a_new_one_removes_it(lasting, tmp_path):
    write(lasting, tmp_path, "webdataset")
    with pytest.raises(SubsetError, match="holds another subset"):
        write(lasting, tmp_path, "webdataset", resume=True, relabel=True)
    assert write(lasting, tmp_path, "folder")["complete"]
    assert not list((tmp_path / "subset").rglob("*.tar"))


def test_an_image_that_changed_since_it_was_scored_is_named_and_the_other_tasks_finish(scored, tmp_path):
    shard = scored / "in" / "s-2.tar"
    data = bytearray(shard.read_bytes())
    for at in re.finditer(b"\xff\xd8\xff", bytes(data)):
        data[at.start() + 30] ^= 1
    original = shard.read_bytes()
    shard.write_bytes(data)
    report = write(scored, tmp_path / "out", "webdataset")
    assert not report["complete"]
    (problem,) = report["problems"]
    assert "s-2.tar: record 'face_000" in problem
    assert "restore it (--moved OLD=NEW if it lies elsewhere now), or score it again" in problem
    assert list((tmp_path / "out" / "subset" / "data").iterdir())
    shard.write_bytes(original)
    assert write(scored, tmp_path / "out", "webdataset", resume=True)["complete"]


@pytest.mark.filterwarnings("error")
def test_a_shard_that_is_gone_or_lost_its_end_is_named(scored, tmp_path):
    shard = scored / "in" / "s-1.tar"
    data = shard.read_bytes()
    shard.write_bytes(data[: len(data) // 2])
    assert "s-1.tar" in write(scored, tmp_path / "a", "parquet")["problems"][0]
    gc.collect()  # a writer that was not closed would warn now
    shard.unlink()
    report = write(scored, tmp_path / "b", "recordio")
    assert "s-1.tar" in report["problems"][0]
    assert not list((tmp_path / "b" / "subset").glob("data/*"))


def test_a_dataset_that_was_moved_is_found_under_its_new_place(scored, tmp_path):
    (scored / "in").rename(scored / "elsewhere")
    assert "--moved" in write(scored, tmp_path / "out", "webdataset")["problems"][0]
    moved = ((str(scored / "in"), str(scored / "elsewhere")),)
    assert write(scored, tmp_path / "out", "webdataset", moved=moved)["complete"]


@pytest.mark.parametrize("kind", ["webdataset", "recordio", "folder"])
def test_a_full_disk_is_a_failure_that_leaves_nothing_half_written(lasting, tmp_path, kind):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            plan = planned(lasting, tmp_path / "out", kind)
            resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
            done = [write_task(task, plan.settings, str(tmp_path / "out"), plan.grouped) for task in plan.tasks]
            code = 0 if all("File too large" in one.failures[0][1] for one in done) else 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not list((tmp_path / "out" / "_tmp").iterdir())
    assert not [path for path in (tmp_path / "out").glob("subset/data/**/*") if path.is_file()]
    assert write(lasting, tmp_path / "out", kind, resume=True)["complete"]


@pytest.mark.parametrize("kind", ["webdataset", "folder"])
def test_tasks_written_twice_at_once_by_two_processes_give_the_same_bytes(lasting, tmp_path, kind):
    write(lasting, tmp_path / "alone", kind)
    plan = planned(lasting, tmp_path / "twice", kind)
    with get_context("fork").Pool(2) as pool:
        work = functools.partial(write_task, settings=plan.settings, output=str(tmp_path / "twice"))
        done = pool.map(work, [task for task in plan.tasks for _ in range(2)], chunksize=1)
    assert not any(one.failures for one in done)
    assert set(files_of(tmp_path / "twice")) - {"_work/shared_names.npy"} == set(files_of(tmp_path / "alone"))
    alone = files_of(tmp_path / "alone")
    assert all(files_of(tmp_path / "twice")[name] == data for name, data in alone.items())


def test_more_records_than_insightface_can_count_are_written_without_header_and_identity_records(
    lasting, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(CONTAINERS["recordio"], "output", InsightFaceSet(most_exact=20))
    arguments = [find_parts([str(lasting / "table")]), str(lasting / "decisions")]
    asked = SubsetSettings("recordio", recordio_layout="insightface")
    with pytest.raises(SubsetError, match=r"float32.*--recordio-layout plain"):
        plan_subset(*arguments, asked, str(tmp_path))
    with caplog.at_level("WARNING"):
        plan = plan_subset(*arguments, SubsetSettings("recordio"), str(tmp_path))
    assert "written without them" in caplog.text
    assert plan.settings.recordio_layout == "plain"


def test_more_identities_than_float32_tells_apart_are_refused(lasting, tmp_path, monkeypatch):
    monkeypatch.setattr(CONTAINERS["recordio"], "output", InsightFaceSet(most_exact=2))
    arguments = [find_parts([str(lasting / "table")]), str(lasting / "decisions")]
    with pytest.raises(SubsetError, match="labels are float32"):
        plan_subset(*arguments, SubsetSettings("recordio", recordio_layout="plain"), str(tmp_path))
