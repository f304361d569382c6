"""RecordIO: every image of genuine and of damaged files is a row, whatever the units and the index."""

import logging
import random
import shutil
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from fiqa_core.shards.recordio.reader import RecordIO
from fiqa_core.shards.unit import ReadSettings, Record, Unit
from fiqa_core.storage import stat
from schemas.reasons import Status
from tests.makers.images import jpeg_bytes
from tests.makers.recordio import MAGIC, part, payload, read_rec, write_rec
from tests.shared import SHARED, needs_shared

NATIVE = SHARED / "data" / "native"
LEGACY = NATIVE / "mxnet_made" / "legacy_train.rec"
BUILDER = NATIVE / "mxnet_made" / "recbuilder" / "train.rec"
POPKORN = NATIVE / "adaface_popkorn" / "train.rec"
FACES = [jpeg_bytes(seed, 24) for seed in range(12)]
HUGE = 0x1FFFFFFF


def plan(path: Path, unit_size: int = 1000) -> list[Unit]:
    file = stat(str(path))
    assert file is not None
    return list(RecordIO().plan(file, unit_size))


def read(path: Path, unit_size: int = 1000, **settings: int) -> list[Record]:
    return [r for unit in plan(path, unit_size) for r in RecordIO().read(unit, ReadSettings(**settings))]


def copied(source: Path, folder: Path, index: bool = True) -> Path:
    for path in [source, source.with_suffix(".idx")][: 1 + index]:
        shutil.copyfile(path, folder / path.name)
    return folder / source.name


def statuses(records: list[Record]) -> list[str]:
    return [str(r.fault.status) if r.fault else "image" for r in records]


def written(path: Path, **options: bool) -> list[int]:
    return write_rec(path, [payload(face, float(n), n) for n, face in enumerate(FACES)], **options)


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def survivors(records: list[Record]) -> list[int]:
    return [FACES.index(r.data) for r in records if r.fault is None and r.data in FACES]


