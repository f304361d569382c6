"""Faces by reference: the stored bytes of any row of any table, from every container."""

import gzip
import hashlib
import random
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.images.decode import ImageLimits, decode_rgb
from fiqa_core.shards import places
from fiqa_core.shards.webdataset.reader import WebDataset
from fiqa_core.storage import publish_bytes
from fiqa_core.storage.store import PlainStore
from fiqa_core.tables import Face, load_quality, read_faces
from fiqa_core.tables.quality_files import TableError
from tests.makers.containers import FaceRecord, face_records, samples, write_folder, write_hostile_tar, write_tar
from tests.makers.images import encoded, face_pixels, jpeg_bytes
from tests.makers.runs import score_shards
from tests.makers.toy_format import BareToy, Toy, write_toy
from tests.pipelines.test_every_container import WRITERS, faces


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    """The user's cache folder, here an own one."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv(places.CACHE_VARIABLE, str(folder))
    places.forget_places()
    return folder


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> Path:
    """`<container>/in` and `<container>/out` of every container."""
    root = tmp_path_factory.mktemp("containers")
    for kind, write in WRITERS.items():
        (root / kind / "in").mkdir(parents=True)
        write(root / kind / "in", faces())
        score_shards(root / kind / "out", [root / kind / "in"])
    return root


def rows_of(out: Path) -> list[dict]:
    return pq.read_table(out / "quality").to_pylist()


def scored_tar(folder: Path, members: list[tuple[str, bytes]], name: str = "a.tar") -> Path:
    """The output of a run over one tar of these members."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tar(folder / name, members)
    score_shards(folder / "out", [folder / name])
    return folder / "out"


@pytest.mark.parametrize("kind", WRITERS)
def test_the_stored_bytes_of_any_row_come_from_every_container_in_the_order_asked(scored, kind):
    out = scored / kind / "out"
    rows = rows_of(out)
    random.Random(kind).shuffle(rows)
    asked = [*rows, *rows[:5]]
    by_digest = {hashlib.sha256(each.data).digest(): each.data for each in faces()}
    found = list(read_faces(asked, out))
    assert [face.problem for face in found] == [""] * len(asked)
    assert [face.data for face in found] == [by_digest[row["sha256"]] for row in asked]
    assert all(face.verified for face in found)
    assert [face.row["key"] for face in found] == [row["key"] for row in asked]


@pytest.mark.parametrize("kind", WRITERS)
def test_without_a_run_shards_are_found_at_the_addresses_in_the_rows(scored, kind):
    rows = rows_of(scored / kind / "out")[::5]
    found = list(read_faces(rows))
    assert all(face.verified for face in found), [face.problem for face in found]


@pytest.mark.parametrize("kind", WRITERS)
def test_rows_without_a_digest_are_compared_by_key(scored, kind):
    rows = [{name: row[name] for name in ("shard", "index", "key")} for row in rows_of(scored / kind / "out")]
    found = list(read_faces(rows, scored / kind / "out"))
    assert all(face.data and not face.verified for face in found), [face.problem for face in found]
    if kind == "recordio":  # whose keys lie in a file of their own
        return
    (other,) = read_faces([rows[3] | {"key": "somebody/else"}], scored / kind / "out")
    assert other.data is None
    assert "not the one of the row" in other.problem


def test_rows_may_be_a_frame_an_arrow_table_a_relation_or_mappings(scored):
    out = scored / "webdataset" / "out"
    table = pq.read_table(out / "quality")
    frame = load_quality(out)
    forms = [frame, table, table.to_batches()[0], duckdb.from_arrow(table), table.to_pylist(), iter(table.to_pylist())]
    expected = [face.data for face in read_faces(table, out)]
    assert None not in expected
    for rows in forms[3:] + forms[:2]:
        assert [face.data for face in read_faces(rows, out)] == expected
    assert [face.data for face in read_faces(forms[2], out)] == expected[: len(forms[2])]
    (one,) = read_faces(table.to_pylist()[4], out)
    assert one.data == expected[4]
    hexadecimal = [row | {"sha256": row["sha256"].hex()} for row in table.to_pylist()]
    assert all(face.verified for face in read_faces(hexadecimal, out))
    for wrong in ("text", 7, [1, 2], pd.DataFrame({"key": ["a"]}), pa.table({"index": [1]})):
        with pytest.raises(TableError, match=r"expected rows|no column 'shard'"):
            list(read_faces(wrong, out))


def test_the_picture_is_upright_rgb_as_the_scorer_decodes_it(tmp_path):
    turned = encoded(face_pixels(3, 64)[:, :48], "JPEG", exif=_turned())
    grey = encoded(face_pixels(4, 64)[..., 0], "PNG")
    out = scored_tar(tmp_path, [("a.jpg", turned), ("b.png", grey)])
    first, second = read_faces(load_quality(out), out)
    assert first.image().mode == "RGB"
    assert first.image().size == (64, 48)
    assert np.array_equal(np.asarray(first.image()), decode_rgb(turned, ImageLimits()).pixels)
    assert second.pixels().shape == (64, 64, 3)


def _turned() -> bytes:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


