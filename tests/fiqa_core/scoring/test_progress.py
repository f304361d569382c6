"""What workers tell of their progress: finished, kept and failed units, and the part of one in hand."""

import errno
import io
import tarfile
from pathlib import Path

import pytest

from fiqa_core.runs.layout import PROGRESS
from fiqa_core.runs.plan import plan_dataset
from fiqa_core.scoring import progress as progress_module
from fiqa_core.scoring import score_unit as module
from fiqa_core.scoring.progress import Heartbeat, Progress, Tally, read_progress
from fiqa_core.scoring.score_unit import score_unit
from fiqa_core.scoring.settings import ScoreSettings
from tests.fakes import MeanScorer
from tests.makers.images import jpeg_bytes

SETTINGS = ScoreSettings("none", "none", "0" * 64)
IMAGES = 24


@pytest.fixture
def out(tmp_path) -> str:
    (tmp_path / "out" / PROGRESS).mkdir(parents=True)
    return str(tmp_path / "out")


@pytest.fixture
def tar(tmp_path):
    """The unit of a tar of `IMAGES` images, each with a sidecar, and one more that is text."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(IMAGES):
        (source / f"{number:03}.jpg").write_bytes(jpeg_bytes(number))
        (source / f"{number:03}.cls").write_text("7")
    (source / "text.jpg").write_text("no image")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for path in sorted(source.iterdir()):
            archive.add(path, path.name)
    (unit,) = plan_dataset([str(tmp_path / "a.tar")], "auto", 100, str(tmp_path / "plan")).units
    return unit


def test_a_finished_unit_counts_its_rows_its_rejects_and_its_whole_size(tar, out):
    score_unit(tar, MeanScorer(), SETTINGS, out, heartbeat=Heartbeat(out))
    assert read_progress(out) == Progress(now=Tally(IMAGES + 1, 1, tar.size, 1))


def test_a_unit_in_hand_counts_rows_and_bytes_as_they_are_scored(tar, out, monkeypatch):
    monkeypatch.setattr(progress_module, "_EVERY_S", 0)
    seen = []

    class Watching(MeanScorer):
        def score_pixels(self, pixels):
            seen.append(read_progress(out).now)
            return super().score_pixels(pixels)

    score_unit(tar, Watching(), SETTINGS, out, heartbeat=Heartbeat(out))
    assert [tally.rows for tally in seen] == [0, 8, 16]
    assert [tally.units for tally in seen] == [0, 0, 0]
    assert 0 == seen[0].size < seen[1].size < seen[2].size <= tar.size


def test_bytes_of_a_unit_in_hand_are_estimated_by_what_the_container_added_to_those_before(out):
    heartbeat = Heartbeat(out)
    with heartbeat.attempt(1_000_000):
        heartbeat.add(100, 0, 300_000)
    with heartbeat.attempt(2_000_000):
        heartbeat.add(100, 0, 300_000)
        heartbeat._renew()
        assert read_progress(out).now.size == pytest.approx(2_000_000, rel=0.01)
        heartbeat.add(900, 0, 2_700_000)
        heartbeat._renew()
        assert read_progress(out).now.size == 3_000_000


def test_a_unit_of_an_earlier_run_is_kept_and_not_done_now(tar, out):
    score_unit(tar, MeanScorer(), SETTINGS, out)
    assert read_progress(out) == Progress()
    score_unit(tar, MeanScorer(), SETTINGS, out, heartbeat=Heartbeat(out))
    assert read_progress(out) == Progress(kept=Tally(IMAGES + 1, 1, tar.size, 1))


def test_a_failed_attempt_is_taken_back_and_the_next_one_counts(tar, out, monkeypatch):
    monkeypatch.setattr(progress_module, "_EVERY_S", 0)
    publish, before_publishing, after_failing = module.publish, [], []

    def flaky(path, url):
        before_publishing.append(read_progress(out).now.rows)
        if len(before_publishing) == 1:
            raise OSError("connection reset")
        publish(path, url)

    monkeypatch.setattr(module, "publish", flaky)
    sleep = lambda _: after_failing.append(read_progress(out))  # noqa: E731
    score_unit(tar, MeanScorer(), SETTINGS, out, heartbeat=Heartbeat(out), sleep=sleep)
    assert before_publishing == [IMAGES + 1] * 2
    assert after_failing == [Progress()]
    assert read_progress(out) == Progress(now=Tally(IMAGES + 1, 1, tar.size, 1))


def test_a_unit_that_fails_for_good_counts_nothing_and_the_units_before_it_stay(tar, out, monkeypatch):
    heartbeat = Heartbeat(out)
    with heartbeat.attempt(500):
        heartbeat.add(3, 1, 400)

    class Broken(MeanScorer):
        def score_pixels(self, pixels):
            raise RuntimeError("no more")

    assert score_unit(tar, Broken(), SETTINGS, out, heartbeat=heartbeat).failures
    assert read_progress(out) == Progress(now=Tally(3, 1, 500, 1))


def test_workers_are_added_up_and_a_note_that_is_none_is_passed_over(out):
    for _ in range(2):
        heartbeat = Heartbeat(out)
        heartbeat.keep(5, 1, -1)
        with heartbeat.attempt(-1):
            heartbeat.add(10, 2, 4000)
    for number, content in enumerate(("", "[1, 2]", "null", "[[1, 2, 3, 4, 5], []]", "{}")):
        (Path(out) / PROGRESS / f"other-{number}.json").write_text(content)
    assert read_progress(out) == Progress(now=Tally(20, 4, 0, 2), kept=Tally(10, 2, 0, 2))


def test_a_note_that_cannot_be_written_costs_no_unit(tar, tmp_path):
    out = str(tmp_path / "without a folder for notes")
    assert score_unit(tar, MeanScorer(), SETTINGS, out, heartbeat=Heartbeat(out)).rows == IMAGES + 1
    assert read_progress(out) == Progress()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_cannot_take_the_file_fails_the_unit_at_once(tar, out, monkeypatch, number):
    calls, pauses = [], []

    def full(path, url):
        calls.append(url)
        raise OSError(number, "cannot be written")

    monkeypatch.setattr(module, "publish", full)
    summary = score_unit(tar, MeanScorer(), SETTINGS, out, heartbeat=Heartbeat(out), sleep=pauses.append)
    ((_, shard, reason),) = summary.failures
    assert shard == tar.shard
    assert "cannot be written" in reason
    assert (len(calls), pauses) == (1, [])
    assert read_progress(out) == Progress()


def test_a_full_disk_is_known_by_what_the_table_s_writer_raises(tar, out, monkeypatch):
    """Arrow's own error, not one of ours: the table is written to the kernel's device that is always full."""

    class Full:
        def __init__(self, _output: str) -> None: ...

        def __enter__(self) -> Path:
            return Path("/dev/full")

        def __exit__(self, *_: object) -> None: ...

    pauses: list[float] = []
    monkeypatch.setattr(module, "temporary_for", Full)
    summary = score_unit(tar, MeanScorer(), SETTINGS, out, sleep=pauses.append)
    assert "No space left" in summary.failures[0][2]
    assert pauses == []


def test_the_part_done_of_a_first_tar_is_what_was_read_of_it_whatever_lies_beside_its_images(tmp_path, out):
    (tmp_path / "many").mkdir()
    path = tmp_path / "many" / "a.tar"
    with tarfile.open(path, "w") as archive:
        for number in range(40):
            for suffix, data in (("jpg", jpeg_bytes(number)), ("json", b" " * 60_000)):
                info = tarfile.TarInfo(f"{number:03}.{suffix}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    (unit,) = plan_dataset([str(path)], "auto", 100, str(tmp_path / "plan")).units
    seen: list[tuple[int, float]] = []

    class Watching(Heartbeat):
        def count(self, change: Progress) -> None:
            super().count(change)
            seen.append((self._progress.now.rows, self._progress.now.size / unit.size))

    score_unit(unit, MeanScorer(), SETTINGS, out, heartbeat=Watching(out))
    halfway = [share for rows, share in seen if rows == 16]
    assert halfway
    assert all(0.3 < share < 0.6 for share in halfway)
