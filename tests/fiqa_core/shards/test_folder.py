"""Files of a folder as records: their hashes, whatever their size."""

import hashlib
import os
from pathlib import Path

import pytest

from fiqa_core.runs.plan import plan_dataset
from fiqa_core.shards import image_file as module
from fiqa_core.shards.folder.reader import Folder
from fiqa_core.shards.unit import ReadSettings, Record


def records(root: Path, limit: int) -> dict[str, Record]:
    (unit,) = plan_dataset([str(root)], "folder", 1000, str(root.parent / "plan")).units
    return {record.key: record for record in Folder().read(unit, ReadSettings(max_stored_bytes=limit))}


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


def test_a_file_over_the_limit_is_hashed_as_it_streams_by(root):
    data = os.urandom(3 << 20)
    for size in (1000, 1001, len(data)):
        (root / f"{size}.jpg").write_bytes(data[:size])
    found = records(root, 1000)
    assert found["1000.jpg"].data == data[:1000]
    for size in (1001, len(data)):
        record = found[f"{size}.jpg"]
        assert record.data is None
        assert record.fault.message == f"{size} stored bytes; the limit is 1000"
        assert record.sha256 == hashlib.sha256(data[:size]).digest()


def test_a_sparse_file_of_any_size_does_not_hold_the_run_up(root, monkeypatch):
    monkeypatch.setattr(module, "MAX_HASHED_BYTES", 4 << 20)
    with (root / "a.jpg").open("wb") as stream:
        stream.truncate(1 << 40)
    record = records(root, 1000)["a.jpg"]
    assert (record.fault.status.value, record.sha256) == ("too_large", None)
    assert "more than 4194304 stored bytes" in record.fault.message


def test_a_pipe_is_a_row_and_is_not_waited_for(root):
    os.mkfifo(root / "a.jpg")
    record = records(root, 1000)["a.jpg"]
    assert (record.fault.status.value, record.fault.message) == ("unreadable", "not a regular file")
