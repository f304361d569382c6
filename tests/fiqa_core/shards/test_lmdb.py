"""LMDB: each key a row, in genuine, damaged and hostile files, without ever mapping one; written as ViT-FIQA reads."""

import pickle
import random
import struct
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from fiqa_core.shards.container import UnfitShardError
from fiqa_core.shards.lmdb.database import open_database
from fiqa_core.shards.lmdb.reader import Lmdb
from fiqa_core.shards.lmdb.writer import LmdbShards
from fiqa_core.shards.output import OutputRefusedError
from fiqa_core.shards.unit import ReadSettings, Record, Unit
from fiqa_core.storage import ChangedError, StorageError, StoredFile, stat
from schemas.reasons import Status
from tests.makers.batches import image_batch
from tests.makers.images import jpeg_bytes
from tests.makers.lmdb_files import read_vit_fiqa, write_lmdb, write_vit_fiqa
from tests.makers.pickles import hostile_pickles
from tests.shared import SHARED, needs_shared

NATIVE = SHARED / "data" / "native" / "other_made" / "faces.lmdb_dataset"
PAGE = 4096
# Small ones lie in leaf pages, large ones have pages of their own.
IMAGES = {b"%05d" % n: jpeg_bytes(n, 112 if n % 3 else 20) for n in range(120)}
LABELS = [n // 10 for n in range(120)]
BRANCH, LEAF, OVERFLOW = 1, 2, 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    path = write_vit_fiqa(tmp_path_factory.mktemp("lmdb") / "t.lmdb_dataset", IMAGES, LABELS)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def _nothing_remembered():
    open_database.cache_clear()


def plan(path: Path, unit_size: int = 1000, **settings: str) -> list[Unit]:
    file = stat(str(path))
    assert file is not None
    return list(Lmdb().plan(file, unit_size, ReadSettings(**settings)))


def read(path: Path, unit_size: int = 1000, **settings: int | str) -> list[Record]:
    found: list[Record] = []
    open_database.cache_clear()  # files of these tests change within the clock's step
    for unit in plan(path, unit_size, **{k: v for k, v in settings.items() if k == "image_field"}):
        rows = list(Lmdb().read(unit, ReadSettings(**settings)))
        assert unit.records in (len(rows), -1)
        found += rows
    assert [row.index for row in found] == list(range(len(found)))
    return found


def images(rows: list[Record]) -> dict[bytes, bytes]:
    return {row.key.encode(): row.data for row in rows if row.fault is None}


def pages_of(data: bytes, kind: int) -> list[int]:
    numbers = range(2, len(data) // PAGE)
    return [n for n in numbers if struct.unpack_from("<QHH", data, n * PAGE)[::2] == (n, kind)]


def changed(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


@needs_shared
@pytest.mark.parametrize("unit_size", [1, 7, 1000])
def test_vit_fiqas_own_container_is_read_as_its_loader_reads_it(unit_size):
    rows = read(NATIVE, unit_size)
    assert sorted((row.key.encode(), row.data, int(row.label)) for row in rows) == sorted(read_vit_fiqa(NATIVE))
    assert {row.label_from for row in rows} == {"__labels__"}


@pytest.mark.parametrize("unit_size", [1, 13, 1000])
def test_units_are_ranges_of_keys_and_give_the_same_rows(tmp_path, whole, unit_size):
    path = tmp_path / "t.lmdb_dataset"
    path.write_bytes(whole)
    rows = read(path, unit_size)
    assert [(row.key.encode(), row.data) for row in rows] == sorted(IMAGES.items())
    assert [row.label for row in rows] == [str(label) for label in LABELS]
    sizes = [unit.records for unit in plan(path, unit_size)]
    assert len(sizes) == 1 if unit_size == 1000 else len(sizes) > 5
    assert max(sizes) < unit_size + 60


@pytest.mark.parametrize("subdir", [True, False])
def test_a_plain_database_of_keys_and_images_is_read(tmp_path, subdir):
    path = write_lmdb(tmp_path / "t.lmdb", IMAGES | {b"\xff\x00name": b"no image"}, subdir)
    rows = read(path, 10)
    assert images(rows) == IMAGES | {b"\\xff\x00name": b"no image"}
    assert {row.label for row in rows} == {None}


def test_an_empty_database_has_no_records(tmp_path):
    assert read(write_lmdb(tmp_path / "t.lmdb", {})) == []


def test_keys_that_are_listed_without_a_value_are_rows_and_those_that_are_not_listed_too(tmp_path):
    listed = {b"__keys__": pickle.dumps(["00007", b"gone", b"00003"]), b"__labels__": pickle.dumps(["Ann", 5, None])}
    path = write_lmdb(
        tmp_path / "t.lmdb_dataset", {key: IMAGES[key] for key in (b"00003", b"00005", b"00007")} | listed
    )
    rows = read(path)
    assert [(row.key, row.label) for row in rows] == [("00003", None), ("00005", None), ("00007", "Ann"), ("gone", "5")]
    assert rows[3].fault.status is Status.MISSING_IMAGE


@pytest.mark.parametrize("kind", [lambda v: [np.int64(x) for x in v], lambda v: np.array(v, ">i4"), tuple])
def test_labels_may_be_numpy_numbers_an_array_or_a_tuple(tmp_path, kind):
    listed = {b"__keys__": pickle.dumps(list(IMAGES)), b"__labels__": pickle.dumps(kind(LABELS))}
    rows = read(write_lmdb(tmp_path / "t.lmdb_dataset", IMAGES | listed))
    assert [row.label for row in rows] == [str(label) for label in LABELS]


def test_lists_of_different_lengths_cost_the_labels_and_say_so(tmp_path, caplog):
    path = write_vit_fiqa(tmp_path / "t.lmdb_dataset", IMAGES, LABELS[:-1])
    rows = read(path)
    assert images(rows) == IMAGES
    assert {row.label for row in rows} == {None}
    assert "__keys__ lists 120 images and __labels__ 119" in caplog.text
    assert "__labels__ 119" in rows[0].note


@pytest.mark.parametrize("name", [b"__keys__", b"__labels__"])
@pytest.mark.parametrize("kind", hostile_pickles(None, []))
def test_a_hostile_list_runs_nothing_and_costs_labels_only(tmp_path, name, kind):
    mark = tmp_path / "mark"
    listed = {b"__keys__": pickle.dumps(list(IMAGES)), b"__labels__": pickle.dumps(LABELS)}
    some = {key: IMAGES[key] for key in list(IMAGES)[:5]}
    path = write_lmdb(tmp_path / "t.lmdb_dataset", some | listed | {name: hostile_pickles(mark, [])[kind]})
    rows = read(path)
    assert images(rows) == some
    assert not mark.exists()
    assert all(row.note for row in rows if row.fault is None) or kind == "a memo index in text"


def test_values_may_be_pickles_of_an_image_and_its_label_and_a_hostile_one_is_a_row(tmp_path):
    mark = tmp_path / "mark"
    values = {b"a": pickle.dumps((IMAGES[b"00001"], 7)), b"b": pickle.dumps([IMAGES[b"00002"], "Ann"], 5)}
    values |= {b"c%02d" % n: data for n, data in enumerate(hostile_pickles(mark, []).values()) if data}
    rows = read(write_lmdb(tmp_path / "t.lmdb", values))
    assert [(row.data, row.label) for row in rows[:2]] == [(IMAGES[b"00001"], "7"), (IMAGES[b"00002"], "Ann")]
    assert not mark.exists()
    assert any(row.fault and "never looked up" in row.fault.message for row in rows)
    assert len(rows) == len(values)


@pytest.mark.parametrize("unit_size", [1, 1000])
def test_a_damaged_large_value_is_one_row(tmp_path, whole, unit_size):
    path = tmp_path / "t.lmdb_dataset"
    for number in pages_of(whole, OVERFLOW)[:3]:
        for new in (
            bytes(16),
            struct.pack("<QHHI", number, 0, OVERFLOW, 70),
            struct.pack("<QHHI", number + 1, 0, 4, 2),
        ):
            path.write_bytes(changed(whole, number * PAGE, new))
            rows = read(path, unit_size)
            (fault,) = [row for row in rows if row.fault]
            assert fault.fault.status is Status.CORRUPT
            assert images(rows) == {key: data for key, data in IMAGES.items() if key != fault.key.encode()}


@pytest.mark.parametrize("unit_size", [1, 1000])
def test_a_damaged_leaf_page_costs_its_images_which_the_list_names(tmp_path, whole, unit_size):
    path = tmp_path / "t.lmdb_dataset"
    for number in pages_of(whole, LEAF)[2:5]:
        path.write_bytes(changed(whole, number * PAGE, bytes(16)))
        rows = read(path, unit_size)
        lost = [row for row in rows if row.fault]
        assert [row.fault.status for row in lost] == [Status.SHARD_UNREADABLE] + [Status.CORRUPT] * (len(lost) - 1)
        keys = {row.key.encode() for row in lost[1:]}
        assert keys
        assert images(rows) == {key: data for key, data in IMAGES.items() if key not in keys}
        assert [row.label for row in lost[1:]] == [str(LABELS[int(row.key)]) for row in lost[1:]]


def test_a_damaged_branch_page_costs_no_image(tmp_path, whole):
    path = tmp_path / "t.lmdb_dataset"
    (root,) = pages_of(whole, BRANCH)
    for new in (bytes(PAGE), b"\xff" * PAGE, bytes(16), struct.pack("<QHHHH", root, 0, BRANCH, 18, 4080)):
        path.write_bytes(changed(whole, root * PAGE, new))
        rows = read(path, 10)
        assert images(rows) == IMAGES
        assert [row.fault.status for row in rows if row.fault] == [Status.SHARD_UNREADABLE]
        assert any("may be an older image" in (row.note or "") for row in rows)
        assert [row.label for row in rows if row.fault is None] == [
            str(LABELS[int(row.key)]) for row in rows if row.key
        ]


def test_a_damaged_head_page_is_told_and_costs_no_image(tmp_path, whole):
    path = tmp_path / "t.lmdb_dataset"
    for head in (0, 1):
        path.write_bytes(changed(whole, head * PAGE + 16, b"\0\0\0\0"))
        rows = read(path, 10)
        assert images(rows) == IMAGES
        assert f"head page {head} is damaged" in next(row.fault.message for row in rows if row.fault)
    path.write_bytes(bytes(2 * PAGE) + whole[2 * PAGE :])
    rows = read(path, 10)
    assert images(rows) == IMAGES
    assert [row.fault.message for row in rows if row.fault] == [
        "an unknown number of records is lost: both head pages of the file are damaged"
    ]
    assert {row.key: row.label for row in rows if row.key} == {
        k.decode(): str(v) for k, v in zip(IMAGES, LABELS, strict=True)
    }


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.3, 0.7, 0.999])
def test_a_file_that_is_cut_off_says_so_and_gives_what_it_has(tmp_path, whole, share):
    path = tmp_path / "t.lmdb_dataset"
    path.write_bytes(whole[: int(len(whole) * share)])
    rows = read(path, 10)
    found = images(rows)
    assert found.items() <= IMAGES.items()
    assert len(found) >= 120 * (share - 0.3)
    lost = {row.fault.status for row in rows if row.fault}
    assert {Status.SHARD_TRUNCATED, Status.CORRUPT} & lost or found == IMAGES


def test_random_damage_never_crashes_and_gives_no_image_to_another_key(tmp_path, whole):
    path = tmp_path / "t.lmdb_dataset"
    chance = random.Random(9)
    lists = [*pages_of(whole, LEAF), *pages_of(whole, BRANCH), 0, 1]
    for _ in range(250):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 3, 20))):
            at = chance.choice(lists) * PAGE + chance.randrange(chance.choice((16, 200, PAGE)))
            data[at] = chance.choice((0, 1, 255, chance.randrange(256)))
        path.write_bytes(bytes(data)[: chance.choice((len(data), len(data), chance.randrange(len(data))))])
        rows = read(path, chance.choice((1, 10, 1000)))
        sound = {data for row in rows if row.fault is None and (data := row.data) in IMAGES.values()}
        assert len(rows) >= len(sound)


