"""A footer whose column chunk pyarrow cannot be asked for without ending the process (std::terminate, pyarrow 25)."""

import io
import struct
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq

COUNT, GROUP = 20, 10
READ = """
import sys
from fiqa_core.shards.parquet.reader import Parquet
from fiqa_core.runs.plan import plan_dataset
from fiqa_core.shards.unit import ReadSettings
plan = plan_dataset([sys.argv[2]], "parquet", 1000, sys.argv[1], ReadSettings())
for unit in plan.units:
    for record in Parquet().read(unit, ReadSettings()):
        print(record.index, "lost" if record.data is None else record.data.decode())
"""


def damaged_size_statistics() -> bytes:
    """A file of two row groups; the first one's level histograms have other lengths than its column's levels."""
    out = io.BytesIO()
    table = pa.table({"image": [b"image %d" % n for n in range(COUNT)]})
    pq.write_table(table, out, use_dictionary=False, compression="none", store_schema=False, row_group_size=GROUP)
    data = bytearray(out.getvalue())
    footer = len(data) - 8 - struct.unpack("<I", data[-8:-4])[0]
    # SizeStatistics in Thrift's compact protocol: `repetition_level_histogram` is a list of no int64,
    # `definition_level_histogram` one of two; the same bytes as two lists of one parse as well.
    at = data.index(b"\x19\x06\x19\x26\x00\x14", footer)
    data[at : at + 6] = b"\x19\x16\x00\x19\x16\x14"
    return bytes(data)


def test_a_footer_that_pyarrow_dies_of_costs_its_row_group_and_no_process(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(damaged_size_statistics())
    assert pq.read_metadata(path).row_group(0).num_rows == GROUP  # it parses; .column(0) would end this process
    command = [sys.executable, "-c", READ, str(tmp_path / "w"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    expected = [f"{n} lost" if n < GROUP else f"{n} image {n}" for n in range(COUNT)]
    assert done.stdout.splitlines() == expected
