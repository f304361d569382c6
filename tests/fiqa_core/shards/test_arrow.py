"""Arrow: folders by `save_to_disk` are read as `datasets` reads them; every damaged row is a row, none is lost."""

import json
import random
import struct
import tracemalloc
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pytest

from fiqa_core.runs.plan import plan_dataset
from fiqa_core.shards.arrow_ipc.messages import Batch, batches, read_schema
from fiqa_core.shards.arrow_ipc.reader import Arrow
from fiqa_core.shards.container import UnfitShardError
from fiqa_core.shards.unit import ReadSettings, Record, Unit
from fiqa_core.storage import stat
from schemas.reasons import Status
from tests.makers.containers import face_records

FACES = face_records(23, size=24)
NAMES = ["Zoë", "Ann", "Bob"]
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("hf")
    features = datasets.Features({
        "id": datasets.Value("int64"), "image": datasets.Image(),
        "label": datasets.ClassLabel(names=NAMES), "box": datasets.Sequence(datasets.Value("float32")),
    })  # fmt: skip
    columns = {
        "id": list(range(23)),
        "image": [{"bytes": face.data, "path": face.name} for face in FACES],
        "label": [face.label for face in FACES],
        "box": [[1.0] * (n % 4) for n in range(23)],
    }
    made = datasets.Dataset.from_dict(columns, features=features)
    made.save_to_disk(root / "one", num_shards=2)
    datasets.DatasetDict({"train": made.select(range(15)), "test": made.select(range(15, 23))}).save_to_disk(root / "d")
    return root


EXPECTED = [(face.name, NAMES[face.label], face.data) for face in FACES]


def plan(path: Path, unit_size: int = 1000, **settings: str) -> list[Unit]:
    workspace = path.parent / "plan"
    return list(plan_dataset([str(path)], "auto", unit_size, str(workspace), ReadSettings(**settings)).units)


def read(path: Path, unit_size: int = 1000, **settings: str | int) -> list[Record]:
    found: list[Record] = []
    for unit in plan(path, unit_size):
        rows = list(Arrow().read(unit, ReadSettings(**settings)))
        assert unit.records in (len(rows), -1)
        assert [row.index for row in rows] == list(range(unit.first_index, unit.first_index + len(rows)))
        found += rows
    return found


def told(rows: list[Record]) -> list[tuple[str | None, str | None, bytes | None]]:
    return [(row.key, row.label, row.data) for row in rows]


@pytest.mark.parametrize("unit_size", [1, 5, 1000])
def test_a_folder_by_save_to_disk_gives_bytes_paths_and_class_names(saved, unit_size):
    assert told(read(saved / "one", unit_size)) == EXPECTED
    assert {row.label_from for row in read(saved / "one")} == {"column 'label' (class names)"}
    assert [u.records for u in plan(saved / "one", 5)] == [5, 5, 2, 5, 5, 1]
    assert Arrow().class_names(plan(saved / "one"), ReadSettings()) == ("label", tuple(NAMES))


def test_a_dataset_dict_is_all_its_splits_and_one_split_may_be_named(saved):
    assert sorted(told(read(saved / "d"))) == sorted(EXPECTED)
    assert told(read(saved / "d" / "train", 4)) == EXPECTED[:15]


def test_files_that_datasets_left_beside_are_passed_over_and_a_missing_one_is_a_row(saved, tmp_path, caplog):
    made = datasets.load_from_disk(str(saved / "one"))
    made.save_to_disk(tmp_path / "one", num_shards=3)
    again = datasets.load_from_disk(str(tmp_path / "one"))
    again.map(lambda row: {"more": row["id"]}, load_from_cache_file=False)
    assert list((tmp_path / "one").glob("cache-*.arrow"))
    assert told(read(tmp_path / "one")) == EXPECTED
    assert "state.json beside it does not name it" in caplog.text
    (tmp_path / "one" / "data-00001-of-00003.arrow").unlink()
    rows = read(tmp_path / "one")
    assert [row.fault.status for row in rows if row.fault] == [Status.SHARD_UNREADABLE]
    assert [row.data for row in rows if row.data] == [face.data for n, face in enumerate(FACES) if not 8 <= n < 16]


