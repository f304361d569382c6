"""Damaged and hostile Parquet: one row with a reason for what is lost, every untouched row group whole, no crash."""

import io
import random
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.runs.plan import plan_dataset
from fiqa_core.shards.parquet.pages import BUDGET_BYTES, PageGuard, PageRefusedError, SmallerBatches, parse_page
from fiqa_core.shards.parquet.reader import Parquet
from fiqa_core.shards.unit import ReadSettings, Record, Unit
from fiqa_core.storage import stat
from schemas.reasons import Status

COUNT, GROUP = 60, 20
IMAGES = [random.Random(n).randbytes(900) for n in range(COUNT)]


def plan(path: Path, unit_size: int = 1000) -> list[Unit]:
    file = stat(str(path))
    assert file is not None
    return list(Parquet().plan(file, unit_size, ReadSettings()))


def read(path: Path, unit_size: int = 1000) -> list[Record]:
    return [record for unit in plan(path, unit_size) for record in Parquet().read(unit, ReadSettings())]


def good(**options) -> bytes:
    out = io.BytesIO()
    table = {"image": IMAGES, "label": [f"p{n // 5}" for n in range(COUNT)], "age": list(range(COUNT))}
    pq.write_table(pa.table(table), out, row_group_size=GROUP, **options)
    return out.getvalue()


