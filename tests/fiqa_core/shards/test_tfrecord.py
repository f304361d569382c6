"""TFRecord: every record of genuine and of damaged files is a row, whatever the units; written as others read it."""

import gzip
import io
import random
import time
import tracemalloc
from pathlib import Path

import fsspec
import pytest

from fiqa_core.shards.tfrecord.example import EXAMPLE
from fiqa_core.shards.tfrecord.reader import TFRecord
from fiqa_core.shards.tfrecord.writer import TFRecordShards
from fiqa_core.shards.unit import ReadSettings, Record, Unit
from fiqa_core.storage import stat
from schemas.reasons import Status
from tests.makers.batches import image_batch
from tests.makers.images import jpeg_bytes
from tests.makers.tfrecord import example, face, header, record, write_tfrecord
from tests.shared import SHARED, needs_shared

NATIVE = SHARED / "data" / "native" / "other_made"
FACES = [jpeg_bytes(seed, 24) for seed in range(12)]
PAYLOADS = [face(data, number % 3, f"face_{number}.jpg") for number, data in enumerate(FACES)]


def plan(path: Path, unit_size: int = 1000) -> list[Unit]:
    file = stat(str(path))
    assert file is not None
    return list(TFRecord().plan(file, unit_size))


def read(path: Path, unit_size: int = 1000, **settings: int | str) -> list[Record]:
    found = []
    for unit in plan(path, unit_size):
        rows = list(TFRecord().read(unit, ReadSettings(**settings)))
        assert unit.records in (len(rows), -1)
        assert [row.index for row in rows] == list(range(unit.first_index, unit.first_index + len(rows)))
        found += [row._replace(reached=0) for row in rows]
    return found


def survivors(rows: list[Record]) -> list[int]:
    return [FACES.index(row.data) for row in rows if row.fault is None and row.data in FACES]


