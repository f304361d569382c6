"""Subsets end to end: scored, decided, written in every format, and read back by other people's readers."""

import csv
import functools
import hashlib
import json
import random
from collections import Counter
from pathlib import Path

import datasets
import duckdb
import pyarrow.parquet as pq
import pytest
import webdataset

from fiqa_core.curation.subset.plan import plan_subset
from fiqa_core.curation.subset.report import finish, read_report
from fiqa_core.curation.subset.settings import SubsetError, SubsetSettings
from fiqa_core.curation.subset.summary import SubsetSummary, merge
from fiqa_core.curation.subset.write_task import write_task
from fiqa_core.tables.quality_files import find_parts
from pipelines.jobs.subset_job import write_subset
from pipelines.runners.beam_options import beam_options
from pipelines.score_dataset import run
from tests.fakes import MeanScorerSource
from tests.makers.containers import face_records, samples, write_folder, write_parquet_pyarrow, write_tar
from tests.makers.decisions import write_decisions
from tests.makers.recordio import payload, read_rec, write_rec

COUNT, SHARD = 30, 7
FORMATS = ("webdataset", "recordio", "parquet", "folder")


def write_inputs(kind: str, root: Path) -> Path:
    """30 faces of 3 identities in no order, one of them corrupt, in several shards where the format has some."""
    records = face_records(COUNT, size=24)
    random.Random(1).shuffle(records)
    root.mkdir()
    for number, some in enumerate((records[:13], records[13:])):
        if kind == "webdataset":
            members = samples(some)
            for record in reversed(some):
                at = members.index((record.name, record.data))
                members.insert(at + 2, (f"{record.key}.json", json.dumps({"from": record.key}).encode()))
            members.append(("broken.jpg", b"no image"))
            write_tar(root / f"s-{number}.tar", members)
        elif kind == "parquet":
            write_parquet_pyarrow(root / f"s-{number}.parquet", some, row_group_size=5)
        elif kind == "recordio":
            images = [payload(record.data, float(record.label), n) for n, record in enumerate(some)]
            write_rec(root / f"s-{number}.rec", [*images, payload(b"no image", 1.0, 99)])
    if kind == "folder":
        write_folder(root, records)
        (root / "1" / "broken.jpg").write_bytes(b"no image")
    return root


@pytest.fixture(scope="module", params=FORMATS)
def scored(request, tmp_path_factory) -> Path:
    """A folder with `in`, `table` (its score table) and `decisions`, which drop every fourth face."""
    root = tmp_path_factory.mktemp(request.param)
    source = write_inputs(request.param, root / "in")
    assert run(["--input", str(source), "--output", str(root / "table"), "--unit-size", "4"], MeanScorerSource()) == 0
    write_decisions(find_parts([str(root / "table")]), root / "decisions", lambda row: row["sha256"][0] % 4 != 0)
    return root


def kept_rows(root: Path) -> list[dict]:
    rows = [row for p in sorted((root / "decisions").iterdir()) for row in pq.read_table(p).to_pylist()]
    return [row for row in rows if row["keep"]]


def write(root: Path, output: Path, resume: bool = False, **settings) -> dict:
    """As the pipeline does it, task after task in this process."""
    settings = {"shard_size": SHARD} | settings
    parts = find_parts([str(root / "table")])
    plan = plan_subset(parts, str(root / "decisions"), SubsetSettings(**settings), str(output), resume)
    done = [write_task(task, plan.settings, str(output), plan.grouped) for task in plan.tasks]
    finish(functools.reduce(merge, done, SubsetSummary()), plan.brief(), str(output))
    return read_report(str(output))


