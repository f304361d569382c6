"""Lists of paths: every line is a row, files outside of what a list may name are refused, changes are noticed."""

import csv
import os
import random
import tracemalloc
from pathlib import Path

import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from fiqa_core.runs.plan import plan_dataset
from fiqa_core.shards.container import UnfitShardError
from fiqa_core.shards.formats import PlanError, container_of
from fiqa_core.shards.path_list.lines import rows
from fiqa_core.shards.unit import ReadSettings, Record, Unit
from schemas.reasons import Status
from tests.makers.containers import face_records, samples, write_folder, write_tar
from tests.makers.images import jpeg_bytes

FACES = face_records(9, size=24)
PATHS = [f"{record.label}/{record.name}" for record in FACES]


@pytest.fixture
def root(tmp_path):
    return write_folder(tmp_path / "in", FACES)


def plan(path: Path | str, unit_size: int = 1000, **settings: str) -> list[Unit]:
    workspace = str(Path(os.environ["PYTEST_WORKSPACE"]))
    return list(plan_dataset([str(path)], "auto", unit_size, workspace, ReadSettings(**settings)).units)


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_WORKSPACE", str(tmp_path / "out" / "plan"))


def read(path: Path | str, unit_size: int = 1000, **settings: str) -> list[Record]:
    found: list[Record] = []
    for unit in plan(path, unit_size, **settings):
        some = list(container_of(unit).read(unit, ReadSettings(**settings)))
        assert unit.records == len(some)
        assert [row.index for row in some] == list(range(unit.first_index, unit.first_index + len(some)))
        found += some
    return found


def told(found: list[Record]) -> list[tuple[str | None, str | None, bytes | None]]:
    return [(row.key, row.label, row.data) for row in found]


EXPECTED = [(path, str(record.label), record.data) for path, record in zip(PATHS, FACES, strict=True)]


@pytest.mark.parametrize("unit_size", [1, 4, 100])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_path_a_line_is_a_record_with_the_folder_as_label(root, unit_size, ends):
    text = f"{ends}".join(PATHS[:5]) + ends * 3 + ends.join(PATHS[5:])
    (root / "image_path_list.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert told(read(root / "image_path_list.txt", unit_size)) == EXPECTED
    assert len(plan(root / "image_path_list.txt", unit_size)) == -(-9 // unit_size)
    assert told(read(root)) == sorted(EXPECTED)  # beside images a list is no shard


@pytest.mark.parametrize("separator", [" ", "\t", ","])
def test_a_label_may_stand_behind_the_path_and_a_score_is_none(root, separator):
    lines = [f"{path}{separator}id_{number}" for number, path in enumerate(PATHS)]
    lines[3] = f"{PATHS[3]}{separator}0.8312"
    (root / "a.txt").write_text("\n".join(lines))
    labels = [row.label for row in read(root / "a.txt")]
    assert labels == ["id_0", "id_1", "id_2", PATHS[3].partition("/")[0], *(f"id_{n}" for n in range(4, 9))]
    (root / "0" / "with space 1.jpg").write_bytes(FACES[0].data)
    (root / "b.txt").write_text("0/with space 1.jpg\n0/with space 1.jpg Ann\n")
    assert [(row.key, row.label) for row in read(root / "b.txt")] == [
        ("0/with space 1.jpg", "0"),
        ("0/with space 1.jpg", "Ann"),
    ]


def test_a_csv_by_pandas_and_one_by_the_csv_module_give_path_and_label(root):
    table = pd.DataFrame({"id": range(9), "path": PATHS, "identity": [f"id, {r.label}" for r in FACES]})
    table.to_csv(root / "a.csv", index=False)
    expected = [(path, f"id, {label}", data) for path, label, data in EXPECTED]
    for unit_size in (2, 100):
        assert told(read(root / "a.csv", unit_size)) == expected
    assert {row.label_from for row in read(root / "a.csv")} == {"column 'identity'"}
    assert [row.label for row in read(root / "a.csv", label_field="id")] == [str(n) for n in range(9)]
    with (root / "b.tsv").open("w", newline="") as stream:
        csv.writer(stream, delimiter="\t").writerows([("file_name", "Label"), *zip(PATHS, range(9), strict=True)])
    assert [(row.key, row.label) for row in read(root / "b.tsv")] == [(p, str(n)) for n, p in enumerate(PATHS)]
    (root / "c.csv").write_text("\n".join(f"{path};{n}" for n, path in enumerate(PATHS)))
    assert [(row.key, row.label) for row in read(root / "c.csv")] == [(p, str(n)) for n, p in enumerate(PATHS)]
    (root / "d.csv").write_text("\n".join(["mine", *PATHS]))
    assert told(read(root / "d.csv", image_field="mine")) == EXPECTED


def test_an_unbalanced_quote_a_short_row_and_an_endless_line_cost_their_own_row_only(root):
    lines = ["path,label", f'"{PATHS[0]}",a', f'"{PATHS[1]},b', f"{PATHS[2]},c", ",d", f"{PATHS[3]},e"]
    lines += ["x" * 300_000, f'{PATHS[4]},"two\nlines"', f"{PATHS[5]}"]
    (root / "a.csv").write_text("\n".join(lines))
    found = read(root / "a.csv", 2)
    assert [row.label for row in found if row.data is not None] == ["a", "c", "e", "two\nlines", None]
    assert [row.index for row in found if row.fault is not None] == [1, 3, 5]
    assert len(found) == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the list is empty"),
        ("Some notes about this folder\n", "not the path of an image"),
        ("person,box\nAnn,3\n", r"no column of paths.*Columns: person, box"),
    ],
)
def test_a_text_that_lists_no_images_is_refused(root, text, message):
    (root / "notes.csv" if "," in text else root / "notes.txt").write_text(text)
    with pytest.raises(UnfitShardError, match=message):
        plan(root / "notes.csv" if "," in text else root / "notes.txt")
    with pytest.raises((PlanError, UnfitShardError)):
        plan(root / "*")


