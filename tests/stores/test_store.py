"""One store at a time, on real emulator servers: listing, ranged reads, publishing, and what faults do to them."""

import importlib
import io
import logging
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fiqa_core import storage
from fiqa_core.runs.plan import plan_dataset
from fiqa_core.shards.formats import container_of
from fiqa_core.shards.unit import ReadSettings
from fiqa_core.storage import DeniedError, GaveUpError, MissingError, RetryPolicy, StorageError
from fiqa_core.storage.google import GoogleStore
from fiqa_core.storage.reading import BLOCK_BYTES
from tests.makers.containers import FaceRecord, write_parquet_pyarrow, write_tar
from tests.stores.conftest import QUICK, Bucket, independent_client
from tests.stores.fault_proxy import FirstThen, Seeded, gets

ROOT = Path(__file__).resolve().parents[2]
BIG = os.urandom(1 << 20) * 10 + os.urandom(12345)  # three blocks: a short read or a swapped block would be seen


def uploads(method: str, path: str) -> bool:
    return "upload" in path.lower() if method == "POST" else method == "PUT"


@pytest.fixture
def big(bucket) -> str:
    url = f"{bucket.uri}/in/big.bin"
    independent_client(url).pipe_file(url, BIG)
    bucket.proxy.reset()
    return url


def test_listing_walks_globs_and_names_files_without_a_question_per_file(bucket: Bucket):
    other = independent_client(bucket.uri)
    for name in ("a/1.jpg", "a-b/2.jpg", "a/.hidden.jpg", ".git/3.jpg", "t-0.tar", "t-1.tar", "a/b/4.jpg"):
        other.pipe_file(f"{bucket.uri}/in/{name}", name.encode())
    bucket.proxy.reset()
    walked = list(storage.walk(f"{bucket.uri}/in"))
    assert [file.path for file in walked] == [b"a-b/2.jpg", b"a/1.jpg", b"a/b/4.jpg", b"t-0.tar", b"t-1.tar"]
    assert [file.size for file in walked] == [len(file.path) for file in walked]
    assert all(file.version for file in walked)
    assert len(bucket.proxy.seen) == 1
    found = storage.expand_glob(f"{bucket.uri}/in/t-*.tar")
    assert [file.url for file in found] == [f"{bucket.uri}/in/t-0.tar", f"{bucket.uri}/in/t-1.tar"]
    assert [(file.size, file.version) for file in found] == [(file.size, file.version) for file in walked[-2:]]
    assert len(bucket.proxy.seen) == 2
    assert [file.url for file in storage.expand_glob(f"{bucket.uri}/in/**/4.jpg")] == [f"{bucket.uri}/in/a/b/4.jpg"]
    assert storage.list_names(f"{bucket.uri}/in") == [".git", "a", "a-b", "t-0.tar", "t-1.tar"]
    assert storage.is_folder(f"{bucket.uri}/in")
    assert not storage.is_folder(f"{bucket.uri}/in/t-0")
    assert storage.stat(f"{bucket.uri}/in/t-0.tar") == found[0]
    assert storage.stat(f"{bucket.uri}/in/a") is None


def test_a_folder_of_more_than_a_page_is_listed_whole_and_in_order(amazon: Bucket, monkeypatch):
    """S3 only: the GCS emulator answers with everything, whatever page size is asked for."""
    monkeypatch.setattr(importlib.import_module("fiqa_core.storage.amazon"), "_PAGE", 4)
    other = independent_client(amazon.uri)
    for number in range(11):
        other.pipe_file(f"{amazon.uri}/many/{number:02}.jpg", b"x")
    amazon.proxy.reset()
    assert [file.path for file in storage.walk(f"{amazon.uri}/many")] == [f"{n:02}.jpg".encode() for n in range(11)]
    assert len(amazon.proxy.seen) == 3