def index_of(output: Path) -> list[dict]:
    return [row for p in sorted((output / "subset" / "index").iterdir()) for row in pq.read_table(p).to_pylist()]


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def read_back(kind: str, data: Path) -> list[tuple[str, str, bytes]]:
    """(key, label, sha256) of everything, by readers that share nothing with the product's."""
    if kind == "webdataset":
        urls = [str(path) for path in sorted(data.glob("*.tar"))]
        found = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
        image = [next(s[k] for k in ("jpg", "png", "webp") if k in s) for s in found]
        return [(s["__key__"], s["cls"].decode(), sha(i)) for s, i in zip(found, image, strict=True)]
    if kind == "parquet":
        rows = duckdb.sql(f"select key, label, image.bytes from '{data}/*.parquet' order by filename, file_row_number")
        return [(key, str(label), sha(image)) for key, label, image in rows.fetchall()]
    if kind == "folder":
        files = [path for path in data.rglob("*") if path.is_file()]
        return [(str(p.relative_to(data)), p.parent.name, sha(p.read_bytes())) for p in files]
    records = read_rec((data / "train.rec").read_bytes())
    offsets = dict(map(int, line.split("\t")) for line in (data / "train.idx").read_text().splitlines())
    last = int(records[offsets[0]][0][0])
    return [(str(k), str(int(records[offsets[k]][0][0])), sha(records[offsets[k]][1])) for k in range(1, last)]


@pytest.mark.parametrize(("kind", "relabel"), [(k, r) for k in FORMATS for r in (False, True) if r or k != "recordio"])
def test_every_kept_image_is_there_once_with_its_bytes_and_label(scored, tmp_path, kind, relabel):
    report = write(scored, tmp_path, format=kind, relabel=relabel)
    expected = kept_rows(scored)
    assert 10 < len(expected) < COUNT
    assert report["complete"], report
    assert (report["images"], report["images_now"]) == (len(expected), len(expected))
    found = read_back(kind, tmp_path / "subset" / "data")
    if relabel or kind == "recordio":
        mapped = {row["label"]: row for row in csv.DictReader((tmp_path / "subset" / "labels.csv").open())}
        assert list(mapped) == sorted(mapped)
        assert {k: int(v["images"]) for k, v in mapped.items()} == Counter(row["label"] for row in expected)
        labels = {label: row["new_label"] for label, row in mapped.items()}
    else:
        labels = {row["label"]: row["label"] for row in expected}
    wanted = [(labels[row["label"]], row["sha256"]) for row in expected]
    if kind == "recordio":
        wanted.sort(key=lambda one: int(one[0]))
    seen = [one[1:] for one in found]
    assert (Counter(seen) == Counter(wanted)) if kind == "folder" else (seen == wanted)
    index = index_of(tmp_path)
    assert Counter((row["out_key"], row["sha256"]) for row in index) == Counter((key, s) for key, _, s in found)
    by_source = {(row["shard"], row["index"]): row for row in expected}
    for row in index:
        source = by_source.pop((row["shard"], row["index"]))
        assert {n: row[n] for n in ("key", "label", "quality", "tier", "weight", "sha256")} == {
            n: source[n] for n in ("key", "label", "quality", "tier", "weight", "sha256")
        }
    assert not by_source
    assert not list((tmp_path / "_tmp").glob("*"))
    assert not (tmp_path / "subset" / "_work").exists()


@pytest.mark.parametrize(("scored", "kind"), [("folder", "webdataset"), ("parquet", "recordio")], indirect=["scored"])
def test_our_own_reader_scores_a_subset_as_it_scored_the_source(scored, tmp_path, kind):
    write(scored, tmp_path, format=kind)
    command = ["--input", str(tmp_path / "subset" / "data"), "--output", str(tmp_path / "again")]
    assert run(command, MeanScorerSource()) == 0
    again = pq.read_table(tmp_path / "again" / "quality").to_pylist()
    wanted = Counter((row["sha256"], row["quality"]) for row in kept_rows(scored))
    assert Counter((row["sha256"], row["quality"]) for row in again) == wanted


def test_the_container_of_the_input_is_kept_by_same(scored, tmp_path):
    assert write(scored, tmp_path)["format"] == scored.name.rstrip("0123456789")


@pytest.mark.parametrize("scored", ["webdataset"], indirect=True)
def test_datasets_reads_a_parquet_subset_as_images(scored, tmp_path):
    write(scored, tmp_path, format="parquet", relabel=True)
    files = [str(p) for p in sorted((tmp_path / "subset" / "data").iterdir())]
    read = datasets.Dataset.from_parquet(files, cache_dir=str(tmp_path / "cache"))
    assert isinstance(read.features["image"], datasets.Image)
    assert read.features["label"].dtype == "int64"
    assert read[0]["image"].size == (24, 24)
    assert len(read) == len(kept_rows(scored))


