"""A sample is an image with its own sidecars, however many files share a name up to the first dot."""

import random
import tracemalloc
from pathlib import Path

import pytest

from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.shards.webdataset import sample as webdataset_sample
from fiqa_core.shards.webdataset.blocks import sample_blocks
from fiqa_core.shards.webdataset.reader import WebDataset, read_samples
from tests.makers.containers import write_tar


def unit_of(path: Path) -> Unit:
    return Unit(0, "webdataset", "t", str(path), 0, 0, 0, -1, path.stat().st_size, "")


def crowd(count: int) -> list[tuple[str, bytes]]:
    return [
        member
        for number in range(count)
        for member in (
            (f"person.{number:04}.jpg", b"image %d" % number),
            (f"person.{number:04}.cls", b"%d" % (number % 7)),
            (f"person.{number:04}.json", b"{}"),
        )
    ]


@pytest.mark.parametrize("count", [3, 86, 500])
@pytest.mark.parametrize("order", ["side by side", "by suffix", "label first"])
def test_each_image_of_a_crowd_has_its_own_label_and_its_own_files_once(tmp_path, count, order):
    files = crowd(count)
    if order == "by suffix":
        files.sort(key=lambda file: (file[0].rpartition(".")[2], file[0]))
    elif order == "label first":
        files.sort()
    path = write_tar(tmp_path / "t.tar", [*files, ("person.9999.cls", b"stray")])
    expected = [(f"person.{n:04}", n, str(n % 7), b"image %d" % n) for n in range(count)]
    assert [r[:4] for r in WebDataset().read(unit_of(path), ReadSettings())] == expected
    found = list(read_samples(unit_of(path), ReadSettings()))
    assert [r[:4] for r, _ in found] == expected
    assert [dict(o) for _, o in found] == [{"cls": b"%d" % (n % 7), "json": b"{}"} for n in range(count)]
    with path.open("rb") as stream:
        assert list(sample_blocks(stream, 1 << 20)) == []


def test_files_named_by_the_key_alone_belong_to_every_image_of_it(tmp_path):
    files = [("a.left.jpg", b"1"), ("a.right.jpg", b"2"), ("a.left.cls", b"5"), ("a.cls", b"7"), ("a.json", b"{}")]
    (left, own), (right, shared) = read_samples(unit_of(write_tar(tmp_path / "t.tar", files)), ReadSettings())
    assert (left.label, dict(own)) == ("5", {"cls": b"5", "json": b"{}"})
    assert (right.label, dict(shared)) == ("7", {"cls": b"7", "json": b"{}"})


@pytest.mark.parametrize("names", [("jpg", "cls"), ("cls", "jpg")])
def test_a_name_twice_in_succession_takes_its_own_sidecar(tmp_path, names):
    files = [(f"a.{suffix}", b"%d" % number) for number in (1, 2) for suffix in names]
    path = unit_of(write_tar(tmp_path / "t.tar", [*files, ("b.jpg", b"3"), ("b.cls", b"3")]))
    expected = [("a", 0, "1", b"1"), ("a", 1, "2", b"2"), ("b", 2, "3", b"3")]
    assert [r[:4] for r in WebDataset().read(path, ReadSettings())] == expected
    assert [(r[:4], dict(o)) for r, o in read_samples(path, ReadSettings())] == [
        (record, {"cls": record[3]}) for record in expected
    ]
    with Path(path.url).open("rb") as stream:
        blocks = list(sample_blocks(stream, 1 << 20))
    assert [key for block in blocks for key in block.keys] in ([], ["a", "a", "b"])


def test_a_crowd_that_is_larger_than_what_is_held_keeps_its_labels_in_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(webdataset_sample, "MAX_HELD_BYTES", 1 << 20)
    pixels = random.Random(0).randbytes(50_000)
    files = [
        member
        for number in range(400)
        for member in ((f"p.{number}.jpg", b"%d " % number + pixels), (f"p.{number}.cls", b"%d" % number))
    ]
    path = write_tar(tmp_path / "t.tar", files)
    del files
    tracemalloc.start()
    found = [(r.key, r.index, r.label, dict(o)) for r, o in read_samples(unit_of(path), ReadSettings())]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [(f"p.{n}", n, str(n), {"cls": b"%d" % n}) for n in range(400)]
    assert peak < 6 << 20