def test_pages_of_google_s_listing_are_followed(monkeypatch):
    """With answers as the JSON API documents them, because the emulator gives no pages."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    store = GoogleStore()
    pages = {
        None: {"items": [{"name": "in/a", "size": "1", "generation": "5"}], "nextPageToken": "more"},
        "more": {"items": [{"name": "in/b", "size": "2", "generation": "6"}], "prefixes": ["in/c/"]},
    }
    monkeypatch.setattr(store._fs, "call", lambda *_, pageToken, **__: pages[pageToken])  # noqa: N803
    assert sorted(store.entries("bucket/in/", deep=False)) == [
        ("bucket/in/a", 1, "5"),
        ("bucket/in/b", 2, "6"),
        ("bucket/in/c/", -1, ""),
    ]


def test_what_another_process_publishes_or_removes_is_seen_at_once(bucket: Bucket):
    url = f"{bucket.uri}/out/quality/part-0.parquet"
    assert storage.list_names(f"{bucket.uri}/out/quality") == []
    assert not storage.exists(url)
    independent_client(url).pipe_file(url, b"x")
    assert storage.exists(url)
    assert storage.list_names(f"{bucket.uri}/out/quality") == ["part-0.parquet"]
    independent_client(url).rm_file(url)
    assert not storage.exists(url)
    assert storage.list_names(f"{bucket.uri}/out/quality") == []


def test_a_stream_is_read_forwards_in_blocks_each_fetched_once(big, bucket):
    with storage.open_read(big) as stream:
        head = stream.read(512)
        fetched = sum(seen.sent for seen in bucket.proxy.seen)
        rest = iter(lambda: stream.read(100_000), b"")
        assert head + b"".join(rest) == BIG
    assert fetched <= 2 * BLOCK_BYTES  # the first block, perhaps the one ahead of it; never the file
    ranges = [seen.range for seen in bucket.proxy.seen if seen.range]
    assert len(ranges) == len(set(ranges)) == 3
    assert storage.read_bytes(big) == BIG


def test_few_bytes_of_a_large_file_cost_few_bytes(big, bucket):
    with storage.open_read(big, block_bytes=64 << 10) as stream:
        stream.seek(-8, io.SEEK_END)
        assert stream.read() == BIG[-8:]
    assert sum(seen.sent for seen in bucket.proxy.seen) <= 128 << 10


def test_reading_a_large_shard_takes_a_bounded_share_of_memory(bucket, tmp_path):
    url = f"{bucket.uri}/in/shard.tar"
    shard = write_tar(tmp_path / "shard.tar", [(f"{n}.jpg", BIG[n : n + (1 << 20)]) for n in range(80)])
    storage.publish(shard, url)
    code = (
        "import resource, sys\n"
        "from fiqa_core import storage\n"
        "from fiqa_core.runs.plan import plan_dataset\n"
        "from fiqa_core.shards.formats import container_of\n"
        "from fiqa_core.shards.unit import ReadSettings\n"
        "(unit,) = plan_dataset([sys.argv[1]], 'auto', 1000, sys.argv[2]).units\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "count = sum(len(record.data) == 1 << 20 for record in container_of(unit).read(unit, ReadSettings()))\n"
        "print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    argv = [sys.executable, "-c", code, url, str(tmp_path)]
    answer = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    count, grown_kib = map(int, answer.split())
    assert count == 80
    assert grown_kib < 48 << 10  # of a shard of 80 MiB: five blocks of 4 MiB, and what the HTTP client holds


def test_parquet_units_fetch_their_own_row_groups_about_once(bucket, tmp_path):
    records = [FaceRecord(f"{n}", n, BIG[n : n + (200 << 10)]) for n in range(160)]
    path = write_parquet_pyarrow(tmp_path / "faces.parquet", records, "binary", row_group_size=40)
    url = f"{bucket.uri}/in/faces.parquet"
    storage.publish(path, url)
    bucket.proxy.reset()
    units = plan_dataset([url], "auto", 80, str(tmp_path)).units
    assert [unit.records for unit in units] == [80, 80]
    assert sum(seen.sent for seen in bucket.proxy.seen) < 1 << 20  # planning reads the footer
    bucket.proxy.reset()
    for record in container_of(units[1]).read(units[1], ReadSettings()):
        assert record.data == records[record.index].data
    half = path.stat().st_size // 2
    assert sum(seen.sent for seen in bucket.proxy.seen) <= half + 4 * BLOCK_BYTES


@pytest.mark.parametrize("kind", ["parquet", "tar.gz", "folder"])
def test_a_store_that_fails_half_way_never_becomes_a_row(bucket, tmp_path, kind):
    # The last byte: gcsfs puts a bare line feed after a small upload, with which the emulator takes a final CR away.
    records = [FaceRecord(f"{n}", n, BIG[n : n + (200 << 10)] + b".") for n in range(60)]
    for record in records:
        (tmp_path / "folder" / record.name).parent.mkdir(exist_ok=True)
        (tmp_path / "folder" / record.name).write_bytes(record.data)
    write_parquet_pyarrow(tmp_path / "faces.parquet", records, "binary", row_group_size=60)
    with tarfile.open(tmp_path / "faces.tar.gz", "w:gz", compresslevel=0) as archive:
        archive.add(tmp_path / "folder", ".")
    source = {"parquet": "faces.parquet", "tar.gz": "faces.tar.gz", "folder": "folder"}[kind]
    for path in [tmp_path / source] if kind != "folder" else (tmp_path / "folder").iterdir():
        storage.publish(path, f"{bucket.uri}/in/{path.name}")
    (unit,) = plan_dataset([f"{bucket.uri}/in"], "auto", 100, str(tmp_path)).units
    contents = iter(range(10**6))
    # The first answers with content pass; after those, none does.
    bucket.proxy.plan = FirstThen(lambda *request: gets(*request) and next(contents) >= 2, ["503"] * 10_000)
    seen = []
    with pytest.raises(GaveUpError, match=re.escape(bucket.uri)):
        seen.extend(container_of(unit).read(unit, ReadSettings()))
    bucket.proxy.reset()
    assert all(record.fault is None for record in seen)


def test_images_of_a_folder_are_one_request_each_and_many_at_once(bucket, tmp_path):
    for number in range(60):
        independent_client(bucket.uri).pipe_file(f"{bucket.uri}/in/{number:02}.jpg", b"%d" % number)
    (unit,) = plan_dataset([f"{bucket.uri}/in"], "auto", 100, str(tmp_path)).units
    bucket.proxy.reset()
    bucket.proxy.delay_s = 0.05
    records = list(container_of(unit).read(unit, ReadSettings()))
    assert [record.data for record in records] == [b"%d" % number for number in range(60)]
    assert [record.key for record in records] == [f"{number:02}.jpg" for number in range(60)]
    assert len(bucket.proxy.seen) == 60
    assert 8 <= bucket.proxy.most_at_once <= 64


@pytest.mark.parametrize("fault", ["503", "429", "reset", "cut", "stall"])
def test_a_passing_fault_is_logged_and_costs_no_byte(big, bucket, fault, caplog):
    bucket.proxy.plan = FirstThen(gets, [fault, fault])
    with storage.open_read(big) as stream:
        assert stream.read() == BIG
    assert [seen.fault for seen in bucket.proxy.seen].count(fault) == 2
    warnings = [r for r in caplog.records if r.name == "fiqa_core.storage.retry" and r.levelno == logging.WARNING]
    # aiohttp itself repeats, once, a request whose kept-alive connection was closed: as if it had never been sent.
    assert len(warnings) >= (1 if fault == "reset" else 2)
    assert "attempt 1 of 5" in warnings[0].getMessage()


def test_faults_at_random_never_give_a_wrong_or_short_byte(big, bucket):
    bucket.proxy.plan = plan = Seeded(seed=7, rate=0.4)
    for _ in range(4):
        with storage.open_read(big) as stream:
            assert stream.read() == BIG
        assert storage.read_bytes(big) == BIG
    assert plan.kinds.total() >= 5


def test_a_fault_that_stays_ends_in_bounded_attempts_with_the_place_named(big, bucket):
    bucket.proxy.plan = FirstThen(gets, ["503"] * 100)
    with storage.open_read(big) as stream, pytest.raises(GaveUpError, match=re.escape(big)) as caught:
        stream.read()
    assert "after 5 attempts" in str(caught.value)
    # The reader's block and the one fetched ahead: five requests each, and no client's own retries on top.
    assert len([seen for seen in bucket.proxy.seen if seen.fault]) <= 2 * QUICK.attempts


@pytest.fixture
def other_policy() -> Iterator[None]:
    storage.forget_stores()
    yield
    storage.set_policy(QUICK)
    storage.forget_stores()


def test_the_time_for_all_attempts_is_bounded_too(big, bucket, other_policy):
    storage.set_policy(RetryPolicy(attempts=50, first_wait_s=0.2, longest_wait_s=0.2, total_s=0.5, stall_s=1))
    bucket.proxy.plan = FirstThen(lambda *_: True, ["503"] * 100)
    with pytest.raises(GaveUpError, match=r"after [1-9] attempts"):
        storage.stat(big)


def test_what_cannot_pass_fails_at_once_and_says_what_to_do(big, bucket):
    for refusal in ("401", "403"):
        bucket.proxy.plan = FirstThen(lambda *_: True, [refusal])
        with pytest.raises(DeniedError, match=re.escape(big)) as caught:
            storage.stat(big)
    assert ("gcloud auth" if big.startswith("gs") else "AWS_PROFILE") in str(caught.value)
    with pytest.raises(MissingError, match="no-such-file"):
        storage.open_read(f"{bucket.uri}/no-such-file")
    bucket.proxy.reset()
    with pytest.raises(MissingError, match="no-such-bucket-9"):
        storage.list_names(f"{bucket.uri.partition('://')[0]}://no-such-bucket-9/out")
    assert len(bucket.proxy.seen) == 1
    with pytest.raises(StorageError, match="names no bucket"):
        storage.list_names(f"{bucket.uri.partition('://')[0]}://")


def test_a_shard_replaced_while_it_is_read_is_an_error_and_never_an_early_end(big, bucket):
    planned = storage.stat(big)
    assert planned is not None
    with storage.open_read(big, planned.version) as stream:
        stream.read(10)
        independent_client(big).pipe_file(big, BIG[: BLOCK_BYTES + 5])
        with pytest.raises(StorageError, match=re.escape(big)):
            stream.read()
    with pytest.raises(StorageError, match="changed since the run was planned"):
        storage.open_read(big, planned.version)


def test_a_small_file_is_one_request_and_another_size_than_listed_is_an_error(bucket):
    url = f"{bucket.uri}/in/a.jpg"
    for data in (b"0123456789", b""):
        independent_client(url).pipe_file(url, data)
        bucket.proxy.reset()
        assert storage.read_small(url, len(data)) == data
        assert len(bucket.proxy.seen) == 1
    independent_client(url).pipe_file(url, b"0123456789")
    for listed in (9, 11, 0):
        with pytest.raises(StorageError, match="changed"):
            storage.read_small(url, listed)
    with pytest.raises(MissingError):
        storage.read_small(f"{bucket.uri}/in/b.jpg", 5)


def test_publishing_is_whole_or_nothing_whatever_happens_on_the_way(bucket, tmp_path):
    url = f"{bucket.uri}/out/quality/part.parquet"
    source = tmp_path / "part"
    source.write_bytes(BIG)
    for fault in ("503", "429", "reset", "cut", "stall"):
        bucket.proxy.plan = FirstThen(uploads, [fault])
        storage.publish(source, url)
        assert independent_client(url).cat_file(url) == BIG
        storage.remove(url)
        assert not independent_client(url).exists(url)
    bucket.proxy.plan = FirstThen(uploads, ["503"] * 100)
    with pytest.raises(GaveUpError, match=re.escape(url)):
        storage.publish(source, url)
    bucket.proxy.reset()
    assert not independent_client(url).exists(url)


def test_publishing_twice_leaves_one_whole_file(bucket):
    url = f"{bucket.uri}/out/run.json"
    for _ in range(2):
        storage.publish_bytes(b"{}", f"{bucket.uri}/out", url)
    assert independent_client(url).cat_file(url) == b"{}"
    assert storage.list_names(f"{bucket.uri}/out") == ["run.json"]


def test_a_large_upload_in_parts_that_fails_is_dropped_and_never_seen(amazon, tmp_path):
    """S3 only: GCS forgets a broken resumable upload by itself, and the emulator takes 66 s to abort one."""
    url = f"{amazon.uri}/out/large.bin"
    source = tmp_path / "large"
    source.write_bytes(b"x" * (33 << 20))
    parts: list[str] = []

    def third_part(method: str, path: str) -> bool:
        parts.append(path)
        return "partNumber=3" in path

    amazon.proxy.plan = FirstThen(third_part, ["503"] * 100)
    with pytest.raises(GaveUpError):
        storage.publish(source, url)
    amazon.proxy.reset()
    assert any("partNumber=1" in path for path in parts)
    assert not storage.exists(url)
    assert storage.sweep(f"{amazon.uri}/out") == 0  # nothing was left
    amazon.proxy.plan = FirstThen(lambda method, path: method == "POST" and "uploadId=" in path, ["cut"])
    storage.publish(source, url)  # the answer to its last step is lost
    assert [seen.fault for seen in amazon.proxy.seen].count("cut") == 1
    assert independent_client(url).info(url)["size"] == 33 << 20


def test_the_parts_of_a_killed_process_s_upload_are_swept_and_others_are_not(amazon):
    client = independent_client(amazon.uri)
    name = amazon.uri.removeprefix("s3://")
    for key in ("out/quality/part-1.parquet", "outside/part-2.parquet"):
        upload = client.call_s3("create_multipart_upload", Bucket=name, Key=key)
        client.call_s3("upload_part", Bucket=name, Key=key, UploadId=upload["UploadId"], PartNumber=1, Body=b"x" * 10)
    assert storage.sweep(f"{amazon.uri}/out") == 1
    left = client.call_s3("list_multipart_uploads", Bucket=name).get("Uploads", [])
    assert [upload["Key"] for upload in left] == ["outside/part-2.parquet"]


def test_local_temporaries_of_a_killed_writer_to_a_bucket_are_swept(amazon, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    output = f"{amazon.uri}/out"
    code = (
        "import os, signal, sys, tempfile; tempfile.tempdir = sys.argv[1]\n"
        "from fiqa_core.storage import temporary_for\n"
        "with temporary_for(sys.argv[2]) as path:\n"
        "    path.write_bytes(b'x')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path), output], cwd=ROOT, check=False)
    assert len(list(tmp_path.glob("fiqa-*"))) == 1
    with storage.temporary_for(output) as alive:
        alive.write_bytes(b"mine")
        assert storage.sweep(output) == 0  # the killed one went when this process began to write
        assert alive.read_bytes() == b"mine"
    assert not list(tmp_path.glob("fiqa-*"))


def test_a_bucket_that_does_not_let_broken_uploads_be_listed_does_not_stop_a_run(amazon, caplog):
    amazon.proxy.plan = FirstThen(lambda _, path: "uploads" in path, ["403"])
    assert storage.sweep(f"{amazon.uri}/out") == 0
    assert "left-over uploads were not looked for" in caplog.text


def test_removing_takes_a_whole_folder_and_nothing_beside_it(bucket):
    other = independent_client(bucket.uri)
    for name in ("out/a", "out/b/c", "outside"):
        other.pipe_file(f"{bucket.uri}/{name}", b"x")
    storage.remove(f"{bucket.uri}/out")
    storage.remove(f"{bucket.uri}/not-there")
    assert storage.list_names(bucket.uri) == ["outside"]


def test_s3_without_its_package_names_the_extra(monkeypatch, other_policy):
    monkeypatch.setitem(sys.modules, "s3fs.core", None)
    monkeypatch.delitem(sys.modules, "fiqa_core.storage.amazon", raising=False)
    with pytest.raises(StorageError, match=r"pip install -e '\.\[s3\]'"):
        storage.stat("s3://bucket/shard.tar")


def test_missing_credentials_are_named_before_any_request(amazon, monkeypatch, other_policy):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(DeniedError, match="AWS_PROFILE"):
        storage.stat(f"{amazon.uri}/x")
    assert not amazon.proxy.seen


def test_a_store_that_cannot_publish_whole_files_is_refused_as_output():
    with pytest.raises(StorageError, match="can be read, but not written to"):
        storage.publish_bytes(b"x", "http://127.0.0.1:1/out", "http://127.0.0.1:1/out/run.json")