def test_utf_16_and_a_label_field_that_is_not_there_are_refused_with_the_remedy(root):
    (root / "a.txt").write_text("\n".join(PATHS), encoding="utf-16")
    with pytest.raises(UnfitShardError, match="Save it as UTF-8"):
        plan(root / "a.txt")
    (root / "b.csv").write_text(f"path,who\n{PATHS[0]},Ann\n")
    with pytest.raises(UnfitShardError, match="look like a label: who"):
        plan(root / "b.csv", label_field="person")
    (root / "c.txt").write_text(PATHS[0])
    with pytest.raises(UnfitShardError, match="the list has no header"):
        plan(root / "c.txt", label_field="person")


def test_a_missing_file_a_folder_and_a_pipe_are_rows_and_neighbours_are_read(root):
    os.mkfifo(root / "pipe.jpg")
    (root / "folder.jpg").mkdir()
    (root / "a.txt").write_text("\n".join([PATHS[0], "none.jpg", "pipe.jpg", "folder.jpg", PATHS[1]]))
    found = read(root / "a.txt")
    assert [row.fault and row.fault.status for row in found] == [None, *[Status.UNREADABLE] * 3, None]


def test_a_local_list_may_name_absolute_paths_and_stores_but_nothing_through_dots(root, tmp_path):
    MemoryFileSystem.store.clear()
    MemoryFileSystem().pipe_file("/b/face.jpg", FACES[0].data)
    (tmp_path / "secret.jpg").write_bytes(FACES[1].data)
    lines = [str(tmp_path / "secret.jpg"), "memory://b/face.jpg", f"file://{tmp_path}/secret.jpg"]
    bad = ["../secret.jpg", "0/../../secret.jpg", "..\\secret.jpg", f"{root}/../secret.jpg", "memory://b/../b/face.jpg"]
    bad += ["zip://a.jpg::faces.zip", "simplecache::memory://b/face.jpg", "C:\\a.jpg"]
    (root / "a.txt").write_text("\n".join([*lines, *bad]))
    found = read(root / "a.txt")
    assert [row.data for row in found[:3]] == [FACES[1].data, FACES[0].data, FACES[1].data]
    assert [row.fault and row.fault.status for row in found[3:]] == [Status.UNSAFE_NAME] * len(bad)