@needs_shared
@pytest.mark.parametrize(("source", "count"), [(LEGACY, 96), (BUILDER, 96), (POPKORN, 8)])
@pytest.mark.parametrize("unit_size", [1, 7, 1000])
def test_genuine_files_are_read_as_an_independent_reader_reads_them(source, count, unit_size):
    lines = [line.split() for line in source.with_suffix(".idx").read_text().splitlines()]
    keys = {int(offset): key for key, offset in lines}
    expected = [
        (keys[at], at, str(int(labels[0])), image)
        for at, (labels, image) in sorted(read_rec(source.read_bytes()).items())
        if image
    ]
    found = [(r.key, r.index, r.label, r.data) for r in read(source, unit_size)]
    assert found == expected
    assert len(found) == count
    assert len(plan(source, unit_size)) == (1 if unit_size == 1000 else -(-len(lines) // unit_size))


@needs_shared
@pytest.mark.parametrize("source", [LEGACY, BUILDER, POPKORN])
@pytest.mark.parametrize("unit_size", [1, 10, 1000])
def test_without_an_index_the_same_images_are_found_and_their_key_is_the_byte(tmp_path, source, unit_size):
    found = read(copied(source, tmp_path, index=False), unit_size)
    assert [r._replace(key=None) for r in found] == [r._replace(key=None) for r in read(source)]
    assert [r.key for r in found] == [f"@{r.index}" for r in found]


@needs_shared
def test_an_index_sorted_by_key_gives_the_same_rows(tmp_path):
    path = copied(LEGACY, tmp_path)
    lines = sorted(path.with_suffix(".idx").read_text().splitlines(), key=lambda line: int(line.split()[0]))
    assert lines[0].startswith("0\t48")  # the header record lies at the end of the file
    path.with_suffix(".idx").write_text("\n".join(lines))
    assert read(path, 10) == read(LEGACY)
    assert len(plan(path, 10)) > 5


@needs_shared
def test_a_damaged_index_costs_keys_and_no_image(tmp_path, caplog):
    path = copied(LEGACY, tmp_path)
    lines = path.with_suffix(".idx").read_bytes().splitlines(keepends=True)
    lines[3] = b"\xff\x00 nonsense\n"
    lines[5] = b"6\t24989\n"  # no multiple of 4
    lines[7:9] = [b"x" * 300_000 + b"\n", b"9\t99999999999999999999999\n"]
    path.with_suffix(".idx").write_bytes(b"".join(lines))
    with caplog.at_level(logging.WARNING):
        found = read(path, 10)
    assert [r._replace(key=None) for r in found] == [r._replace(key=None) for r in read(LEGACY)]
    lost = [place for place, r in enumerate(found) if r.key == f"@{r.index}"]
    assert lost == [3, 5, 7, 8]
    assert "of 109 lines" in caplog.text


def test_an_index_of_other_places_still_gives_every_image(tmp_path):
    written(tmp_path / "t.rec")
    (tmp_path / "t.idx").write_text("".join(f"{n}\t{n * 40 + 4}\n" for n in range(30)))
    assert survivors(read(tmp_path / "t.rec", 2)) == list(range(12))


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("unit_size", [1, 3, 100])
def test_parts_that_were_split_at_the_magic_number_are_joined(tmp_path, index, unit_size):
    images = [FACES[0] + bytes(-len(FACES[0]) % 4) + MAGIC * n + b"end" for n in range(5)]
    write_rec(tmp_path / "t.rec", [payload(image, 2.0) for image in images], index)
    assert [r.data for r in read(tmp_path / "t.rec", unit_size)] == images


def test_the_first_of_several_labels_counts_and_numbers_that_are_not_whole_stay(tmp_path):
    labels = [(7.0, 0.25, 3.0, 4.0), 16777216.0, 0.1, float("nan"), (3.0, 5.0)]
    write_rec(tmp_path / "t.rec", [payload(FACES[0], label) for label in labels])
    found = read(tmp_path / "t.rec")
    assert [r.label for r in found] == ["7", "16777216", "0.1", None, "3"]
    assert {r.data for r in found} == {FACES[0]}


def test_insightface_bookkeeping_is_no_row_but_an_image_without_bytes_is_one(tmp_path):
    rows = [(b"", (4.0, 6.0)), (FACES[1], (0.0, 1.0)), (b"", (0.0, 1.0)), (FACES[2], 1.0)]
    rows += [(b"", (1.0, 3.0)), (b"", (3.0, 4.0))]
    write_rec(tmp_path / "t.rec", [payload(image, label, n) for n, (image, label) in enumerate(rows)])
    found = read(tmp_path / "t.rec")
    assert [(r.key, r.label) for r in found] == [("1", "0"), ("2", "0"), ("3", "1")]
    assert statuses(found) == ["image", "missing_image", "image"]
    (tmp_path / "t.idx").unlink()
    assert statuses(read(tmp_path / "t.rec", 1)) == statuses(found)


@pytest.mark.parametrize("first", [17_091_658, 17_186_135, 40_000_006, 42_474_558, 100_000_009])
def test_identity_records_are_no_rows_where_float32_rounds_their_keys(tmp_path, first):
    images = [(key, payload(FACES[key], (key - 1) // 2 * 1.0, key)) for key in range(1, 7)]
    ranges = [(first + n, payload(b"", (1.0 + 2 * n, 3.0 + 2 * n), first + n)) for n in range(3)]
    rows = [(0, payload(b"", (float(first), float(first + 3)))), *images, *ranges]
    offsets = write_rec(tmp_path / "t.rec", [row for _, row in rows])
    lines = (f"{key}\t{at}\n" for (key, _), at in zip(rows, offsets, strict=True))
    (tmp_path / "t.idx").write_text("".join(lines))
    assert statuses(read(tmp_path / "t.rec")) == ["image"] * 6


@pytest.mark.parametrize("unit_size", [1, 100])
@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize(
    "header",
    [
        b"\0\0\0\0",
        MAGIC + struct.pack("<I", HUGE),
        MAGIC + struct.pack("<I", 1 << 20 | 7),
        MAGIC + struct.pack("<I", 3 << 29 | 40),
        MAGIC + struct.pack("<I", 1 << 29 | 40),
        MAGIC + struct.pack("<I", 7 << 29 | 40),
        MAGIC + struct.pack("<I", 5),
        MAGIC + struct.pack("<I", 3000),
    ],
)
@pytest.mark.parametrize("place", [0, 5])
def test_a_damaged_record_costs_itself_and_no_neighbour(tmp_path, unit_size, index, header, place):
    offsets = written(tmp_path / "t.rec", index=index)
    overwrite(tmp_path / "t.rec", offsets[place], header)
    found = read(tmp_path / "t.rec", unit_size)
    assert survivors(found) == [n for n in range(12) if n != place]
    assert [(r.index, r.fault.status) for r in found if r.fault] == [(offsets[place], Status.CORRUPT)]
    assert found == read(tmp_path / "t.rec", 4)


def test_a_length_that_ends_at_a_later_record_does_not_swallow_those_between(tmp_path):
    offsets = written(tmp_path / "t.rec")
    overwrite(tmp_path / "t.rec", offsets[3] + 4, struct.pack("<I", offsets[6] - offsets[3] - 8))
    found = read(tmp_path / "t.rec")
    assert survivors(found) == [n for n in range(12) if n != 3]
    assert [r.fault.status for r in found if r.fault] == [Status.CORRUPT]


def test_a_length_that_is_too_short_is_told_of(tmp_path):
    offsets = written(tmp_path / "t.rec")
    overwrite(tmp_path / "t.rec", offsets[3] + 4, struct.pack("<I", 200))
    found = read(tmp_path / "t.rec")
    assert survivors(found) == [n for n in range(12) if n != 3]
    assert found[3].data == FACES[3][:176]  # the decoder will say that it is truncated
    assert found[4].fault is not None
    assert found[4].fault.status == Status.CORRUPT


@pytest.mark.parametrize("unit_size", [1, 3, 100])
def test_garbage_between_records_is_one_row(tmp_path, unit_size):
    offsets = written(tmp_path / "t.rec", index=False)
    data = (tmp_path / "t.rec").read_bytes()
    garbage = random.Random(1).randbytes(5000)
    (tmp_path / "t.rec").write_bytes(data[: offsets[4]] + garbage + data[offsets[4] :])
    found = read(tmp_path / "t.rec", unit_size)
    assert survivors(found) == list(range(12))
    assert [(r.index, r.fault.status) for r in found if r.fault] == [(offsets[4], Status.CORRUPT)]


def named_or_at(found: list[Record]) -> bool:
    """Whether every intact face has its own key, or the byte at which it begins."""
    faces = [r for r in found if r.fault is None and r.data in FACES]
    return all(r.key in (str(FACES.index(r.data)), f"@{r.index}") for r in faces)


@pytest.mark.parametrize("unit_size", [1, 3, 100])
@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, -1, -2, -4, -5])
def test_bytes_inserted_or_removed_cost_one_record_and_no_row_more(tmp_path, unit_size, index, count):
    offsets = written(tmp_path / "t.rec", index=index)
    data = (tmp_path / "t.rec").read_bytes()
    for at in [*range(offsets[5], offsets[5] + 44, 5), offsets[5] + 500, offsets[6] - 5]:
        (tmp_path / "t.rec").write_bytes(data[:at] + b"\x99" * count + data[at - min(count, 0) :])
        found = read(tmp_path / "t.rec", unit_size)
        assert set(range(12)) - set(survivors(found)) <= {5}
        assert len(found) == 12
        assert named_or_at(found)
        assert [r.key for r in found if r.data in FACES and r.data != FACES[5]] == [
            str(n) if index else f"@{offsets[n] + (count if n > 5 else 0)}" for n in range(12) if n != 5
        ]
        told = [r for r in found if r.fault or r.note]
        assert [r.index for r in told] == [offsets[4 if at == offsets[5] and count > 0 else 5]]


def test_a_record_is_entered_where_it_begins_also_behind_inserted_bytes(tmp_path):
    offsets = written(tmp_path / "t.rec")
    data = (tmp_path / "t.rec").read_bytes()
    (tmp_path / "t.rec").write_bytes(data[: offsets[2] + 300] + b"x" + data[offsets[2] + 300 :])
    (unit,) = plan(tmp_path / "t.rec")
    for record in read(tmp_path / "t.rec"):
        assert next(RecordIO().read(replace(unit, start=record.index), ReadSettings())).data == record.data


@pytest.mark.parametrize("unit_size", [1, 2, 100])
def test_a_whole_rec_at_an_odd_byte_of_an_image_is_no_records(tmp_path, unit_size):
    hidden = FACES[0] + b"?" + b"".join(part(payload(face)) for face in FACES[1:4])
    hidden += bytes(1 + len(hidden) % 4)
    write_rec(tmp_path / "t.rec", [payload(image) for image in (FACES[5], hidden, FACES[6])], index=False)
    file = stat(str(tmp_path / "t.rec"))
    units = [
        replace(plan(tmp_path / "t.rec")[0], start=at, stop=min(at + 400, file.size)) for at in range(0, file.size, 400)
    ]
    found = [r for unit in units for r in RecordIO().read(unit, ReadSettings())]
    assert [r.data for r in found] == [FACES[5], hidden, FACES[6]]


def test_two_breaks_and_a_removed_record_never_give_a_wrong_key(tmp_path):
    same = [b"\xff\xd8\xff" + random.Random(seed).randbytes(697) for seed in range(40)]
    for faces, ids in [(same, 0), (same, 1), ([jpeg_bytes(n, 24) for n in range(40)], 0)]:
        offsets = write_rec(tmp_path / "t.rec", [payload(face, 1.0, ids * n) for n, face in enumerate(faces)])
        data = (tmp_path / "t.rec").read_bytes()
        removed = data[: offsets[7]] + data[offsets[8] :]
        twice = (
            data[: offsets[7] + 90]
            + b"a"
            + data[offsets[7] + 90 : offsets[20] + 90]
            + b"bcd"
            + data[offsets[20] + 90 :]
        )
        # Of records of one length that have no numbers of their own, nothing tells that one is gone.
        for damaged in (removed, twice) if ids or faces is not same else (twice,):
            (tmp_path / "t.rec").write_bytes(damaged)
            for unit_size in (3, 100):
                found = [r for r in read(tmp_path / "t.rec", unit_size) if r.data in faces]
                assert len(found) >= 38
                assert all(r.key in (str(faces.index(r.data)), f"@{r.index}") for r in found)


def test_a_missing_middle_part_is_one_row(tmp_path):
    image = payload(FACES[0])
    broken = part(image[:40], 1) + part(image[44:80], 2)
    (tmp_path / "t.rec").write_bytes(part(image) + broken + part(payload(FACES[1])))
    found = read(tmp_path / "t.rec")
    assert statuses(found) == ["image", "corrupt", "image"]
    assert found[1].key == f"@{len(part(image))}"


@needs_shared
@pytest.mark.parametrize("unit_size", [1, 10, 1000])
def test_a_file_that_breaks_off_keeps_what_came_and_says_so(tmp_path, unit_size):
    path = copied(LEGACY, tmp_path)
    path.write_bytes(path.read_bytes()[: 100_000 + 8])
    found = read(path, unit_size)
    whole = [r for r in read(LEGACY) if r.index < 99_936]
    assert found[:-1] == whole
    assert (found[-1].key, found[-1].index) == (None, 99_936)
    assert found[-1].fault is not None
    assert found[-1].fault.status == Status.SHARD_TRUNCATED


def test_every_place_of_breaking_off_is_told(tmp_path):
    offsets = [*written(tmp_path / "t.rec"), (tmp_path / "t.rec").stat().st_size]
    data = (tmp_path / "t.rec").read_bytes()
    for cut in range(offsets[1] - 5, offsets[1] + 40):
        (tmp_path / "t.rec").write_bytes(data[:cut])
        found = statuses(read(tmp_path / "t.rec", 3))
        end = cut in range(offsets[1] - (-len(payload(FACES[0])) % 4), offsets[1] + 1)
        before = [] if cut < offsets[1] - (-len(payload(FACES[0])) % 4) else ["image"]
        assert found == (before if end else [*before, "shard_truncated"])


def test_no_records_at_all_is_a_row(tmp_path):
    for data, status in [(b"", Status.SHARD_TRUNCATED), (b"no records " * 50, Status.SHARD_UNREADABLE)]:
        (tmp_path / "t.rec").write_bytes(data)
        assert statuses(read(tmp_path / "t.rec", 2)) == [status]


def test_a_record_over_the_limit_is_hashed_and_never_held(tmp_path):
    with (tmp_path / "t.rec").open("wb") as file:
        file.write(part(payload(FACES[0])))
        size = 30 << 20
        file.write(MAGIC + struct.pack("<I", size))
        file.seek(size, 1)
        file.write(part(payload(FACES[1])))
    tracemalloc.start()
    found = read(tmp_path / "t.rec", max_stored_bytes=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert statuses(found) == ["image", "too_large", "image"]
    assert found[1].sha256 is not None
    assert peak < 6 << 20


def test_labels_that_do_not_fit_into_the_record_are_damage(tmp_path):
    hostile = struct.pack("<IfQQ", 0xFFFFFFFF, 0, 1, 0) + FACES[0]
    write_rec(tmp_path / "t.rec", [payload(FACES[0]), hostile, b"short", payload(FACES[1])])
    assert statuses(read(tmp_path / "t.rec")) == ["image", "corrupt", "corrupt", "image"]