def test_hostile_numbers_are_never_followed_or_allocated(tmp_path, whole):
    path = tmp_path / "t.lmdb_dataset"
    (root,) = pages_of(whole, BRANCH)
    head = 1 if struct.unpack_from("<Q", whole, PAGE + 144)[0] else 0
    count = (struct.unpack_from("<H", whole, root * PAGE + 12)[0] - 16) // 2
    offsets = struct.unpack_from(f"<{count}H", whole, root * PAGE + 16)
    to_itself, far, same = bytearray(whole), bytearray(whole), bytearray(whole)
    for at in offsets:
        struct.pack_into("<HH", to_itself, root * PAGE + at, root & 0xFFFF, root >> 16)
        struct.pack_into("<HHH", far, root * PAGE + at, 0xFFFF, 0xFFFF, 0xFFFF)
        struct.pack_into("<HH", same, root * PAGE + at, pages_of(whole, LEAF)[0], 0)
    leaf = bytearray(whole)
    for number in pages_of(whole, LEAF):
        for at in struct.unpack_from("<3H", whole, number * PAGE + 16):
            struct.pack_into("<HH", leaf, number * PAGE + at, 0xFFFF, 0xFFFF)
    deep = changed(whole, head * PAGE + 88 + 6, struct.pack("<H", 31))
    deeper = changed(whole, head * PAGE + 88 + 6, struct.pack("<H", 65535))
    many = changed(whole, head * PAGE + 88 + 32, struct.pack("<Q", 1 << 63))
    for data in (to_itself, far, same, leaf, deep, deeper, many):
        path.write_bytes(bytes(data))
        tracemalloc.start()
        rows = read(path, 10)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert rows
        assert images(rows).items() <= IMAGES.items()
        assert peak < 8 << 20