def table(**more: pa.Array) -> pa.Table:
    images = pa.array([None if n == 4 else {"bytes": f.data, "path": f.name} for n, f in enumerate(FACES)], IMAGE)
    return pa.table(
        {"image": images, "identity": [None if n == 2 else f"é{f.label}" for n, f in enumerate(FACES)], **more}
    )


def write(path: Path, value: pa.Table, batch: int = 7, *, stream: bool = True) -> Path:
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(str(path), value.schema) as writer:
        writer.write_table(value, max_chunksize=batch)
    return path


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("large", [True, False])
def test_columns_of_every_kind_beside_the_image_and_nulls_are_understood(tmp_path, stream, large):
    count = len(FACES)
    more = {
        "list": pa.array([[n] * (n % 3) for n in range(count)]),
        "nothing": pa.nulls(count),
        "flag": pa.array([n % 2 == 0 for n in range(count)]),
        "fixed": pa.array([[1.0, 2.0]] * count, pa.list_(pa.float32(), 2)),
        "map": pa.array([[("a", 1)]] * count, pa.map_(pa.string(), pa.int32())),
        "view": pa.array(["a long text that is not kept within its view"] * count, pa.string_view()),
        "coded": pa.array(["x", "y", "x"] * 7 + ["y", "y"]).dictionary_encode(),
        "union": pa.UnionArray.from_sparse(pa.array([0] * count, pa.int8()), [pa.array(range(count))]),
        "time": pa.array([1] * count, pa.timestamp("s")),
    }
    value = table()
    columns = more | {name: value[name].combine_chunks() for name in value.column_names}
    if large:
        columns["image"] = pa.array([None if n == 4 else f.data for n, f in enumerate(FACES)], pa.large_binary())
        columns["identity"] = columns["identity"].cast(pa.large_string())
        columns["path"] = pa.array([face.name for face in FACES])
    path = write(tmp_path / "a.arrow", pa.table(columns), stream=stream)
    for unit_size in (1, 3, 100):
        rows = read(path, unit_size)
        assert [row.data for row in rows] == [None if n == 4 else face.data for n, face in enumerate(FACES)]
        assert [row.label for row in rows] == [None if n == 2 else f"é{face.label}" for n, face in enumerate(FACES)]
        assert rows[4].fault is not None
        assert rows[4].fault.status is Status.MISSING_IMAGE
    for kind, expected in (("flag", "true"), ("time", "1970-01-01T00:00:01")):
        assert next(iter(Arrow().read(plan(path)[0], ReadSettings(label_field=kind)))).label == expected


def test_what_is_not_read_is_refused_by_name(tmp_path):
    value = table(label=pa.array(["x"] * len(FACES)).dictionary_encode()).drop(["identity"])
    with pytest.raises(UnfitShardError, match=r"column 'label' is dictionary-encoded"):
        plan(write(tmp_path / "a.arrow", value))
    with pytest.raises(UnfitShardError, match="expected one column of images"):
        plan(write(tmp_path / "b.arrow", pa.table({"x": [1]})))
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(str(tmp_path / "c.arrow"), table().schema, options=options) as writer:
        writer.write_table(table())
    rows = read(tmp_path / "c.arrow", 5)
    assert {row.fault.status for row in rows if row.fault} == {Status.UNREADABLE}
    assert (len(rows), "write it without compression" in str(rows[0].fault)) == (len(FACES), True)
    (tmp_path / "d.arrow").write_bytes(b"something else" * 100)
    (row,) = read(tmp_path / "d.arrow")
    assert (row.key, row.fault and row.fault.status) == (None, Status.SHARD_UNREADABLE)


def _spans(path: Path) -> list[tuple[int, int]]:
    """Message begin and end of each batch."""
    with path.open("rb") as stream:
        return [(b.at, b.end) for b in batches(stream, *read_schema(stream)) if isinstance(b, Batch)]


