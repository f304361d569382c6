"""What is found in blocks, many records at once, is what the readers of records find, as far as it goes."""

import io
import random
import tarfile
from pathlib import Path

import numpy as np
import pytest

from fiqa_core.shards.output_names import PLAIN_KEY, sample_key
from fiqa_core.shards.recordio import blocks as recordio_blocks
from fiqa_core.shards.recordio.format import MAGIC_BYTES
from fiqa_core.shards.recordio.pack import pack_images, pack_record, set_keys
from fiqa_core.shards.recordio.reader import RecordIO
from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.shards.webdataset import blocks as webdataset_scan
from fiqa_core.shards.webdataset.reader import read_samples
from tests.makers.containers import (
    face_records,
    samples,
    write_hostile_tar,
    write_long_name_tar,
    write_tar,
    write_truncated_tar,
    write_webdataset,
)
from tests.makers.hostile import TAR_END, long_named_member, pax_member, tar_member
from tests.makers.recordio import part, payload, write_rec

FACES = face_records(12, size=24)
PLAIN = samples(FACES)
Seen = tuple[int, str, bytes, dict[str, bytes]]


def unit_of(path: Path, container: str) -> Unit:
    return Unit(0, container, str(path), str(path), 0, path.stat().st_size, 0, -1, path.stat().st_size, "")


def in_blocks(path: Path) -> list[Seen]:
    found: list[Seen] = []
    with path.open("rb") as stream:
        for block in webdataset_scan.sample_blocks(stream, 1 << 20):
            for place, key in enumerate(block.keys):
                image = int(block.image[place])
                members = range(int(block.first[place]), int(block.first[place + 1]))
                others = {block.suffixes[m]: bytes(block.content(m)) for m in members if m != image}
                found.append((int(block.index[place]), key, bytes(block.content(image)), others))
    return found


def one_by_one(path: Path) -> list[Seen]:
    records = read_samples(unit_of(path, "webdataset"), ReadSettings(max_stored_bytes=1 << 20))
    return [(r.index, r.key, r.data, others) for r, others in records if r.fault is None]


@pytest.mark.parametrize("read", [2048, 4096, 1 << 20])
@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_all_samples_of_a_plain_tar_are_found_wherever_its_blocks_end(tmp_path, monkeypatch, read, tar_format):
    monkeypatch.setattr(webdataset_scan, "_READ", read)
    more = [("d/e.json", b"{}"), ("x.y/f.jpg", b"1"), ("x.y/f.cls", b""), ("g.jpg", b""), ("g.json", b"{}" * 900)]
    path = write_tar(tmp_path / "t.tar", [*PLAIN, *more], tar_format)
    assert in_blocks(path) == one_by_one(path)
    assert len(in_blocks(path)) == len(FACES) + 2


def test_all_samples_that_webdataset_wrote_are_found_though_each_member_has_a_pax_header(tmp_path):
    (path,) = write_webdataset(tmp_path / "s-%06d.tar", FACES)
    assert b"mtime=" in path.read_bytes()
    assert in_blocks(path) == one_by_one(path)
    assert len(in_blocks(path)) == len(FACES)


def joined(*parts: bytes) -> bytes:
    return b"".join(parts) + TAR_END


A, B = tar_member(b"a.jpg", b"1") + tar_member(b"a.cls", b"7"), tar_member(b"b.jpg", b"2")
ODD = {
    "two images of a sample": joined(A, tar_member(b"a.png", b"3"), B),
    "a name with two dots": joined(A, tar_member(b"c.left.jpg", b"3"), B),
    "a name that leads out": joined(A, tar_member(b"../c.jpg", b"3"), B),
    "a name with a stray byte": joined(A, tar_member(b"\xff.jpg", b"3"), B),
    "a name with a NUL in it": joined(A, tar_member(b"c.jpg\0.png", b"3"), B),
    "a name with a line end": joined(A, tar_member(b"c.jpg\nd.jpg", b"3"), B),
    "a suffix in capitals": joined(A, tar_member(b"c.JPG", b"3"), B),
    "litter": joined(A, tar_member(b"._c.jpg", b"3"), B),
    "a device": joined(A, tar_member(b"con.jpg", b"3"), B),
    "a long name": joined(A, long_named_member(b"c" * 200 + b".jpg", b"3"), B),
    "a path in a pax header": joined(A, pax_member(b"14 path=c.jpg\n", b"x.jpg", b"3"), B),
    "a sparse name in a pax header": joined(A, pax_member(b"25 GNU.sparse.name=c.jpg\n", b"x.jpg", b"3"), B),
    "a size in a pax header": joined(A, pax_member(b"9 size=1\n", b"c.jpg", b"3"), B),
    "a link": joined(A, tar_member(b"c.jpg", b"", b"2"), B),
    "a folder": joined(A, tar_member(b"c.jpg", b"", b"5"), B),
    "no size": joined(A, tar_member(b"c.jpg", b"", size_field=b"many bytes \0"), B),
    "an end mark in the middle": joined(A, TAR_END, tar_member(b"a.json", b"{}"), B),
    "a sidecar twice": joined(A, tar_member(b"a.cls", b"8"), B),
    "no end mark": A + B,
    "cut off": joined(A, B)[:-1300],
    "a tar in an image": joined(A, tar_member(b"c.jpg", tar_member(b"d.jpg", b"4")), B),
    "an image above the limit": joined(A, tar_member(b"c.jpg", bytes((1 << 20) + 1)), B),
    "nothing": b"",
    "no tar": b"\xff" * 5000,
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD.keys())
def test_of_an_odd_tar_no_more_is_found_than_what_it_begins_with(tmp_path, data):
    path = tmp_path / "t.tar"
    path.write_bytes(data)
    found = in_blocks(path)
    assert found == one_by_one(path)[: len(found)]