def test_named_databases_are_read_by_option(tmp_path):
    path = write_lmdb(tmp_path / "t.lmdb", IMAGES, name=b"faces")
    (row,) = read(path)
    assert row.fault.status is Status.UNREADABLE
    assert "120 records: read it with --image-field faces" in row.fault.message
    assert images(read(path, 10, image_field="faces")) == IMAGES
    with pytest.raises(UnfitShardError, match=r"t\.lmdb: it holds no database named 'other'"):
        read(path, image_field="other")


def test_several_values_under_a_key_are_a_row_with_the_reason(tmp_path):
    lmdb = pytest.importorskip("lmdb")
    env = lmdb.open(str(tmp_path / "t.lmdb"), subdir=False, max_dbs=1, lock=False)
    with env.begin(write=True, db=env.open_db(b"d", dupsort=True)) as transaction:
        transaction.put(b"a", b"one")
        transaction.put(b"a", b"two")
    env.close()
    (row,) = read(tmp_path / "t.lmdb", image_field="d")
    assert "MDB_DUPSORT" in row.fault.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found nothing"),
        (b"x" * 20_000, "expected dec0efbe at byte 16, found 78787878"),
        (b"\0\1\0\0Standard Jet DB\0" + bytes(9000), "Microsoft Access"),
        (bytes(12) + b"\xde\xc0\xef\xbe" + bytes(9000), "32-bit"),
        (bytes(16) + b"\xde\xc0\xef\xbe\x02" + bytes(9000), "version 2"),
    ],
)
def test_what_is_no_lmdb_file_is_one_row_that_says_what_it_is(tmp_path, content, message):
    (tmp_path / "t.mdb").write_bytes(content)
    (row,) = read(tmp_path / "t.mdb")
    assert message in row.fault.message