def test_random_damage_costs_rows_of_its_batch_only_and_each_is_a_row(tmp_path):
    path = write(tmp_path / "a.arrow", table(), 6)
    whole, spans, chance = path.read_bytes(), _spans(path), random.Random(4)
    for turn in range(60):
        number = chance.randrange(len(spans))
        begin, end = spans[number]
        # Half of the damage in the batch's description and offsets, where it hurts most.
        at = chance.randrange(begin, begin + 700) if turn % 2 else chance.randrange(begin, end)
        data = bytearray(whole)
        stop = min(end, at + chance.choice((1, 2, 16, 200)))
        data[at:stop] = chance.randbytes(stop - at)
        path.write_bytes(data)
        rows = read(path, chance.choice((1, 4, 100)))
        touched = range(number * 6, min(number * 6 + 6, len(FACES)))
        spared = [face.data for place, face in enumerate(FACES) if place not in touched and place != 4]
        kept = [row.data for row in rows if row.data is not None]
        assert [each for each in kept if each in spared] == spared, turn
        assert len(rows) > len(FACES) - len(touched), turn  # one for the batch, or one for each of its rows


@pytest.mark.parametrize("kept", [0.2, 0.55, 0.97, 1.0])
def test_a_file_that_breaks_off_ends_in_a_row_that_says_so(tmp_path, kept):
    path = write(tmp_path / "a.arrow", table(), 6)
    size = int((path.stat().st_size - 8) * kept)
    spans = _spans(path)
    path.write_bytes(path.read_bytes()[:size])
    rows = read(path, 5)
    whole = min(sum(end <= size for _, end in spans) * 6, len(FACES))
    assert [row.data for row in rows[:whole]] == [None if n == 4 else f.data for n, f in enumerate(FACES[:whole])]
    assert rows[-1].fault is not None
    assert (rows[-1].key, rows[-1].fault.status) == (None, Status.SHARD_TRUNCATED)


def test_memory_does_not_grow_with_a_batch_or_with_what_a_batch_claims(tmp_path):
    images = pa.array([np.random.default_rng(n).bytes(1 << 20) for n in range(40)], pa.binary())
    path = write(tmp_path / "a.arrow", pa.table({"image": images}), 40)
    (unit,) = plan(path)
    del images
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    sizes = [len(row.data or b"") for row in Arrow().read(unit, ReadSettings())]
    large = [row.fault and row.fault.status for row in Arrow().read(unit, ReadSettings(max_stored_bytes=1000))]
    peak = tracemalloc.get_traced_memory()[1] + pa.total_allocated_bytes() - before
    tracemalloc.stop()
    assert (sizes, set(large)) == ([1 << 20] * 40, {Status.TOO_LARGE})
    assert peak < 16 << 20
    data = bytearray(write(tmp_path / "b.arrow", table(), 100).read_bytes())
    ((begin, _),) = _spans(tmp_path / "b.arrow")
    at = data.index(struct.pack("<q", len(FACES)), begin)
    data[at : at + 8] = struct.pack("<q", 1 << 50)
    (tmp_path / "b.arrow").write_bytes(data)
    assert len(read(tmp_path / "b.arrow")) < 5


def test_the_state_file_cannot_name_files_elsewhere(saved, tmp_path):
    datasets.load_from_disk(str(saved / "one")).save_to_disk(tmp_path / "one")
    state = json.loads((tmp_path / "one" / "state.json").read_text())
    state["_data_files"].append({"filename": "../../one/data-00000-of-00002.arrow"})
    (tmp_path / "one" / "state.json").write_text(json.dumps(state))
    assert told(read(tmp_path / "one")) == EXPECTED
    file = stat(str(tmp_path / "one" / "data-00000-of-00001.arrow"))
    assert file is not None
    assert [unit.shard for unit in Arrow().plan(file, 100)] == [file.shown]
