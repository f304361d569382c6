"""A file that several connections read ahead of its reader, and a tar in a bucket that is cut so."""

import io
import os
import re

import pytest

from fiqa_core import storage
from fiqa_core.runs.plan import plan_dataset
from fiqa_core.shards.formats import container_of
from fiqa_core.shards.unit import ReadSettings
from tests.makers.containers import write_tar
from tests.makers.images import png_bytes
from tests.stores.conftest import Bucket, independent_client
from tests.stores.fault_proxy import Seeded

BIG = os.urandom(1 << 20) * 21 + os.urandom(12345)


@pytest.fixture
def big(bucket: Bucket) -> str:
    url = f"{bucket.uri}/in/big.bin"
    independent_client(url).pipe_file(url, BIG)
    bucket.proxy.reset()
    return url


def test_a_file_read_ahead_has_all_bytes_in_order_each_range_fetched_once(big, bucket):
    with storage.open_ahead(big) as stream:
        assert b"".join(iter(lambda: stream.read(100_000), b"")) == BIG
        assert stream.read(1) == b""
    ranges = [seen.range for seen in bucket.proxy.seen if seen.range]
    assert len(ranges) == len(set(ranges)) == 11


def test_jumps_forwards_and_back_find_the_right_bytes(big):
    with storage.open_ahead(big) as stream:
        for at in (20 << 20, 5, 3 << 20, (22 << 20) - 100_000, len(BIG) - 7, 0):
            stream.seek(at)
            assert stream.read(1000) == BIG[at : at + 1000]
        assert stream.seek(-3, io.SEEK_END) == len(BIG) - 3
        assert stream.read() == BIG[-3:]


def test_faults_while_reading_ahead_give_no_wrong_byte_and_a_changed_file_is_an_error(big, bucket):
    bucket.proxy.plan = plan = Seeded(seed=7, rate=0.2)
    with storage.open_ahead(big) as stream:
        assert stream.read() == BIG
    assert plan.kinds
    bucket.proxy.reset()
    planned = storage.stat(big)
    independent_client(big).pipe_file(big, BIG[:-5])
    with pytest.raises(storage.StorageError, match="changed since"):
        storage.open_ahead(big, planned.version)
    with storage.open_ahead(big) as stream:
        stream.read(10)
        independent_client(big).pipe_file(big, BIG[:-9])
        with pytest.raises(storage.StorageError, match=re.escape(big)):
            stream.read()


def test_a_tar_in_a_bucket_is_cut_and_its_index_lies_beside_the_plan_there(bucket, tmp_path):
    url, plan = f"{bucket.uri}/in/faces.tar", f"{bucket.uri}/out/plan"
    storage.publish(write_tar(tmp_path / "t.tar", [(f"{n:03d}.png", png_bytes(n, 40)) for n in range(30)]), url)
    units = plan_dataset([url], "auto", 7, plan).units
    assert [unit.records for unit in units] == [7, 7, 7, 7, 2]
    assert units[0].listing.startswith(plan)
    found = [record for unit in units for record in container_of(unit).read(unit, ReadSettings())]
    assert [(record.key, record.index, record.data) for record in found] == [
        (f"{n:03d}", n, png_bytes(n, 40)) for n in range(30)
    ]
    bucket.proxy.reset()
    assert plan_dataset([url], "auto", 7, plan).units == units
    assert not any("in/faces.tar" in seen.path for seen in bucket.proxy.seen if seen.range)