def test_a_file_that_changed_since_it_was_planned_is_refused(tmp_path, whole):
    path = tmp_path / "t.lmdb_dataset"
    path.write_bytes(whole)
    (unit,) = plan(path)
    path.write_bytes(whole + bytes(PAGE))
    with pytest.raises(ChangedError, match="changed since the run was planned"):
        list(Lmdb().read(unit, ReadSettings()))


def test_a_database_in_a_bucket_is_refused_with_what_to_do():
    with pytest.raises(StorageError, match="Copy it to a local disk"):
        list(Lmdb().plan(StoredFile("s3://b/t.lmdb", "s3://b/t.lmdb", 4096, "v"), 10))


def test_an_image_above_the_limit_is_hashed_and_not_held(tmp_path, whole):
    path = tmp_path / "t.lmdb_dataset"
    path.write_bytes(whole)
    rows = read(path, max_stored_bytes=1000)
    assert {row.fault.status for row in rows if len(IMAGES[row.key.encode()]) > 1000} == {Status.TOO_LARGE}
    assert all(row.sha256 for row in rows if row.fault)


def write(path: Path, batches: list, dense: bool) -> list[str]:
    with path.open("wb") as stream:
        writer = LmdbShards().begin(stream, dense)
        keys = [key for batch in batches for key in writer.add_batch(batch)]
        writer.close()
    return keys


