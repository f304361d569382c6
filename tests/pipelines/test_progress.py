"""The progress that a user sees: a live line on a terminal, log lines elsewhere."""

import fcntl
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import tarfile
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from fiqa_core.scoring import progress as notes
from fiqa_core.scoring.progress import Progress, Tally
from pipelines.runners.progress import SubsetMonitor, Whole, progress_line
from pipelines.score_dataset import run
from tests.fakes import MeanScorerSource, SlowMeanScorerSource
from tests.makers.images import jpeg_bytes

ROOT = Path(__file__).resolve().parents[2]
IMAGES = 32
CLEAR = "\r\x1b[K"

SCRIPT = """
import logging, sys
from pipelines.score_dataset import run
from tests.fakes import SlowMeanScorerSource
for output, shards in zip(sys.argv[1::2], sys.argv[2::2]):
    code = run(["--input", shards, "--output", output], SlowMeanScorerSource())
    assert code == 0, code
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """`IMAGES` images and, first of all, a text."""
    root = tmp_path_factory.mktemp("faces")
    (root / "000.jpg").write_text("no image")
    for number in range(1, IMAGES + 1):
        (root / f"{number:03}.jpg").write_bytes(jpeg_bytes(number))
    return root


@pytest.fixture(scope="module")
def tars(folder, tmp_path_factory) -> Path:
    """The same in two tars, each half."""
    root = tmp_path_factory.mktemp("tars")
    files = sorted(folder.iterdir())
    for name, part in (("a.tar", files[: len(files) // 2]), ("b.tar", files[len(files) // 2 :])):
        with tarfile.open(root / name, "w") as archive:
            for path in part:
                archive.add(path, path.name)
    return root


def on_a_terminal(*arguments: object) -> str:
    """What the script writes to a terminal of 120 columns that is its stderr."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, cwd=ROOT, env=environment) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # how Linux says that the other side is closed
                break
            if not part:
                break
            written += part
    os.close(ours)
    assert process.returncode == 0, written.decode()
    return written.decode()


def test_a_terminal_shows_a_live_line_that_is_gone_at_the_end(folder, tars, tmp_path):
    written = on_a_terminal(tmp_path / "a", folder, tmp_path / "b", tars)
    live = [part.partition(CLEAR)[0].partition("\r\n")[0] for part in written.split(CLEAR)[1:]]
    counted = re.compile(rf"(\d+) of {IMAGES + 1} images, \d+\.\d images/s, 0:00:\d\d left, 1 rejected")
    measured = re.compile(r"(\d+) images, (\d+\.\d) %, \d+\.\d images/s, 0:00:\d\d left, 1 rejected")
    for pattern in (counted, measured):
        found = [match for line in live if (match := pattern.fullmatch(line))]
        assert found, written
        assert all(0 < int(match[1]) <= IMAGES + 1 for match in found)
    assert all(0 < float(match[2]) <= 100 for match in map(measured.fullmatch, live) if match)
    on_screen = [row.rpartition(CLEAR)[2] for row in written.split("\n")]
    assert not [row for row in on_screen if "images/s" in row]
    assert sum("planned" in row for row in on_screen) == 2


@pytest.fixture
def progress_lines(caplog, monkeypatch) -> Callable[[], list[str]]:
    """Gives the log lines on progress so far; there is one every tenth of a second."""
    monkeypatch.setattr("pipelines.runners.progress._LOG_EVERY_S", 0.1)
    monkeypatch.setattr(notes, "_EVERY_S", 0.1)
    caplog.set_level(logging.INFO, "pipelines.runners.progress")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "pipelines.runners.progress"]


def test_elsewhere_log_lines_tell_the_progress(tars, tmp_path, progress_lines):
    assert run(["--input", str(tars), "--output", str(tmp_path / "out")], SlowMeanScorerSource()) == 0
    lines = progress_lines()
    shares = [float(match[1]) for line in lines if (match := re.search(r" images, (\d+\.\d) %, ", line))]
    assert shares == sorted(shares)
    assert len(set(shares)) >= 4
    assert any(25 < share < 75 for share in shares)
    assert re.fullmatch(r"\d+ images, \d+\.\d %, \d+\.\d images/s, 0:00:\d\d left, 1 rejected", lines[-1])
    assert not any(CLEAR in line for line in lines)


def test_after_resume_kept_units_are_done_and_left_out_of_the_rate(tars, tmp_path, caplog, progress_lines):
    command = ["--input", str(tars), "--output", str(tmp_path / "out")]
    assert run(command, MeanScorerSource()) == 0
    (second,) = (tmp_path / "out" / "quality").glob("part-000001-*")
    second.unlink()
    caplog.clear()
    assert run([*command, "--resume"], SlowMeanScorerSource()) == 0
    lines = progress_lines()
    kept = [line for line in lines if "(16 from an earlier run)" in line]
    assert kept
    pattern = re.compile(r"(\d+) images, (\d+\.\d) % \(16 from an earlier run\), (\d+\.\d) images/s.*, 1 rejected")
    found = [match for line in kept if (match := pattern.fullmatch(line))]
    assert len(found) == len(kept)
    assert all(16 <= int(match[1]) <= IMAGES + 1 for match in found)
    assert all(40 < float(match[2]) <= 100 for match in found)
    assert min(float(match[3]) for match in found if int(match[1]) > 16) < 30, "20 images take a second"


RECORDS = Whole(records=1000, size=None, units=10)
BYTES = Whole(records=None, size=4_000_000, units=10)
UNITS = Whole(records=None, size=None, units=8)


@pytest.mark.parametrize(
    ("done", "whole", "line"),
    [
        (Progress(), RECORDS, "0 of 1,000 images, 0.0 images/s, 0 rejected"),
        (Progress(Tally(200, 3, 0, 2)), RECORDS, "200 of 1,000 images, 20.0 images/s, 0:00:40 left, 3 rejected"),
        (
            Progress(Tally(200, 3, 0, 2), Tally(500, 4, 0, 5)),
            RECORDS,
            "700 of 1,000 images (500 from an earlier run), 20.0 images/s, 0:00:15 left, 7 rejected",
        ),
        (
            Progress(Tally(0, 0, 0, 0), Tally(500, 4, 0, 5)),
            RECORDS,
            "500 of 1,000 images (500 from an earlier run), 0.0 images/s, 4 rejected",
        ),
        (Progress(Tally(1100)), RECORDS, "1,000 of 1,000 images, 110.0 images/s, 0:00:00 left, 0 rejected"),
        (
            Progress(Tally(200, 3, 1_000_000, 2)),
            BYTES,
            "200 images, 25.0 %, 20.0 images/s, 0:00:30 left, 3 rejected",
        ),
        (
            Progress(Tally(200, 3, 1_000_000, 2), Tally(400, 0, 2_000_000, 5)),
            BYTES,
            "600 images, 75.0 % (400 from an earlier run), 20.0 images/s, 0:00:10 left, 3 rejected",
        ),
        (Progress(Tally(200, 3, 0, 1)), UNITS, "200 images, 12.5 %, 20.0 images/s, 0:01:10 left, 3 rejected"),
        (Progress(Tally(200, 3, 0, 0)), UNITS, "200 images, 0.0 %, 20.0 images/s, 3 rejected"),
    ],
)
def test_the_line_after_ten_seconds(done, whole, line):
    assert progress_line(done, whole, 10.0) == line


def test_images_that_are_written_again_are_counted_without_rejects():
    monitor = SubsetMonitor(Progress, 60, 3)
    assert monitor._line(Progress(Tally(30)), 10.0) == "written: 30 of 60 images, 3.0 images/s, 0:00:10 left"