@pytest.mark.parametrize("kind", ["webdataset", "parquet", "recordio", "tfrecord", "insightface_bin", "folder"])
def test_a_changed_or_missing_image_says_why_and_the_others_come(tmp_path, kind):
    (tmp_path / "in").mkdir()
    some = face_records(12, 3, 40)
    WRITERS[kind](tmp_path / "in", some)
    score_shards(tmp_path / "out", [tmp_path / "in"])
    rows = rows_of(tmp_path / "out")
    victim = next(row for row in rows if row["sha256"] == hashlib.sha256(some[4].data).digest())
    for path in (path for path in (tmp_path / "in").rglob("*") if path.is_file()):
        data = path.read_bytes()
        at = data.find(some[4].data)
        if at >= 0:
            middle = at + len(some[4].data) // 2
            path.write_bytes(data[:middle] + bytes(b ^ 255 for b in data[middle : middle + 4]) + data[middle + 4 :])
    found = list(read_faces(rows, tmp_path / "out"))
    wrong = [face for face in found if face.data is None]
    assert [face.row["index"] for face in wrong] == [victim["index"]]
    assert wrong[0].problem
    places_of_shards = [path for path in (tmp_path / "in").rglob("*") if path.is_file()]
    for path in places_of_shards:
        path.unlink()
    gone = list(read_faces(rows, tmp_path / "out"))
    assert all(face.data is None and face.problem for face in gone)
    with pytest.raises(Exception, match=r"no such file|gone since|FileNotFound"):
        gone[0].image()


def test_rows_without_an_image_say_so(tmp_path):
    out = scored_tar(tmp_path, [("a.jpg", jpeg_bytes(0)), ("b.cls", b"3"), ("c.jpg", jpeg_bytes(1))])
    rows = rows_of(out)
    assert [row["status"] for row in rows] == ["scored", "missing_image", "scored"]
    first, second, third = read_faces(rows, out)
    assert first.data
    assert third.data
    assert "no image" in second.problem
    other = [
        {"shard": rows[0]["shard"], "index": 99},
        {"shard": rows[0]["shard"], "index": -1},
        {"shard": None, "index": 0},
        {"shard": rows[0]["shard"], "index": None},
        {"shard": rows[0]["shard"], "index": 2, "key": None},
        {"shard": str(tmp_path / "nowhere.tar"), "index": 0},
    ]
    assert all(face.data is None and face.problem for face in read_faces(other, out))


def test_the_second_look_at_a_tar_reads_only_the_wanted_bytes(tmp_path, cache, monkeypatch):
    out = scored_tar(tmp_path, samples(face_records(400, 5, 40)))
    rows = rows_of(out)[100:400:60]
    first = [face.data for face in read_faces(rows)]
    assert None not in first
    assert len(list((cache / "places").glob("*.npy"))) == 1
    places.forget_places()
    monkeypatch.setattr(WebDataset, "read", _refuse)
    monkeypatch.setattr("fiqa_core.shards.webdataset.reader.sample_blocks", _refuse)
    assert [face.data for face in read_faces(rows)] == first


def _refuse(*_: object) -> None:
    raise AssertionError("the shard is read from its start")


def test_a_damaged_or_foreign_cache_file_is_made_again(tmp_path, cache):
    out = scored_tar(tmp_path, samples(face_records(20, 5, 40)))
    rows = rows_of(out)
    expected = [face.data for face in read_faces(rows)]
    (kept,) = (cache / "places").glob("*.npy")
    for damage in (b"", b"no array", kept.read_bytes()[:-9], gzip.compress(b"x")):
        kept.write_bytes(damage)
        places.forget_places()
        assert [face.data for face in read_faces(rows)] == expected
    np.save(kept, np.full((3, 4), 1 << 60))
    places.forget_places()
    assert [face.data for face in read_faces(rows)] == expected
    (cache / "places" / "mine.txt").write_text("not ours")
    kept.unlink()
    (cache / "places").chmod(0o500)
    places.forget_places()
    try:
        assert [face.data for face in read_faces(rows)] == expected
    finally:
        (cache / "places").chmod(0o700)
    assert (cache / "places" / "mine.txt").exists()


def test_a_tar_that_was_written_again_is_looked_through_again(tmp_path):
    some = face_records(30, 5, 40)
    out = scored_tar(tmp_path, samples(some))
    rows = rows_of(out)
    assert all(face.data for face in [*read_faces(rows, out), *read_faces(rows)])
    write_tar(tmp_path / "a.tar", [("zero.json", b"{}" * 600), *samples(some)])
    assert all(face.data is None and face.problem for face in read_faces(rows, out))
    found = list(read_faces(rows))
    assert all(face.data is None and "changed" in face.problem for face in found)