@needs_shared
@pytest.mark.parametrize("name", ["faces.tfrecord", "faces.tfrecord.gz"])
@pytest.mark.parametrize("unit_size", [1, 7, 1000])
def test_files_by_tensorflow_are_read_as_the_tfrecord_package_reads_them(name, unit_size):
    loader = pytest.importorskip("tfrecord.reader").tfrecord_loader
    expected = [
        (each["image/filename"].decode(), str(int(each["image/class/label"][0])), bytes(each["image/encoded"]))
        for each in loader(str(NATIVE / "faces.tfrecord"), None)
    ]
    found = read(NATIVE / name, unit_size)
    assert [(row.key, row.label, row.data) for row in found] == expected
    assert len(plan(NATIVE / name, unit_size)) == (1 if name.endswith("gz") else -(-64 // unit_size))
    assert {row.label_from for row in found} == {"feature 'image/class/label'"}


DAMAGES = {
    "a flipped bit of a length": lambda d, a, _: d[: a + 1] + bytes([d[a + 1] ^ 4]) + d[a + 2 :],
    "a flipped bit of the length's checksum": lambda d, a, _: d[: a + 9] + bytes([d[a + 9] ^ 64]) + d[a + 10 :],
    "a flipped bit of the data": lambda d, _, b: d[: b - 40] + bytes([d[b - 40] ^ 1]) + d[b - 39 :],
    "a flipped bit of the data's checksum": lambda d, _, b: d[: b - 2] + bytes([d[b - 2] ^ 1]) + d[b - 1 :],
    "zeros over the header": lambda d, a, _: d[:a] + bytes(12) + d[a + 12 :],
    "zeros over all of it": lambda d, a, b: d[:a] + bytes(b - a) + d[b:],
    "a record that lost its end": lambda d, _, b: d[: b - 100] + d[b:],
    **{f"{n} bytes inserted": lambda d, a, _, n=n: d[: a + 30] + random.Random(n).randbytes(n) + d[a + 30 :]
       for n in (1, 8, 12, 3000)},
    **{f"{n} bytes removed": lambda d, a, _, n=n: d[: a + 30] + d[a + 30 + n :] for n in (1, 8, 12, 500)},
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("number", [0, 5, 11])
def test_a_damaged_record_is_one_row_and_its_neighbours_are_read(tmp_path, kind, number):
    path = tmp_path / "t.tfrecord"
    offsets = [*write_tfrecord(path, PAYLOADS), path.stat().st_size]
    path.write_bytes(DAMAGES[kind](path.read_bytes(), offsets[number], offsets[number + 1]))
    rows = read(path)
    assert survivors(rows) == [each for each in range(12) if each != number]
    assert [row.fault is None for row in rows] == [each != number for each in range(12)]
    fault = rows[number].fault
    assert fault is not None
    assert fault.status in (Status.CORRUPT, Status.SHARD_UNREADABLE, Status.SHARD_TRUNCATED)
    assert (rows[number].key is None) == (fault.status is not Status.CORRUPT)
    for unit_size in (1, 3):
        assert read(path, unit_size) == rows


@pytest.mark.parametrize("kept", [5, 40, 0.5])
def test_a_file_that_breaks_off_ends_in_a_row_that_says_so(tmp_path, kept):
    path = tmp_path / "t.tfrecord"
    offsets = [*write_tfrecord(path, PAYLOADS), path.stat().st_size]
    size = int((offsets[6] - offsets[5]) * kept) if kept < 1 else kept
    path.write_bytes(path.read_bytes()[: offsets[5] + int(size)])
    rows = read(path, 2)
    assert survivors(rows) == [0, 1, 2, 3, 4]
    assert [row.fault.status for row in rows if row.fault] == [Status.SHARD_TRUNCATED]
    assert rows[-1].key is None


def test_random_damage_costs_no_record_that_it_does_not_touch(tmp_path):
    path = tmp_path / "t.tfrecord"
    offsets = [*write_tfrecord(path, PAYLOADS), path.stat().st_size]
    whole = path.read_bytes()
    chance = random.Random(14)
    for _ in range(150):
        data, at = bytearray(whole), chance.randrange(len(whole))
        number = next(n for n in range(12) if offsets[n] <= at < offsets[n + 1])
        last = min(at + chance.choice((1, 4, 50)), offsets[number + 1])
        data[at:last] = chance.randbytes(chance.choice((last - at, 0, last - at + 3)))
        path.write_bytes(bytes(data))
        rows = read(path, chance.choice((1, 4, 100)))
        assert [each for each in range(12) if each != number] == [each for each in survivors(rows) if each != number]
        assert len(rows) == 12 or bytes(data) == whole


@pytest.mark.parametrize("length", [1 << 62, 1 << 40, 1 << 31, 300_000_000])
def test_a_length_that_the_file_does_not_have_is_never_allocated(tmp_path, length):
    path = tmp_path / "t.tfrecord"
    path.write_bytes(record(PAYLOADS[0]) + header(length) + b"x" * 50 + record(PAYLOADS[1]))
    read(path)  # what is imported and cached on the way does not count
    tracemalloc.start()
    rows = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert survivors(rows) == [0, 1]
    assert f"states a length of {length} bytes" in rows[1].fault.message
    assert peak < 8 << 20


def test_a_compressed_bomb_and_a_false_length_in_it_need_bounded_memory(tmp_path):
    path = tmp_path / "t.tfrecord.gz"
    path.write_bytes(gzip.compress(record(PAYLOADS[0]) + header(1 << 40) + bytes(100 << 20), 1))
    tracemalloc.start()
    rows = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert survivors(rows) == [0]
    assert rows[-1].fault.status is Status.SHARD_TRUNCATED
    assert peak < 16 << 20


def test_a_long_stretch_of_zeros_is_searched_in_little_time(tmp_path):
    path = tmp_path / "t.tfrecord"
    path.write_bytes(record(PAYLOADS[0]) + bytes(20 << 20) + record(PAYLOADS[1]))
    started = time.process_time()
    assert survivors(read(path)) == [0, 1]
    assert time.process_time() - started < 10


def test_headers_of_records_that_overlap_take_little_time(tmp_path):
    path, count = tmp_path / "t.tfrecord", 300_000
    path.write_bytes(header(6 * count) * count + record(PAYLOADS[0]))
    started = time.process_time()
    rows = read(path)
    assert time.process_time() - started < 20
    assert len(rows) > 100
    assert all(row.fault for row in rows[:-1])


def test_a_file_of_which_every_record_is_damaged_is_read_in_little_time_and_has_a_row_for_each(tmp_path):
    path = tmp_path / "t.tfrecord"
    write_tfrecord(path, PAYLOADS * 400)
    # As a transfer in text mode leaves it.
    damaged = [record(payload).replace(b"\n", b"\r\n") for payload in PAYLOADS]
    count = sum(b"\n" in record(payload) for payload in PAYLOADS)
    path.write_bytes(b"".join(damaged * 400))
    started = time.process_time()
    rows = read(path, 1000)
    assert time.process_time() - started < 20
    assert len(rows) == 4800
    assert sum(row.fault is not None for row in rows) == 400 * count > 400


def test_records_inside_the_data_of_a_record_are_not_records(tmp_path):
    path = tmp_path / "t.tfrecord"
    inner = b"".join(map(record, PAYLOADS[2:6]))
    write_tfrecord(path, [PAYLOADS[0], example({"image/encoded": FACES[1], "more": inner}), PAYLOADS[6]])
    for unit_size in (1, 100):
        assert survivors(read(path, unit_size)) == [0, 1, 6]


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_gzip_member_costs_what_lies_behind_it_and_the_next_member_is_read(tmp_path, damage):
    path = tmp_path / "t.tfrecord.gz"
    first, second = (gzip.compress(b"".join(map(record, part))) for part in (PAYLOADS[:6], PAYLOADS[6:]))
    hurt = first[: len(first) // 2] if damage == "cut" else first[:600] + b"\xff" * 40 + first[640:]
    path.write_bytes(hurt + second)
    rows = read(path)
    found = survivors(rows)
    assert found[-6:] == [6, 7, 8, 9, 10, 11]
    assert found[:-6] == list(range(len(found) - 6))
    assert [row.fault.status for row in rows if row.fault] == [Status.CORRUPT] * (len(rows) - len(found))
    assert len(rows) > len(found)


def test_features_are_found_by_their_usual_names_and_by_option(tmp_path):
    path = tmp_path / "t.tfrecord"
    write_tfrecord(
        path,
        [
            example({"image_raw": FACES[0], "label": 7, "filename": b"a.jpg"}),
            example({"image/encoded": FACES[1], "image/class/text": "Zoë".encode(), "key": b"k"}),
            example({"image/encoded": FACES[2], "image/source_id": 4.0}),
            example({"photo": FACES[3], "person": b"Ann"}),
        ],
    )
    rows = read(path)
    assert [(row.key, row.label) for row in rows[:3]] == [("a.jpg", "7"), ("k", "Zoë"), ("2", "4")]
    assert rows[3].fault.status is Status.MISSING_IMAGE
    assert "only: person, photo" in rows[3].fault.message
    assert rows[3].label_from == "person"
    named = read(path, image_field="photo", label_field="person")
    assert (named[3].data, named[3].label) == (FACES[3], "Ann")
    assert "no feature photo" in named[0].fault.message
    renamed = read(path, key_field="filename")
    assert [row.key for row in renamed] == ["a.jpg", "1", "2", "3"]
    assert "no feature 'filename', so its key is its number" in renamed[1].note


def test_what_is_no_image_in_a_sound_record_is_a_row_with_its_reason(tmp_path):
    path = tmp_path / "t.tfrecord"
    several = example({"image/encoded": [FACES[1], FACES[2]], "image/class/label": 1})
    payloads = [b"\xff\xff\xff", example({"image/encoded": 3}), several, FACES[4], b"", example({})]
    write_tfrecord(path, payloads)
    rows = read(path)
    assert [str(row.fault.status) if row.fault else "image" for row in rows] == [
        *("corrupt", "missing_image", "image", "image", "missing_image", "missing_image"),
    ]
    assert "int64_list" in rows[1].fault.message
    assert "2 values" in (rows[2].note or "")
    assert rows[3].data == FACES[4]


def test_an_image_above_the_limit_is_named_and_not_held(tmp_path):
    path = tmp_path / "t.tfrecord"
    write_tfrecord(path, [PAYLOADS[0], face(FACES[1] + bytes(5000), 1, "large"), face(bytes(17 << 20), 1, "huge")])
    rows = read(path, max_stored_bytes=4000)
    assert [str(row.fault.status) if row.fault else "image" for row in rows] == ["image", "too_large", "too_large"]
    assert rows[1].key == "large"


def test_an_empty_file_has_no_records(tmp_path):
    (tmp_path / "t.tfrecord").write_bytes(b"")
    assert read(tmp_path / "t.tfrecord") == []


@pytest.mark.parametrize("dense", [True, False])
def test_shards_are_read_by_the_tfrecord_package_with_stored_bytes_untouched(tmp_path, dense):
    loader = pytest.importorskip("tfrecord.reader").tfrecord_loader
    keys, labels = [f"p/{n}" for n in range(12)], ["Ann", "7", None] * 4
    path = tmp_path / "t.tfrecord"
    with path.open("wb") as stream:
        writer = TFRecordShards().begin(stream, dense)
        assert writer.add_batch(image_batch(FACES, keys, labels, range(12) if dense else None)) == keys
        writer.close()
    theirs = list(loader(str(path), None))
    assert [bytes(each["image/encoded"]) for each in theirs] == FACES
    assert [each["image/filename"].decode() for each in theirs] == keys
    ours = read(path, 5)
    assert [(row.key, row.data) for row in ours] == list(zip(keys, FACES, strict=True))
    if dense:
        assert [int(each["image/class/label"][0]) for each in theirs] == list(range(12))
        assert [row.label for row in ours] == [str(n) for n in range(12)]
    else:
        assert [row.label for row in ours] == labels
        assert bytes(theirs[0]["image/class/text"]) == b"Ann"
        assert int(theirs[1]["image/class/label"][0]) == 7


def test_the_message_is_that_of_tensorflow():
    made = EXAMPLE.FromString(example({"a": b"x", "b": 3, "c": 0.5, "n": -2}))
    feature = made.features.feature
    assert feature["a"].bytes_list.value[0] == b"x"
    assert (feature["b"].int64_list.value[0], feature["n"].int64_list.value[0]) == (3, -2)
    assert feature["c"].float_list.value[0] == 0.5


def test_the_same_images_give_the_same_file():
    streams = [io.BytesIO(), io.BytesIO()]
    for stream in streams:
        writer = TFRecordShards().begin(stream, False)
        writer.add_batch(image_batch(FACES, [str(n) for n in range(12)], ["x"] * 12))
        writer.close()
    assert streams[0].getvalue() == streams[1].getvalue()


@pytest.mark.parametrize("name", ["t.tfrecord", "t.tfrecord.gz"])
def test_a_shard_in_a_store_is_one_unit_and_is_read_as_from_a_disk(tmp_path, name):
    path = tmp_path / name
    data = b"".join(map(record, PAYLOADS))
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    url = f"memory://tfrecord-{tmp_path.name}/{name}"
    fsspec.filesystem("memory").pipe(url, path.read_bytes())
    file = stat(url)
    assert file is not None
    (unit,) = TFRecord().plan(file, 3)
    assert [row._replace(reached=0) for row in TFRecord().read(unit, ReadSettings())] == read(path)
    assert TFRecord().is_sequential(unit)


@pytest.mark.parametrize("unit_size", [5, 100])
def test_a_unit_is_entered_at_any_of_its_records(tmp_path, unit_size):
    path = tmp_path / "t.tfrecord"
    offsets = write_tfrecord(path, PAYLOADS)
    path.write_bytes(DAMAGES["a flipped bit of a length"](path.read_bytes(), offsets[3], offsets[4]))
    rows = read(path)
    for unit in plan(path, unit_size):
        for index in range(unit.first_index, unit.first_index + unit.records):
            entered = TFRecord().enter_at(unit, index)
            found = [row._replace(reached=0) for row in TFRecord().read(entered, ReadSettings())]
            assert found == rows[index : unit.first_index + unit.records]
