"""What is copied as it lies in the source is what would be written image by image."""

import functools
import hashlib
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fiqa_core.curation.subset import source as subset_source
from fiqa_core.curation.subset.kept_rows import KeptRows
from fiqa_core.curation.subset.plan import plan_subset
from fiqa_core.curation.subset.report import finish, read_report
from fiqa_core.curation.subset.settings import SubsetSettings
from fiqa_core.curation.subset.summary import SubsetSummary, merge
from fiqa_core.curation.subset.write_task import write_task
from fiqa_core.shards.recordio.format import MAGIC_BYTES
from fiqa_core.shards.webdataset import blocks as webdataset_scan
from fiqa_core.tables.quality_files import find_parts
from pipelines.score_dataset import run
from tests.fakes import MeanScorerSource
from tests.makers.containers import face_records, samples, write_tar
from tests.makers.decisions import write_decisions
from tests.makers.recordio import payload, write_rec

FACES = [record.data for record in face_records(40, size=24)]
# Each of them is written another way than it lies there, or only looks so.
UNUSUAL = [
    ("jpeg.jpeg", FACES[30]), ("jpeg.cls", b"1"),
    ("wrong.png", FACES[33]), ("wrong.cls", b"1"),
    ("blank.png", FACES[31]), ("blank.cls", b" 2\n"), ("blank.txt", b"more"),
    ("json.jpg", FACES[36]), ("json.json", b'{"label": 2}'),
    ("alone.webp", FACES[32]),
    ("before.cls", b"0"), ("before.json", b"{}"), ("before.jpg", FACES[39]),
    ("face_00000.png", FACES[34]), ("face_00000.cls", b"1"),
]  # fmt: skip
ODD = [("J.Smith.jpg", FACES[35]), ("J.Smith.cls", b"2"), ("x/../y.jpg", FACES[37]), ("z.jpg", FACES[38])]


# The magic number at a multiple of 4 behind the image: its record has two parts.
SPLIT = next(
    image
    for tail in range(256)
    for image in [FACES[30] + bytes(-len(FACES[30]) % 4) + MAGIC_BYTES + bytes([tail])]
    if hashlib.sha256(image).digest()[0] % 4
)
# What only one of the two sources is written as: RecordIO takes no images without a label.
OTHERS = {"webdataset": ("parquet", False), "recordio": ("recordio", True)}


@pytest.fixture(scope="module", params=OTHERS)
def scored(request, tmp_path_factory) -> Path:
    """Tars of plain and of unusual samples, or a `.rec` with one odd record; three of four are kept."""
    root = tmp_path_factory.mktemp(request.param)
    (root / "in").mkdir()
    plain = samples(face_records(30, size=24))
    if request.param == "webdataset":
        write_tar(root / "in" / "a.tar", plain[:40])
        write_tar(root / "in" / "b.tar", [*plain[40:], *UNUSUAL])
        write_tar(root / "in" / "c.tar", [("k.jpg", FACES[39][:-1] + b"x"), ("k.cls", b"0"), *ODD])
    else:
        images = [payload(image, float(number % 5), number) for number, image in enumerate(FACES)]
        write_rec(root / "in" / "a.rec", [*images[:20], payload(b"", 2.0, 77), *images[20:], payload(SPLIT, 1.0, 78)])
    command = ["--input", str(root / "in"), "--output", str(root / "table"), "--unit-size", "15"]
    assert run(command, MeanScorerSource()) == 0
    write_decisions(find_parts([str(root / "table")]), root / "decisions", lambda row: row["sha256"][0] % 4 != 0)
    return root


def write(root: Path, output: Path, kind: str, relabel: bool) -> None:
    settings = SubsetSettings(kind, 9, relabel)
    plan = plan_subset(find_parts([str(root / "table")]), str(root / "decisions"), settings, str(output))
    done = [write_task(task, plan.settings, str(output), plan.grouped) for task in plan.tasks]
    finish(functools.reduce(merge, done, SubsetSummary()), plan.brief(), str(output))
    report = read_report(str(output))
    assert report["complete"], report


def content(output: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in (output / "subset").rglob("*"):
        if path.suffix == ".tar":
            with tarfile.open(path) as archive:
                members = [(m.name, archive.extractfile(m).read()) for m in archive]
            assert len(dict(members)) == len(members)
            found[path.name] = dict(members)
        elif path.suffix == ".parquet" and path.parent.name == "index":
            found[path.name] = pq.read_table(path).to_pylist()
        elif path.is_file() and path.name not in ("summary.json", "plan.json"):
            found[path.name] = path.read_bytes()
    return found


@pytest.mark.parametrize("written", [("webdataset", False), ("webdataset", True), None])
def test_blocks_and_single_records_give_the_same_subset(scored, tmp_path, monkeypatch, written):
    kind, relabel = written or OTHERS[scored.name.rstrip("0123456789")]
    monkeypatch.setattr(webdataset_scan, "_READ", 8192)
    slow: list[int] = []
    rest = KeptRows.rest

    def counted(self: KeptRows):
        for rows in rest(self):
            slow.append(rows.num_rows)
            yield rows

    monkeypatch.setattr(KeptRows, "rest", counted)
    write(scored, tmp_path / "blocks", kind, relabel)
    found = content(tmp_path / "blocks")
    assert 0 < sum(slow) < 20
    monkeypatch.setattr(subset_source, "scanned", lambda *_: iter(()))
    slow.clear()
    write(scored, tmp_path / "single", kind, relabel)
    assert sum(slow) >= 25
    assert content(tmp_path / "single") == found
