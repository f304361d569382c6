"""`.bin` verification sets: each image a row, pairs kept, nothing in the pickle run, damage a row."""

import pickle
import random
import tracemalloc
from pathlib import Path

import fsspec
import numpy as np
import pytest

from fiqa_core.shards.insightface_bin.reader import InsightFaceBin, PairsError, pairs
from fiqa_core.shards.unit import ReadSettings, Record, Unit
from fiqa_core.storage import StoredFile, stat
from schemas.reasons import Status
from tests.makers.images import jpeg_bytes, png_bytes
from tests.makers.pickles import hostile_pickles
from tests.shared import SHARED, needs_shared

NATIVE = SHARED / "data" / "native"
FACES = [(jpeg_bytes if seed % 2 else png_bytes)(seed, 40) for seed in range(12)]
SAME = [True, False, True, True, False, False]


def stored(path: Path) -> StoredFile:
    file = stat(str(path))
    assert file is not None
    return file


def plan(path: Path, unit_size: int = 1000) -> list[Unit]:
    return list(InsightFaceBin().plan(stored(path), unit_size))


def read(path: Path, unit_size: int = 1000, **settings: int) -> list[Record]:
    found: list[Record] = []
    for unit in plan(path, unit_size):
        rows = list(InsightFaceBin().read(unit, ReadSettings(**settings)))
        assert unit.records == len(rows)
        found += rows
    assert [row.index for row in found] == list(range(len(found)))
    return found


def arrays(images: list[bytes]) -> list[np.ndarray]:
    return [np.frombuffer(image, np.uint8).reshape(-1, 1) for image in images]


def survivors(rows: list[Record]) -> list[int]:
    return [FACES.index(row.data) for row in rows if row.fault is None and row.data in FACES]


@needs_shared
@pytest.mark.parametrize("name", ["mxnet_made/pairs60.bin", "insightface_paddle/small_lfw.bin"])
@pytest.mark.parametrize("unit_size", [1, 7, 1000])
def test_both_generations_are_read_as_pickle_reads_them(name, unit_size):
    images, same = pickle.loads((NATIVE / name).read_bytes(), encoding="bytes")  # noqa: S301
    rows = read(NATIVE / name, unit_size)
    assert [row.data for row in rows] == [bytes(image) for image in images]
    assert [(row.key, row.label) for row in rows] == [(str(n), None) for n in range(len(images))]
    found = pairs(stored(NATIVE / name))
    assert found.same.tolist() == same
    assert list(zip(found.first, found.second, strict=True))[:2] == [("0", "1"), ("2", "3")]
    assert len(found.first) == len(same)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("make", [list, arrays])
def test_every_protocol_gives_the_same_images_and_pairs(tmp_path, protocol, make):
    path = tmp_path / "t.bin"
    path.write_bytes(pickle.dumps((make(FACES), SAME), protocol))
    assert [row.data for row in read(path, 5)] == FACES
    assert pairs(stored(path)).same.tolist() == SAME


@pytest.mark.parametrize("same", [np.array(SAME), [np.bool_(each) for each in SAME], tuple(SAME), list(map(int, SAME))])
def test_pairs_may_be_bools_in_any_dress(tmp_path, same):
    (tmp_path / "t.bin").write_bytes(pickle.dumps([FACES, same], 4))
    assert pairs(stored(tmp_path / "t.bin")).same.tolist() == SAME


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_an_array_of_many_bools_is_read(tmp_path, protocol):
    same = np.arange(3000) % 3 == 0
    (tmp_path / "t.bin").write_bytes(pickle.dumps((FACES[:1] * 6000, same), protocol))
    assert (pairs(stored(tmp_path / "t.bin")).same == same).all()


@pytest.mark.parametrize("kind", hostile_pickles(None, FACES))
def test_a_hostile_pickle_is_rows_with_the_reason_and_runs_nothing(tmp_path, kind):
    mark, path = tmp_path / "mark", tmp_path / "t.bin"
    path.write_bytes(hostile_pickles(mark, FACES)[kind])
    rows = read(path, 2)
    assert not mark.exists()
    # What this one says is an empty list.
    assert rows or kind == "a memo index in text"
    assert any(row.fault is not None for row in rows) or kind in ("os.system as a bool", "a memo index in text")
    with pytest.raises(PairsError, match="cannot be read"):
        pairs(stored(path))
    assert not mark.exists()


def test_images_beside_a_forbidden_call_are_still_rows(tmp_path):
    mark, path = tmp_path / "mark", tmp_path / "t.bin"
    path.write_bytes(hostile_pickles(mark, FACES)["os.system among the images"])
    rows = read(path)
    assert survivors(rows) == list(range(12))
    assert "system" in next(row.fault.message for row in rows if row.fault)