@pytest.mark.parametrize("form", ["long names", "dot slash", "many a key", "hostile", "gap"])
def test_tars_that_are_not_plain_give_the_same_bytes_as_reading_them_through(tmp_path, form):
    some = face_records(12, 3, 40)
    path = tmp_path / "a.tar"
    if form == "long names":
        write_tar(path, [(f"{'folder_' * 30}/{name}", data) for name, data in samples(some)])
    elif form == "dot slash":
        write_tar(path, [(f"./{name}", data) for name, data in samples(some)])
    elif form == "many a key":
        write_tar(path, [(f"person.{n:03}.{each.extension}", each.data) for n, each in enumerate(some)])
    elif form == "hostile":
        write_hostile_tar(path, some[0])
    else:
        write_tar(path, samples(some))
        data = bytearray(path.read_bytes())
        data[data.find(some[5].name.encode()) : data.find(some[5].name.encode()) + 400] = bytes(400)
        path.write_bytes(bytes(data))
    score_shards(tmp_path / "out", [path])
    rows = rows_of(tmp_path / "out")
    with_image = [row for row in rows if row["status"] == "scored"]
    assert len(with_image) >= (1 if form == "hostile" else 10)
    for face in read_faces(rows, tmp_path / "out"):
        if face.row["status"] == "scored":
            assert face.verified, face.problem
        else:
            assert face.data is None or face.verified
            assert face.data or face.problem


def test_images_that_do_not_fit_into_the_memory_are_read_when_their_turn_comes(scored, monkeypatch):
    monkeypatch.setattr("fiqa_core.tables.faces._HELD_BYTES", 5000)
    for kind in ("webdataset", "folder", "parquet"):
        rows = rows_of(scored / kind / "out")
        assert all(face.verified for face in read_faces(rows, scored / kind / "out"))


def test_a_moved_dataset_is_found_where_it_lies_now(tmp_path):
    write_folder(tmp_path / "in", face_records(6, 2, 40))
    score_shards(tmp_path / "out", [tmp_path / "in"])
    (tmp_path / "in").rename(tmp_path / "elsewhere")
    rows = rows_of(tmp_path / "out")
    assert all(face.data is None for face in read_faces(rows, tmp_path / "out"))
    moved = [(str(tmp_path / "in"), str(tmp_path / "elsewhere"))]
    assert all(face.verified for face in read_faces(rows, tmp_path / "out", moved))


def test_two_runs_that_mean_different_shards_by_one_name_are_refused(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        write_tar(Path("x.tar"), samples(face_records(3, 2, 40)))
        score_shards(tmp_path / name / "out", [Path("x.tar")])
    with pytest.raises(TableError, match="two of the runs have a shard of this name"):
        list(read_faces([], [tmp_path / "a" / "out", tmp_path / "b" / "out"]))
    assert all(face.verified for face in read_faces(rows_of(tmp_path / "a" / "out"), tmp_path / "a" / "out"))


@pytest.mark.parametrize("container", [Toy, BareToy])
def test_a_format_that_answers_nothing_of_its_own_gives_faces_too(tmp_path, monkeypatch, container):
    kind = container()
    monkeypatch.setitem(__import__("fiqa_core.shards.formats", fromlist=["x"]).CONTAINERS, kind.name, kind)
    some = [FaceRecord(f"k{n}", n % 3, jpeg_bytes(n, 40)) for n in range(60)]
    path = write_toy(tmp_path / f"a{kind.suffixes[0]}", [(each.key, str(each.label), each.data) for each in some])
    rows = [
        {"shard": str(path), "index": n, "sha256": hashlib.sha256(some[n].data).digest()} for n in (59, 0, 31, 3, 3, 4)
    ]
    found = list(read_faces(rows))
    assert [face.data for face in found] == [some[row["index"]].data for row in rows]
    assert isinstance(found[0], Face)


@pytest.mark.parametrize("kind", ["webdataset", "recordio", "tfrecord", "insightface_bin", "folder", "parquet"])
def test_from_a_store_a_second_look_fetches_a_small_part_of_the_shard(tmp_path, kind, monkeypatch):
    some = [FaceRecord(f"k{n:04}", n % 3, noise(n)) for n in range(48)]
    (tmp_path / "in").mkdir()
    WRITERS[kind](tmp_path / "in", some)
    base = f"memory://faces-{tmp_path.name}"
    total = 0
    for path in sorted(path for path in (tmp_path / "in").rglob("*") if path.is_file()):
        total += path.stat().st_size
        publish_bytes(path.read_bytes(), f"{base}/in", f"{base}/in/{path.relative_to(tmp_path / 'in').as_posix()}")
    score_shards(tmp_path / "out", [tmp_path / "in"])
    moved = [(str(tmp_path / "in"), f"{base}/in")]
    rows = [rows_of(tmp_path / "out")[place] for place in (31, 2)]
    assert all(face.verified for face in read_faces(rows, tmp_path / "out", moved))
    places.forget_places()
    fetched = []
    read = PlainStore.read
    monkeypatch.setattr(PlainStore, "read", lambda *a: fetched.append(len(data := read(*a))) or data)
    found = list(read_faces(rows, tmp_path / "out", moved))
    assert all(face.verified for face in found), [face.problem for face in found]
    assert kind == "parquet" or sum(fetched) < total / 4


def noise(seed: int) -> bytes:
    return encoded(np.random.default_rng(seed).integers(0, 256, (160, 160, 3), np.uint8), "PNG")