def test_of_tars_that_no_honest_tool_writes_no_more_is_found_than_the_reader_finds(tmp_path):
    paths = [
        write_hostile_tar(tmp_path / "a.tar", FACES[0]),
        write_truncated_tar(tmp_path / "b.tar", FACES),
        write_long_name_tar(tmp_path / "c.tar", FACES, tarfile.GNU_FORMAT),
        write_long_name_tar(tmp_path / "d.tar", FACES, tarfile.PAX_FORMAT),
    ]
    for path in paths:
        found = in_blocks(path)
        assert found == one_by_one(path)[: len(found)]


def test_after_any_flipped_byte_nothing_is_found_that_the_reader_does_not_find(tmp_path):
    (path,) = write_webdataset(tmp_path / "s-%06d.tar", FACES[:2])
    data = bytearray(path.read_bytes())
    for at in random.Random(0).sample(range(len(data)), 250):
        data[at] ^= 0xFF
        path.write_bytes(data)
        found = in_blocks(path)
        assert found == one_by_one(path)[: len(found)], at
        data[at] ^= 0xFF


@pytest.mark.parametrize(
    "key", ["a", "__a", "a.b/c", "a./b", ".a/b", "con", "x/aux", "x/aux.d/e", "a" * 61, "ü/b-1", "a b"]
)
def test_a_plain_key_is_one_that_stays_what_it_is(key):
    if webdataset_scan.re.fullmatch(PLAIN_KEY, key):
        assert sample_key(key) == key
    else:
        assert sample_key(key) != key or key == "a b"


def records_in_blocks(path: Path, first: int = 0) -> list[tuple[int, bytes]]:
    with path.open("rb") as stream:
        return [
            (int(at), bytes(block.data[start : start + size]))
            for block in recordio_blocks.image_blocks(stream, lambda: first, 1 << 20)
            for at, start, size in zip(block.at, block.starts, block.sizes, strict=True)
        ]


def records_one_by_one(path: Path) -> list[tuple[int, bytes]]:
    found = RecordIO().read(unit_of(path, "recordio"), ReadSettings(max_stored_bytes=1 << 20))
    return [(r.index, r.data) for r in found if r.fault is None and r.data is not None]


IMAGES = [record.data for record in FACES]


@pytest.mark.parametrize("read", [2048, 4096, 1 << 20])
def test_all_records_of_one_part_are_found_wherever_the_blocks_end(tmp_path, monkeypatch, read):
    monkeypatch.setattr(recordio_blocks, "_READ", read)
    path = tmp_path / "t.rec"
    labels = [(1.0, 2.0, 3.0) if number % 3 else float(number) for number in range(len(IMAGES))]
    offsets = write_rec(path, [payload(i, label, n) for n, (i, label) in enumerate(zip(IMAGES, labels, strict=True))])
    assert records_in_blocks(path) == records_one_by_one(path) == list(zip(offsets, IMAGES, strict=True))
    assert records_in_blocks(path, offsets[7]) == list(zip(offsets, IMAGES, strict=True))[7:]


def test_of_a_rec_with_anything_odd_nothing_is_found_that_the_reader_does_not_find(tmp_path):
    path = tmp_path / "t.rec"
    split = IMAGES[1] + bytes(-len(IMAGES[1]) % 4) + MAGIC_BYTES + IMAGES[2]
    write_rec(path, [payload(IMAGES[0]), payload(split), payload(b""), payload(IMAGES[3])])
    whole = path.read_bytes()
    assert [image for _, image in records_in_blocks(path)] == [IMAGES[0], IMAGES[3]]
    for data in (whole[:-9], whole + b"x" * 40, whole + part(b"short"), b"x" * 4 + whole, whole[:60] + whole[64:], b""):
        path.write_bytes(data)
        assert set(records_in_blocks(path)) <= set(records_one_by_one(path))
    flipped = bytearray(whole)
    for at in random.Random(0).sample(range(len(whole)), 120):
        flipped[at] ^= 0xFF
        path.write_bytes(flipped)
        assert set(records_in_blocks(path)) <= set(records_one_by_one(path)), at
        flipped[at] ^= 0xFF


@pytest.mark.parametrize("magic", [False, True])
def test_records_packed_together_are_those_packed_one_by_one(magic):
    images = [*IMAGES, b"ab" + MAGIC_BYTES + b"c", b"", *([b"abcd" + MAGIC_BYTES + b"e"] if magic else [])]
    sizes = np.array([len(image) for image in images])
    labels = np.arange(len(images)) // 2
    packed, offsets = pack_images(memoryview(b"".join(images)), np.cumsum(sizes) - sizes, sizes, labels)
    set_keys(packed, offsets[:-1], 5)
    expected = [pack_record(payload(image, float(n // 2), 5 + n)) for n, image in enumerate(images)]
    assert packed.tobytes() == b"".join(expected)
    assert offsets.tolist() == [0, *np.cumsum([len(one) for one in expected]).tolist()]


def test_a_gzip_is_left_to_the_reader():
    assert list(webdataset_scan.sample_blocks(io.BytesIO(b"\x1f\x8b" + bytes(2000)), 100)) == []