def test_recordio_has_the_header_and_the_ranges_of_identities_that_insightface_reads(scored, tmp_path):
    write(scored, tmp_path, format="recordio")
    data = tmp_path / "subset" / "data"
    records = list(read_rec((data / "train.rec").read_bytes()).values())
    (first, last), empty = records[0]
    assert not empty
    images = records[1 : int(first)]
    assert len(images) == len(kept_rows(scored))
    ranges = [labels for labels, _ in records[int(first) : int(last)]]
    assert int(last) == len(records)
    assert (data / "property").read_text() == f"{len(ranges)},24,24\n"
    for number, (begin, end) in enumerate(ranges):
        assert {labels for labels, _ in records[int(begin) : int(end)]} == {(float(number),)}
    assert ranges[0][0] == 1
    assert ranges[-1][1] == first


def test_plain_recordio_has_nothing_but_images_in_order_of_identity_with_keys_from_0(scored, tmp_path):
    write(scored, tmp_path, format="recordio", recordio_layout="plain")
    data = tmp_path / "subset" / "data"
    records = read_rec((data / "train.rec").read_bytes())
    offsets = dict(map(int, line.split("\t")) for line in (data / "train.idx").read_text().splitlines())
    found = [(*records[offsets[key]][0], sha(records[offsets[key]][1])) for key in range(len(offsets))]
    numbers = {row["label"]: n for n, row in enumerate(csv.DictReader((tmp_path / "subset" / "labels.csv").open()))}
    wanted = sorted(
        ((float(numbers[row["label"]]), row["sha256"]) for row in kept_rows(scored)), key=lambda one: one[0]
    )
    assert found == wanted
    assert len(records) == len(offsets)
    # The loader asks key 0 whether it is a header.
    assert int.from_bytes((data / "train.rec").read_bytes()[8:12], "little") == 0
    assert (data / "property").read_text() == f"{len(numbers)},24,24\n"
    assert [row["out_key"] for row in index_of(tmp_path)] == [str(key) for key in range(len(offsets))]


@pytest.mark.parametrize("scored", ["parquet"], indirect=True)
def test_output_is_the_same_bytes_on_every_run(scored, tmp_path):
    for kind in FORMATS:
        for name in "ab":
            write(scored, tmp_path / f"{kind}-{name}", format=kind)
        assert files_of(tmp_path / f"{kind}-a" / "subset") == files_of(tmp_path / f"{kind}-b" / "subset")


def files_of(root: Path) -> dict[str, bytes]:
    found = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    return {name: data for name, data in found.items() if name != "summary.json"}


@pytest.mark.parametrize("scored", ["webdataset"], indirect=True)
def test_the_pipeline_writes_the_same_files_and_does_not_write_them_again(scored, tmp_path):
    for kind in ("same", "recordio"):
        write(scored, tmp_path / f"{kind}-a", format=kind)
        arguments = [find_parts([str(scored / "table")]), str(scored / "decisions")]
        arguments += [SubsetSettings(kind, SHARD), str(tmp_path / f"{kind}-b"), beam_options([], [])]
        assert write_subset(*arguments)["images_now"] == len(kept_rows(scored))
        assert files_of(tmp_path / f"{kind}-a" / "subset") == files_of(tmp_path / f"{kind}-b" / "subset")
    again = write_subset(*arguments, resume=True)
    assert (again["complete"], again["images"], again["images_now"]) == (True, len(kept_rows(scored)), 0)


@pytest.mark.parametrize("scored", ["folder"], indirect=True)
def test_a_table_without_its_plan_is_refused(scored, tmp_path):
    parts = find_parts([str(scored / "table" / "quality" / "*.parquet")])
    lone = [part.__class__(**(part.__dict__ | {"unit": None})) for part in parts]
    with pytest.raises(SubsetError, match="the place of its images is unknown"):
        write_subset(lone, str(scored / "decisions"), SubsetSettings(), str(tmp_path), beam_options([], []))
