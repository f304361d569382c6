"""Web servers, with and without ranges; fsspec's other stores; chains of them."""

import http.server
import io
import re
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractFileSystem
from PIL import Image

from fiqa_core import storage
from fiqa_core.curation.decisions.policy_file import read_policy
from fiqa_core.evaluation.pairs import read_pairs
from fiqa_core.models import read_embedded
from fiqa_core.networks.checkpoints import load_checkpoint
from fiqa_core.runs.plan import plan_dataset
from fiqa_core.storage import http as http_store
from fiqa_core.tables import load_quality
from pipelines import score_dataset
from pipelines.jobs.evaluation_sources import is_network


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the folder `root`; `ranges`, `sized` and `broken` say how."""

    root, ranges, sized, broken = "", True, True, 0
    asked: list[str]

    def __init__(self, *args: object) -> None:
        super().__init__(*args, directory=type(self).root)  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None:
        self.asked.append(f"{self.command} {self.path} {self.headers.get('Range', '')}")

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if type(self).broken:
            type(self).broken -= 1
            self.send_error(503)
            return
        if path.is_dir() or not path.exists() or self.path.endswith("/"):
            super().do_GET()
            return
        data, wanted = path.read_bytes(), re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        part = data
        if wanted and self.ranges:
            start, end = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
            part = data[start : end + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
        else:
            self.send_response(200)
        if self.sized:
            self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def do_HEAD(self) -> None:
        if self.sized:
            super().do_HEAD()
        else:
            self.send_error(501)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path, type[_Handler]]]:
    """Address, folder and handler of a server."""

    class Handler(_Handler):
        root, asked = str(tmp_path / "web"), []

    (tmp_path / "web").mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", tmp_path / "web", Handler
    server.shutdown()
    server.server_close()


def jpeg(seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (112, 112, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "JPEG")
    return out.getvalue()


def write_tar(path: Path, count: int = 3) -> None:
    with tarfile.open(path, "w") as tar:
        for number in range(count):
            info = tarfile.TarInfo(f"{number}.jpg")
            info.size = len(jpeg(number))
            tar.addfile(info, io.BytesIO(jpeg(number)))


@pytest.mark.parametrize("ranges", [True, False])
def test_a_shard_an_image_and_a_pattern_by_http_are_scored(web, ranges: bool, tmp_path: Path) -> None:
    base, folder, handler = web
    handler.ranges = ranges
    write_tar(folder / "faces.tar")
    (folder / "one.jpg").write_bytes(jpeg(9))
    output = str(tmp_path / "out")
    inputs = [f"{base}/faces.tar", f"{base}/one.jpg", f"{base}/f*.tar"]
    assert score_dataset.run(["--input", *inputs, "--output", output]) == 0
    table = pd.read_parquet(f"{output}/quality")
    assert (table.status == "scored").all()
    assert sorted(table.key) == ["0", "1", "2", "one.jpg"]
    assert load_quality(output).shape[0] == 4
    # The table itself can be read over http too.
    (folder / "t.parquet").write_bytes(next(Path(f"{output}/quality").glob("*.parquet")).read_bytes())
    assert len(load_quality(f"{base}/t.parquet")) in (1, 3)


def test_a_file_of_the_web_with_a_query_is_known_by_its_name(web, tmp_path: Path) -> None:
    base, folder, _ = web
    write_tar(folder / "faces.tar")
    output = str(tmp_path / "out")
    inputs = [f"{base}/faces.tar?download=true&sig=a%2Fb"]
    assert score_dataset.run(["--input", *inputs, "--output", output]) == 0
    assert len(load_quality(output)) == 3
    (folder / "t.parquet").write_bytes(next(Path(f"{output}/quality").glob("*.parquet")).read_bytes())
    assert len(load_quality(f"{base}/t.parquet?download=true")) == 3
    assert is_network(f"{base}/net.onnx?download=true")
    assert not is_network(f"{base}/table?name=net.onnx")


@pytest.mark.parametrize("ranges", [True, False])
def test_a_checkpoint_a_policy_and_a_pair_list_are_read_by_http(web, ranges: bool) -> None:
    base, folder, handler = web
    handler.ranges = ranges
    (folder / "net.safetensors").write_bytes(read_embedded())
    (folder / "policy.yaml").write_text("quality:\n  min: 0.25\n")
    (folder / "pairs.txt").write_text("a b 1\n")
    assert load_checkpoint(f"{base}/net.safetensors", embeddings=False).has_quality
    assert read_policy(f"{base}/policy.yaml").quality.min == 0.25
    assert len(read_pairs(f"{base}/pairs.txt")) == 1
    with pytest.raises(FileNotFoundError, match=r"nothing\.txt"):
        read_pairs(f"{base}/nothing.txt")


def test_every_file_that_a_page_links_to_is_found_in_folders_and_patterns(web) -> None:
    base, folder, _ = web
    for name in ("a.jpg", "sub/b.jpg", "sub/deep/c.jpg", ".hidden/d.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg(0))
    assert [found.path for found in storage.walk(base)] == [b"a.jpg", b"sub/b.jpg", b"sub/deep/c.jpg"]
    assert storage.is_folder(f"{base}/sub")
    assert not storage.is_folder(f"{base}/a.jpg")
    assert storage.stat(f"{base}/sub") is None
    assert [file.url for file in storage.expand_glob(f"{base}/sub/*.jpg")] == [f"{base}/sub/b.jpg"]


def test_a_server_without_ranges_is_said_to_be_that_and_small_files_still_work(web, monkeypatch) -> None:
    base, folder, handler = web
    handler.ranges = False
    monkeypatch.setattr(http_store, "WHOLE_BYTES", 1 << 20)
    (folder / "small.bin").write_bytes(np.random.default_rng(0).bytes(1 << 20))
    assert storage.read_bytes(f"{base}/small.bin") == (folder / "small.bin").read_bytes()
    (folder / "large.tar").write_bytes(bytes((1 << 20) + 1))
    with (
        pytest.raises(storage.StorageError, match=r"large\.tar: this server sends whole files only"),
        storage.open_read(f"{base}/large.tar") as stream,
    ):
        stream.read(512)


def test_a_server_that_tells_no_sizes_is_read_and_a_changed_file_is_seen(web, monkeypatch) -> None:
    base, folder, handler = web
    handler.sized = handler.ranges = False
    for content in (b"first", b"second one"):
        (folder / "a.txt").write_bytes(content)
        assert storage.read_bytes(f"{base}/a.txt") == content


def test_a_passing_fault_of_a_server_is_tried_again(web, monkeypatch) -> None:
    base, folder, handler = web
    monkeypatch.setattr("fiqa_core.storage.retry._policy", storage.RetryPolicy(first_wait_s=0.01, longest_wait_s=0.02))
    (folder / "a.bin").write_bytes(bytes(range(256)))
    handler.broken = 2
    assert storage.read_bytes(f"{base}/a.bin") == bytes(range(256))


class _FileOnly(AbstractFileSystem):
    """As ftp, sftp, webhdfs and github are: `find` of a file gives neither its type nor its name."""

    protocol = "plainfiles"
    files = {"faces.tar": b""}  # noqa: RUF012

    def info(self, path: str, **_: object) -> dict[str, object]:
        path = self._strip_protocol(path)
        if path in self.files:
            return {"name": path, "type": "file", "size": len(self.files[path])}
        raise FileNotFoundError(path)

    def ls(self, path: str, detail: bool = True, **_: object) -> list[object]:
        return [self.info(path)] if detail else [path]

    def _open(self, path: str, *_: object, **__: object) -> io.BytesIO:
        return io.BytesIO(self.files[path])


def test_one_file_of_any_other_store_is_an_input(tmp_path: Path) -> None:
    fsspec.register_implementation("plainfiles", _FileOnly, clobber=True)
    write_tar(tmp_path / "faces.tar")
    _FileOnly.files["faces.tar"] = (tmp_path / "faces.tar").read_bytes()
    units = plan_dataset(["plainfiles://faces.tar"], "auto", 100, str(tmp_path / "plan")).units
    assert [unit.shard for unit in units] == ["plainfiles://faces.tar"]


@pytest.mark.parametrize(
    "uri",
    [
        "zip://*/*.jpg::{}/faces.zip",
        "zip://{}/faces.zip",
        "tar://a.jpg::{}/faces.tar",
        "simplecache::{}/faces.tar",
        "simplecache::memory://faces.tar",
        "blockcache::http://127.0.0.1:1/faces.tar",
        "filecache::file://{}/faces.tar",
        "dir::memory://faces",
        "memory://a::memory://b",
        "reference://a",
    ],
)
def test_a_chain_of_file_systems_is_refused_with_a_sentence_by_every_reader(uri: str, tmp_path: Path, caplog) -> None:
    uri = uri.format(tmp_path)
    readers = (
        read_policy, read_pairs, load_quality, load_checkpoint,
        storage.read_bytes, storage.open_read, storage.list_names,
    )  # fmt: skip
    for read in readers:
        with pytest.raises((ValueError, OSError), match="a chain of file systems"):
            read(uri)
    assert score_dataset.run(["--input", uri, "--output", str(tmp_path / "out")]) == 2
    if uri.startswith("zip://"):  # as images, the members of an archive are read
        assert f"{uri}: there is no file {tmp_path}/faces.zip" in caplog.text
    else:
        assert f"{uri}: a chain of file systems" in caplog.text


def test_two_colons_in_a_name_are_no_chain(tmp_path: Path) -> None:
    (tmp_path / "a::b.txt").write_bytes(b"1")
    assert storage.read_bytes(f"{tmp_path}/a::b.txt") == b"1"
    MemoryFileSystem.store.clear()


def test_braces_and_lists_of_urls_by_http_are_inputs(web, tmp_path: Path) -> None:
    base, folder, _ = web
    for number in range(3):
        write_tar(folder / f"s-{number:06d}.tar", 2)
        (folder / f"{number}.jpg").write_bytes(jpeg(number))
    shards = [f"{base}/s-{number:06d}.tar" for number in range(3)]
    plan = str(tmp_path / "plan")
    assert [u.shard for u in plan_dataset([f"{base}/s-{{000000..000002}}.tar"], "auto", 9, plan).units] == shards
    with pytest.raises(ValueError, match=r"s-000003\.tar: no such file"):
        plan_dataset([f"{base}/s-{{000000..000003}}.tar"], "auto", 9, plan)
    (folder / "shards.txt").write_text("s-000000.tar\ns-{000001..000002}.tar\n")
    assert [u.shard for u in plan_dataset([f"{base}/shards.txt"], "auto", 9, plan).units] == shards
    (tmp_path / "urls.txt").write_text(f"{base}/0.jpg?size=full\n{base}/gone.jpg\n{base}/2.jpg\n")
    (folder / "list.csv").write_text(f"path,label\n0.jpg,Ann\n{base}/2.jpg,Bob\nhttp://127.0.0.1:9/3.jpg,Eve\n")
    output = str(tmp_path / "out")
    inputs = [str(tmp_path / "urls.txt"), f"{base}/list.csv"]
    assert score_dataset.run(["--input", *inputs, "--output", output]) == 0
    table = pd.read_parquet(f"{output}/quality").sort_values(["shard", "index"])
    status = dict(zip(zip(table.shard, table["index"], strict=True), table.status.astype(str), strict=True))
    assert [status[inputs[0], index] for index in range(3)] == ["scored", "unreadable", "scored"]
    assert [status[inputs[1], index] for index in range(3)] == ["scored", "scored", "unsafe_name"]
    assert list(table[table.shard == inputs[1]].label) == ["Ann", "Bob", "Eve"]
