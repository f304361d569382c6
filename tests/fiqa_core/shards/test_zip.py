"""Zip: archives by other people's tools are read as those read them; every damaged or hostile member is a row."""

import io
import itertools
import os
import random
import shutil
import struct
import subprocess
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from fiqa_core.shards import formats
from fiqa_core.shards.formats import PlanError
from fiqa_core.shards.sources import find_sources
from fiqa_core.shards.unit import ReadSettings, Record, Unit
from fiqa_core.shards.zip.reader import Zip
from fiqa_core.storage import stat
from schemas.reasons import Status
from tests.makers.containers import face_records
from tests.makers.planning import NoneOwn

FACES = face_records(12, size=24)
NAMES = [f"id {record.label}/{record.name}" for record in FACES]


def write_zip(path: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("readme.txt", "not an image")
        for name, face in zip(NAMES, FACES, strict=True):
            archive.writestr(name, face.data)
    return path


def plan(uri: Path | str, unit_size: int = 1000) -> list[Unit]:
    (file,) = find_sources([str(uri)], "auto", NoneOwn())
    return list(Zip().plan(file, unit_size, ReadSettings()))


def read(uri: Path | str, unit_size: int = 1000, **settings: int) -> list[Record]:
    found: list[Record] = []
    for unit in plan(uri, unit_size):
        rows = list(Zip().read(unit, ReadSettings(**settings)))
        assert unit.records in (len(rows), -1)
        assert [row.index for row in rows] == list(range(unit.first_index, unit.first_index + len(rows)))
        found += [row._replace(reached=0) for row in rows]
    return found


def images(rows: list[Record]) -> list[tuple[str | None, bytes]]:
    return [(row.key, row.data) for row in rows if row.data is not None]


EXPECTED = [(name, face.data) for name, face in zip(NAMES, FACES, strict=True)]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("unit_size", [1, 5, 1000])
def test_archives_by_zipfile_are_cut_into_units_with_keys_labels_and_bytes(tmp_path, method, unit_size):
    path = write_zip(tmp_path / "faces.zip", method)
    rows = read(path, unit_size)
    assert images(rows) == EXPECTED
    assert [row.label for row in rows] == [f"id {face.label}" for face in FACES]
    assert {row.label_from for row in rows} == {"folder names"}
    assert len(plan(path, unit_size)) == -(-12 // unit_size)


@pytest.mark.skipif(shutil.which("zip") is None, reason="needs Info-ZIP's zip")
def test_archives_by_info_zip_are_read_with_names_that_are_not_ascii_and_from_a_pipe(tmp_path):
    folder = tmp_path / "Zoë Łuk" / "b"
    folder.mkdir(parents=True)
    (folder / "fäce 1.jpg").write_bytes(FACES[0].data)
    (tmp_path / "plain.png").write_bytes(FACES[1].data)
    (tmp_path / "link.jpg").symlink_to("plain.png")
    subprocess.run(["zip", "-qr", "a.zip", "Zoë Łuk", "plain.png"], cwd=tmp_path, check=True)
    # To a pipe, sizes are written behind the members.
    piped = subprocess.run(
        ["zip", "-qr", "-", "Zoë Łuk", "plain.png"], cwd=tmp_path, check=True, stdout=subprocess.PIPE
    )
    (tmp_path / "b.zip").write_bytes(piped.stdout)
    for name in ("a.zip", "b.zip"):
        assert images(read(tmp_path / name)) == [
            ("Zoë Łuk/b/fäce 1.jpg", FACES[0].data),
            ("plain.png", FACES[1].data),
        ]
    # Without its directory.
    (tmp_path / "c.zip").write_bytes(piped.stdout[: piped.stdout.index(b"PK\1\2")])
    assert images(read(tmp_path / "c.zip")) == images(read(tmp_path / "b.zip"))
    subprocess.run(["zip", "-qy", "d.zip", "link.jpg", "plain.png"], cwd=tmp_path, check=True)
    rows = read(tmp_path / "d.zip")
    assert [row.fault and row.fault.status for row in rows] == [Status.UNREADABLE, None]
    subprocess.run(["zip", "-q", "-P", "secret", "e.zip", "plain.png"], cwd=tmp_path, check=True)
    with zipfile.ZipFile(tmp_path / "e.zip", "a") as archive:
        archive.writestr("open.jpg", FACES[3].data)
    rows = read(tmp_path / "e.zip")
    assert rows[0].fault is not None
    assert (rows[0].fault.status, "encrypted" in rows[0].fault.message) == (Status.UNREADABLE, True)
    assert rows[1].data == FACES[3].data


def test_an_archive_with_zip64_records_and_one_behind_a_program_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)
    path = write_zip(tmp_path / "faces.zip")
    assert b"PK\6\6" in path.read_bytes()
    assert images(read(path, 5)) == EXPECTED
    path.write_bytes(b"#!/bin/sh\n" * 50 + path.read_bytes())
    assert images(read(path, 5)) == EXPECTED


@pytest.mark.parametrize(
    ("members", "chosen"),
    [
        ("", NAMES),
        ("**", NAMES),
        ("*/*.png", [name for name in NAMES if name.endswith(".png")]),
        ("id 1", [name for name in NAMES if name.startswith("id 1/")]),
        (NAMES[3], [NAMES[3]]),
    ],
)
@pytest.mark.parametrize("store", ["local", "memory"])
def test_a_zip_uri_names_members_of_an_archive_on_any_store(tmp_path, members, chosen, store):
    path = write_zip(tmp_path / "faces.zip")
    archive = str(path)
    if store == "memory":
        MemoryFileSystem.store.clear()
        MemoryFileSystem().pipe_file("/b/faces.zip", path.read_bytes())
        archive = "memory://b/faces.zip"
    uri = f"zip://{members}::{archive}"
    assert [row.key for row in read(uri, 2)] == chosen
    assert read(uri, 2) == read(uri, 100)
    assert {unit.shard for unit in plan(uri)} == {uri if members not in ("", "**") else archive}


def test_a_uri_that_names_no_archive_no_member_or_an_archive_in_an_archive_is_refused(tmp_path):
    path = write_zip(tmp_path / "faces.zip")
    assert [row.key for row in read(f"zip://{path}")] == NAMES
    with pytest.raises(PlanError, match=r"there is no file .*none\.zip"):
        plan(f"zip://*/*.jpg::{tmp_path}/none.zip")
    with pytest.raises(Exception, match="no member that 'id 9' names is called like an image"):
        plan(f"zip://id 9::{path}")
    for chain in (f"zip://a.zip::zip://b.zip::{path}", f"zip://*::simplecache::{path}", f"zip://*::tar://a::{path}"):
        with pytest.raises(OSError, match="a chain of file systems"):
            plan(chain)


def test_names_that_point_out_of_the_archive_are_rows_and_none_is_followed(tmp_path):
    path = tmp_path / "hostile.zip"
    names = ["../outside.jpg", "/absolute.jpg", "in/../../out.jpg", "..\\win.jpg", "C:/x.jpg", "good.jpg"]
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, FACES[0].data)
    rows = read(path)
    assert [row.key for row in rows][-1] == "good.jpg"
    assert len(rows) == 6
    assert [row.fault.status for row in rows if row.fault] == [Status.UNSAFE_NAME] * 5
    assert rows[-1].data == FACES[0].data