def test_a_list_in_a_store_may_name_that_store_only(tmp_path):
    MemoryFileSystem.store.clear()
    store = MemoryFileSystem()
    (tmp_path / "secret.jpg").write_bytes(FACES[1].data)
    lines = ["Ann/1.jpg", "memory://b/Ann/1.jpg", "s3://other/1.jpg", str(tmp_path / "secret.jpg")]
    lines += [f"file://{tmp_path}/secret.jpg", "http://127.0.0.1:9/a.jpg", "../c/1.jpg", "gone.jpg"]
    store.pipe_file("/b/list.txt", "\n".join(lines).encode())
    for name in ("/b/Ann/1.jpg", "/other/1.jpg", "/c/1.jpg"):
        store.pipe_file(name, FACES[0].data)
    found = read("memory://b/list.txt", 3)
    assert [row.fault and row.fault.status for row in found] == [
        None, None, *[Status.UNSAFE_NAME] * 5, Status.UNREADABLE,
    ]  # fmt: skip
    assert told(found)[0] == ("Ann/1.jpg", "Ann", FACES[0].data)


def test_the_originals_list_is_relative_to_its_data_folder(tmp_path):
    folder = tmp_path / "quality_data" / "XQLFW"
    write_folder(folder / "images", FACES, by_label=False)
    lines = [f"quality_data/XQLFW/images/{record.name}" for record in FACES]
    (folder / "image_path_list.txt").write_text("\n".join(lines))
    assert [(row.key, row.data) for row in read(folder / "image_path_list.txt")] == [
        (line, record.data) for line, record in zip(lines, FACES, strict=True)
    ]
    (folder / "image_path_list.txt").write_text("\n".join(f"images/{record.name}" for record in FACES))
    assert [row.data for row in read(folder / "image_path_list.txt")] == [record.data for record in FACES]


def test_a_changed_image_changes_its_unit_alone_and_a_changed_list_all(root):
    path = root / "a.txt"
    path.write_text("\n".join(PATHS))
    before = [unit.identity() for unit in plan(path, 3)]
    assert [unit.identity() for unit in plan(path, 3)] == before
    (root / PATHS[4]).write_bytes(jpeg_bytes(77, 24))
    changed = [unit.identity() for unit in plan(path, 3)]
    assert [a == b for a, b in zip(before, changed, strict=True)] == [True, False, True]
    path.write_text("\n".join(PATHS[::-1]))
    os.utime(path, (1, 1))
    assert not {str(each) for each in changed} & {str(unit.identity()) for unit in plan(path, 3)}


def test_a_list_of_shards_stands_for_them(tmp_path):
    for number in range(4):
        write_tar(tmp_path / f"s{number}.tar", samples(FACES[number * 2 : number * 2 + 2]))
    (tmp_path / "shards.txt").write_text("s0.tar\ns{1..2}.tar\n" + str(tmp_path / "s3.tar"))
    units = plan(tmp_path / "shards.txt")
    assert [unit.shard.rpartition("/")[2] for unit in units] == [f"s{n}.tar" for n in range(4)]
    (tmp_path / "shards.txt").write_text("s0.tar\n../s1.tar")
    with pytest.raises(UnfitShardError, match=r"the shard '\.\./s1\.tar' leads out of the list's folder"):
        plan(tmp_path / "shards.txt")


def test_a_list_of_many_paths_is_never_held_whole_and_random_bytes_are_rows(tmp_path):
    path = tmp_path / "many.csv"
    path.write_bytes(b"path,label\n" + b"".join(b"%07d.jpg,%d\n" % (n, n % 9) for n in range(60_000)))
    tracemalloc.start()
    units = plan(path, 20_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [unit.records for unit in units] == [20_000] * 3
    assert peak < 4 << 20
    chance = random.Random(1)
    for _ in range(30):
        data = bytearray(b"path,label\n" + b"".join(b"%d.jpg,%d\n" % (n, n) for n in range(40)))
        for _ in range(4):
            data[chance.randrange(11, len(data))] = chance.choice(b'",\n\0\xff;')
        path.write_bytes(data)
        with path.open("rb") as stream:
            found = list(rows(stream, 11, None, ","))
        assert sum(f"{n}.jpg" in row.cells for n in range(40) for row in found) >= 30
        assert len(read(path, 7)) == len(found)