@pytest.mark.parametrize("unit_size", [1, 7, 10, 59, 1000])
@pytest.mark.parametrize("dictionary", [True, False])
def test_one_row_group_is_cut_by_rows_and_rows_keep_their_numbers(tmp_path, unit_size, dictionary):
    table = pa.table({"image": IMAGES, "label": [str(n) for n in range(COUNT)]})
    pq.write_table(table, tmp_path / "a.parquet", use_dictionary=dictionary, data_page_size=2000)
    units = plan(tmp_path / "a.parquet", unit_size)
    assert [unit.first_index for unit in units] == [0, *np.cumsum([unit.records for unit in units])[:-1]]
    assert all(abs(unit.records - unit_size) <= max(1, unit_size // 2) for unit in units) or len(units) == 1
    found = read(tmp_path / "a.parquet", unit_size)
    assert [(r.index, r.label, r.data) for r in found] == [(n, str(n), image) for n, image in enumerate(IMAGES)]
    assert [r.index for r in Parquet().read(units[-1], ReadSettings())] == list(range(units[-1].first_index, COUNT))


def test_groups_large_and_small_in_one_file_are_cut_and_gathered(tmp_path):
    with pq.ParquetWriter(tmp_path / "a.parquet", pa.schema([("image", pa.binary())])) as writer:
        for start, stop in [(0, 3), (3, 40), (40, 42), (42, 44), (44, 60)]:
            writer.write_table(pa.table({"image": IMAGES[start:stop]}))
    assert [unit.records for unit in plan(tmp_path / "a.parquet", 8)] == [3, 7, 7, 8, 7, 8, 4, 8, 8]
    assert [r.data for r in read(tmp_path / "a.parquet", 8)] == IMAGES


def test_a_damaged_footer_among_good_shards_is_its_shards_row_whatever_is_wrong_with_it(tmp_path):
    data = good()
    length = struct.unpack("<I", data[-8:-4])[0]
    start = len(data) - 8 - length
    for number in range(150):
        chosen = random.Random(number)
        damaged = bytearray(data)
        for _ in range(chosen.choice([1, 2, 8])):
            damaged[chosen.randrange(start, len(data) - 4)] = chosen.choice(
                [0, 0x7F, 0x80, 0xFF, chosen.randrange(256)]
            )
        (tmp_path / "b.parquet").write_bytes(damaged)
        try:
            found = read(tmp_path / "b.parquet")
        except ValueError as error:
            assert "Columns:" in str(error)  # the name or the type of the image's column is another now
            continue
        assert len(found) <= COUNT or all(r.fault for r in found[COUNT:])
        assert found
    for name, content in {
        "empty": b"",
        "text": b"no table " * 40,
        "short": data[: len(data) // 2],
        "end": b"PAR1",
    }.items():
        (tmp_path / f"{name}.parquet").write_bytes(content)
    (tmp_path / "b.parquet").write_bytes(data[:-8] + b"\xff\xff\xff\x7fPAR1")
    (tmp_path / "c.parquet").write_bytes(data)
    units = plan_dataset([str(tmp_path)], "auto", 1000, str(tmp_path / "plan"), ReadSettings()).units
    rows = {unit.shard.rpartition("/")[2]: list(Parquet().read(unit, ReadSettings())) for unit in units}
    assert [r.data for r in rows.pop("c.parquet")] == IMAGES
    assert {name: [r.fault.status for r in found] for name, found in rows.items()} == {
        name: [Status.SHARD_UNREADABLE]
        for name in ("b.parquet", "empty.parquet", "end.parquet", "short.parquet", "text.parquet")
    }


def test_damaged_size_statistics_which_abort_pyarrow_where_chunks_are_asked_for_cost_no_row(tmp_path):
    data = good(write_page_index=True)
    (tmp_path / "a.parquet").write_bytes(data)
    for at in range(len(data) - 400, len(data) - 8, 7):
        for value in (0, 1, 3, 0x1C, 0x2C):
            damaged = bytearray(data)
            damaged[at] = value
            (tmp_path / "a.parquet").write_bytes(damaged)
            assert plan(tmp_path / "a.parquet")


@pytest.mark.parametrize("checksum", [True, False])
def test_a_damaged_page_costs_its_row_group_and_no_other(tmp_path, checksum):
    data = bytearray(good(write_page_checksum=checksum, use_dictionary=False, compression="none"))
    at = data.index(IMAGES[GROUP + 4])
    data[at - 3 if not checksum else at + 9] ^= 0xFF
    (tmp_path / "a.parquet").write_bytes(data)
    found = read(tmp_path / "a.parquet")
    assert [r.index for r in found] == list(range(COUNT))
    kept = [*range(GROUP), *range(2 * GROUP, COUNT)]
    assert [found[n].data for n in kept] == [IMAGES[n] for n in kept]
    lost = [r for r in found if r.fault is not None]
    assert lost
    assert {r.fault.status for r in lost} == {Status.UNREADABLE}
    assert all("row group 1: " in r.fault.message for r in lost)


def repeated(path: Path, image: bytes, count: int, **more: pa.Array) -> Path:
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([image]))
    pq.write_table(
        pa.table({"image": column, **more}), path, compression="zstd", store_schema=False, row_group_size=count
    )
    return path


def test_a_file_that_claims_more_rows_than_it_has_bytes_is_one_row(tmp_path):
    path = repeated(tmp_path / "a.parquet", IMAGES[0], 2_000_000)
    (record,) = read(path)
    assert record.fault.status == Status.SHARD_UNREADABLE
    assert "claims 2000000 rows" in record.fault.message
    assert len(read(repeated(tmp_path / "b.parquet", IMAGES[0], 5000))) == 5000


def test_values_that_one_dictionary_entry_makes_large_are_decoded_a_few_at_a_time(tmp_path):
    names = pa.DictionaryArray.from_arrays(pa.array([0] * 12, pa.int32()), pa.array(["x" * (40 << 20)]))
    before = pa.total_allocated_bytes()
    for columns in ({}, {"label": names}):
        path = repeated(tmp_path / "a.parquet", bytes(40 << 20) if not columns else b"x", 12, **columns)
        (unit,) = plan(path)
        held = 0
        for _ in Parquet().read(unit, ReadSettings()):
            held = max(held, pa.total_allocated_bytes() - before)
        assert held < 8 * (40 << 20)


def test_a_page_that_claims_more_than_it_can_hold_is_refused_and_batches_shrink_to_what_may_be_held():
    def page(kind: int, decoded: int, stored: int) -> bytes:
        def number(value: int) -> bytes:
            value, out = value << 1, b""
            while value > 0x7F:
                out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
            return out + bytes([value])

        return b"\x15" + number(kind) + b"\x15" + number(decoded) + b"\x15" + number(stored) + b"\x00" + bytes(stored)

    assert parse_page(page(0, 1000, 10))[1:3] == (10, 1000)
    assert parse_page(b"\xff" * 90) is None

    def watched(data: bytes, rows: int) -> PageGuard:
        guard = PageGuard(io.BytesIO(data))
        guard.watch(rows)
        guard.read(len(data))
        return guard

    with pytest.raises(PageRefusedError, match="claims to hold 2000000000"):
        watched(page(0, 2_000_000_000, 100), 1)
    with pytest.raises(SmallerBatches, match="read 2 rows"):
        watched(page(2, BUDGET_BYTES // 2, 100), 64)
    with pytest.raises(SmallerBatches, match="read 1 rows"):
        watched(page(0, 60 << 20, 100) * 3, 64)
    assert watched(page(0, 60 << 20, 100) * 3, 1)