def test_litter_folders_and_other_files_are_no_records_and_backslashes_of_dos_are_folders(tmp_path):
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir("Ann")
        for name in ("__MACOSX/Ann/._1.jpg", "Ann/._1.jpg", "notes.txt"):
            archive.writestr(name, b"litter")
        info = zipfile.ZipInfo("Ann/1.jpg")
        info.create_system = 0
        archive.writestr(info, FACES[0].data)
    data = path.read_bytes().replace(b"Ann/1.jpg", b"Ann\\1.jpg")
    path.write_bytes(data)
    (row,) = read(path)
    assert (row.key, row.label, row.data) == ("Ann/1.jpg", "Ann", FACES[0].data)


def _spans(path: Path) -> list[tuple[int, int]]:
    """First byte of each image's header, first byte behind its data, of an archive by zipfile."""
    with zipfile.ZipFile(path) as archive:
        begins = [info.header_offset for info in archive.infolist()] + [archive.start_dir]
    return list(itertools.pairwise(begins[1:]))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_member_is_one_row_and_its_neighbours_are_read(tmp_path, method):
    path = write_zip(tmp_path / "faces.zip", method)
    whole, spans, chance = path.read_bytes(), _spans(path), random.Random(3)
    for turn in range(50):
        number = chance.randrange(12)
        begin, end = spans[number]
        at = chance.randrange(begin, end)
        data = bytearray(whole)
        stop = min(end, at + chance.choice((1, 3, 40)))
        data[at:stop] = chance.randbytes(stop - at)
        path.write_bytes(data)
        rows = read(path, chance.choice((1, 5, 100)))
        assert [row.key for row in rows] == NAMES, turn
        lost = [row.index for row in rows if row.fault is not None]
        assert lost in ([number], []), turn
        assert [row.data for row in rows if row.index != number] == [f.data for n, f in enumerate(FACES) if n != number]
        if not lost:  # the damage lies in fields that nobody reads (the time, a version)
            assert rows[number].data == FACES[number].data


def test_a_damaged_directory_costs_no_member(tmp_path):
    path = write_zip(tmp_path / "faces.zip")
    whole, chance = path.read_bytes(), random.Random(5)
    start = whole.index(b"PK\1\2")
    damaged = 0
    for turn in range(50):
        data, at = bytearray(whole), chance.randrange(start, len(whole))
        data[at] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        rows = read(path, 100)
        found = [row.data for row in rows if row.data is not None]
        damaged += plan(path)[0].records < 0
        # One entry's own damage (its place, its checksum) costs its member at most, and no row.
        lost = [row for row in rows if row.fault is not None]
        assert len(found) >= 11, turn
        assert len(found) + len(lost) >= 12 or b".jpg" not in bytes(data[at - 60 : at + 60]), turn
    assert damaged > 4


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.999])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_that_broke_off_gives_its_whole_members_and_a_row_for_the_rest(tmp_path, kept, method):
    path = write_zip(tmp_path / "faces.zip", method)
    spans, size = _spans(path), int(path.stat().st_size * kept)
    os.truncate(path, size)
    whole = [number for number, (_, end) in enumerate(spans) if end <= size]
    rows = read(path)
    assert [row.data for row in rows if row.data is not None] == [FACES[number].data for number in whole]
    assert (rows[-1].key is None) == (len(whole) < 12)
    if len(whole) < 12:
        assert rows[-1].fault is not None
        assert rows[-1].fault.status is Status.SHARD_TRUNCATED