@pytest.mark.parametrize("make", [list, arrays])
def test_random_damage_costs_at_most_the_image_it_touches_and_the_next(tmp_path, make):
    path = tmp_path / "t.bin"
    whole = pickle.dumps((make(FACES), SAME), 3 if make is arrays else 4)
    places = [whole.index(face) for face in FACES]
    chance = random.Random(5)
    for _ in range(300):
        data = bytearray(whole)
        at = chance.randrange(places[0], places[-1] + len(FACES[-1]))
        hurt = sum(place <= at for place in places) - 1
        last = at + chance.choice((1, 4, 30))
        data[at:last] = chance.randbytes(chance.choice((last - at, 0, last - at + 3)))
        path.write_bytes(bytes(data))
        rows = read(path, chance.choice((1, 4, 100)))
        missing = set(range(12)) - set(survivors(rows))
        assert missing <= {hurt, hurt + 1}
        faults = [row for row in rows if row.fault is not None or row.data not in FACES]
        assert faults or not missing


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_that_breaks_off_ends_in_a_row_that_says_so(tmp_path, share):
    path = tmp_path / "t.bin"
    whole = pickle.dumps((FACES, SAME), 4)
    path.write_bytes(whole[: int(len(whole) * share)])
    rows = read(path, 4)
    assert survivors(rows) == [n for n in range(12) if whole.index(FACES[n]) + len(FACES[n]) <= len(whole) * share]
    assert [row.fault.status for row in rows if row.fault] == [Status.SHARD_TRUNCATED]
    with pytest.raises(PairsError, match=r"the file ends|are left"):
        pairs(stored(path))


def test_what_is_no_image_is_a_row_with_its_reason(tmp_path):
    path = tmp_path / "t.bin"
    pixels, text = np.zeros((112, 112, 3), np.uint8), "a.jpg"
    path.write_bytes(pickle.dumps(([FACES[0], None, 7, text, pixels, np.zeros(400), FACES[1], b""], [True] * 4), 4))
    rows = read(path)
    assert [row.fault is None for row in rows] == [True, *[False] * 5, True, True]
    assert "pixels" in rows[4].fault.message
    assert "f8" in rows[5].fault.message


def test_pairs_that_do_not_fit_the_images_are_an_error(tmp_path):
    (tmp_path / "t.bin").write_bytes(pickle.dumps((FACES, SAME[:5])))
    with pytest.raises(PairsError, match=r"t\.bin: 12 images and 5 pairs"):
        pairs(stored(tmp_path / "t.bin"))


def test_something_else_in_a_bin_is_one_row(tmp_path):
    (tmp_path / "t.bin").write_bytes(pickle.dumps({"weights": 3}))
    assert [row.fault.status for row in read(tmp_path / "t.bin")] == [Status.SHARD_UNREADABLE]
    (tmp_path / "u.bin").write_bytes(pickle.dumps(5))
    assert "it holds a value of type int" in read(tmp_path / "u.bin")[0].fault.message


def test_the_images_are_never_in_memory_together(tmp_path):
    path = tmp_path / "t.bin"
    image = jpeg_bytes(1, 40) + bytes(1 << 20)
    path.write_bytes(pickle.dumps(([image + bytes([n]) for n in range(40)], [True] * 20), 4))
    tracemalloc.start()
    count = sum(len(row.data or b"") for unit in plan(path) for row in InsightFaceBin().read(unit, ReadSettings()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 40 * (len(image) + 1)
    assert peak < 6 << 20


def test_an_image_above_the_limit_is_hashed_and_not_held(tmp_path):
    path = tmp_path / "t.bin"
    path.write_bytes(pickle.dumps((FACES, SAME), 4))
    row = read(path, max_stored_bytes=300)[0]
    assert row.fault.status is Status.TOO_LARGE
    assert row.sha256 is not None


def test_a_set_in_a_store_is_read_as_from_a_disk_from_any_of_its_images(tmp_path):
    path = tmp_path / "t.bin"
    path.write_bytes(pickle.dumps((FACES, SAME), 4))
    url = f"memory://bin-{tmp_path.name}/t.bin"
    fsspec.filesystem("memory").pipe(url, path.read_bytes())
    file = stat(url)
    assert file is not None
    units = list(InsightFaceBin().plan(file, 5))
    assert [row for unit in units for row in InsightFaceBin().read(unit, ReadSettings())] == read(path)
    assert pairs(file).same.tolist() == SAME
    entered = InsightFaceBin().enter_at(units[1], 7)
    assert [row.index for row in InsightFaceBin().read(entered, ReadSettings())] == [7, 8, 9]