@pytest.mark.parametrize("dense", [True, False])
def test_shards_are_read_by_vit_fiqas_loader_with_stored_bytes_untouched(tmp_path, dense):
    data, names = list(IMAGES.values()), [f"p/{n}" for n in range(120)]
    labels = ["Ann", "7", None] * 40
    batches = [
        image_batch(data[at : at + 50], names[at : at + 50], labels[at : at + 50], range(at, min(at + 50, 120)), at)
        for at in range(0, 120, 50)
    ]
    keys = write(tmp_path / "t.lmdb_dataset", batches, dense)
    assert keys == names
    theirs = read_vit_fiqa(tmp_path / "t.lmdb_dataset")
    expected = list(range(120)) if dense else ["Ann", 7, None] * 40
    assert theirs == [(key.encode(), image, label) for key, image, label in zip(names, data, expected, strict=True)]
    rows = {row.key: (row.data, row.label) for row in read(tmp_path / "t.lmdb_dataset", 10)}
    assert rows == {
        key: (image, None if label is None else str(label))
        for key, image, label in zip(names, data, expected, strict=True)
    }
    assert [path.name for path in tmp_path.iterdir()] == ["t.lmdb_dataset"]


def test_keys_that_are_equal_too_long_or_lmdbs_own_become_others(tmp_path):
    names = ["a", "a", "__keys__", "x" * 600, "ü" * 300, "a~1"]
    keys = write(tmp_path / "t.lmdb_dataset", [image_batch(list(IMAGES.values())[:6], names, ["1"] * 6)], False)
    assert len(set(keys)) == 6
    assert keys[:3] == ["a", "a~1", "__keys__~2"]
    found = read_vit_fiqa(tmp_path / "t.lmdb_dataset")
    assert [(key.decode(), image) for key, image, _ in found] == list(zip(keys, IMAGES.values(), strict=False))


def test_the_same_images_give_the_same_file_and_an_abandoned_one_leaves_nothing(tmp_path):
    batch = image_batch(list(IMAGES.values()), [str(n) for n in range(120)], ["x"] * 120)
    write(tmp_path / "a", [batch], False)
    write(tmp_path / "b", [batch], False)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with (tmp_path / "c").open("wb") as stream:
        writer = LmdbShards().begin(stream, False)
        writer.add_batch(batch)
        writer.abandon()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


@pytest.mark.parametrize("damage", ["", "leaf", "root"])
def test_a_unit_is_entered_near_any_of_its_records(tmp_path, whole, damage):
    path = tmp_path / "t.lmdb_dataset"
    number = {"": None, "leaf": pages_of(whole, LEAF)[2], "root": pages_of(whole, BRANCH)[0]}[damage]
    path.write_bytes(whole if number is None else changed(whole, number * PAGE, bytes(16)))
    rows = read(path)
    for unit in plan(path, 20):
        end = unit.first_index + unit.records
        for index in range(unit.first_index, end):
            entered = list(Lmdb().read(Lmdb().enter_at(unit, index), ReadSettings()))
            assert entered == rows[entered[0].index : end]
            assert index - 60 < entered[0].index <= index


def test_without_the_lmdb_package_databases_are_read_and_writing_one_is_refused_before_it_begins(
    tmp_path, whole, monkeypatch
):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    (tmp_path / "t.lmdb_dataset").write_bytes(whole)
    assert images(read(tmp_path / "t.lmdb_dataset")) == IMAGES
    with pytest.raises(OutputRefusedError, match=r"writing LMDB needs the lmdb package.*\[lmdb\]"):
        LmdbShards().refuse({"Ann": 3}, 0, False)