def test_bytes_lost_among_members_of_an_archive_without_directory_are_a_row(tmp_path):
    path = write_zip(tmp_path / "faces.zip")
    spans, data = _spans(path), bytearray(path.read_bytes())
    begin, end = spans[4]
    data[begin:end] = bytes(end - begin)
    path.write_bytes(data[: data.index(b"PK\1\2")])
    rows = read(path)
    assert [row.data for row in rows if row.data is not None] == [f.data for n, f in enumerate(FACES) if n != 4]
    assert [row.key for row in rows if row.fault is not None] == [f"@{begin}", None]


def _bomb(path: Path, claimed: int, inflated: int) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("before.jpg", FACES[0].data)
        with archive.open("bomb.jpg", "w", force_zip64=False) as member:
            for _ in range(inflated >> 20):
                member.write(bytes(1 << 20))
        archive.writestr("behind.jpg", FACES[1].data)
    data = bytearray(path.read_bytes())
    at = data.index(b"bomb.jpg", data.index(b"PK\1\2")) - 46
    struct.pack_into("<I", data, at + 24, claimed)
    path.write_bytes(data)


@pytest.mark.parametrize(("claimed", "status"), [(1000, Status.CORRUPT), (300 << 20, Status.TOO_LARGE)])
def test_a_member_that_inflates_to_far_more_than_it_should_takes_no_memory(tmp_path, claimed, status):
    path = tmp_path / "bomb.zip"
    _bomb(path, claimed, 300 << 20)
    tracemalloc.start()
    rows = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
    assert [row.data for row in rows if row.key != "bomb.jpg"] == [FACES[0].data, FACES[1].data]
    assert rows[1].fault is not None
    assert rows[1].fault.status is status


def test_the_directory_of_many_members_is_never_held_whole(tmp_path):
    path, count = tmp_path / "many.zip", 70_000
    data, directory = io.BytesIO(), io.BytesIO()
    crc, image = zlib.crc32(b"x"), b"x"
    for number in range(count):
        name = b"%06d.jpg" % number
        at = data.tell()
        data.write(struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 0, crc, 1, 1, len(name), 0) + name + image)
        directory.write(
            struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 0, crc, 1, 1, len(name), 0, 0, 0, 0, 0, at)
        )
        directory.write(name)
    size, start = directory.tell(), data.tell()
    # As old tools write it: the number of members ran over its 16 bits.
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count % 65536, count % 65536, size, start, 0)
    path.write_bytes(data.getvalue() + directory.getvalue() + end)
    del data, directory
    tracemalloc.start()
    units = plan(path, 30_000)
    rows = sum(1 for unit in units for row in Zip().read(unit, ReadSettings()) if row.data == b"x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ([unit.records for unit in units], rows) == ([30_000, 30_000, 10_000], count)
    assert peak < 6 << 20


def test_a_split_archive_and_compression_that_is_not_read_say_what_to_do(tmp_path):
    path = write_zip(tmp_path / "faces.zip")
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\1\2", data.index(b"PK\1\2") + 4)
    struct.pack_into("<H", data, at + 10, 9)
    path.write_bytes(data)
    row = read(path)[0]
    assert row.fault is not None
    assert "Deflate64" in row.fault.message
    struct.pack_into("<H", data, data.index(b"PK\5\6") + 4, 2)
    path.write_bytes(data[data.index(b"PK\1\2") :])
    rows = read(path)
    assert rows[-1].fault is not None
    assert "one part of an archive that was split" in rows[-1].fault.message


def test_an_image_larger_than_the_limit_is_a_row(tmp_path):
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = write_zip(tmp_path / "faces.zip", method)
        limit = sorted(len(face.data) for face in FACES)[5]
        rows = read(path, max_stored_bytes=limit)
        assert [row.fault is None for row in rows] == [len(face.data) <= limit for face in FACES]
        assert {row.fault.status for row in rows if row.fault} == {Status.TOO_LARGE}


def test_an_archive_without_images_among_others_is_a_row_and_alone_an_error(tmp_path):
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("train-000.tar", b"")
    with pytest.raises(Exception, match=r"no member of the archive is called like an image.*Found: train-000\.tar"):
        plan(tmp_path / "none.zip")
    file = stat(str(tmp_path / "none.zip"))
    assert file is not None
    (row,) = Zip().read(Zip().whole(file), ReadSettings())
    assert (row.key, row.fault and row.fault.status) == (None, Status.SHARD_UNREADABLE)
    assert formats.format_of("https://host/faces.ZIP?download=1") == "zip"
