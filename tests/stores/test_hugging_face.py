"""hf:// by the genuine huggingface_hub, against a server on loopback that answers as the Hub does."""

import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from urllib.parse import parse_qs, unquote, urlsplit

import fsspec
import pandas as pd
import pytest

from fiqa_core.runs.plan import plan_dataset
from fiqa_core.storage import DeniedError, MissingError, forget_stores, open_read, stat
from pipelines import score_dataset
from tests.fakes import MeanScorerSource
from tests.makers.containers import face_records, write_parquet_pyarrow, write_webdataset

FACES = face_records(8, size=24)
pytest.importorskip("huggingface_hub")


class _Hub(http.server.BaseHTTPRequestHandler):
    """One dataset repository `ann/faces` with the branch `main`; `gated`: reading its files is refused."""

    files: dict[str, bytes]
    gated = False

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        path = unquote(place.path)
        if found := re.fullmatch(r"/api/datasets/ann/faces/tree/main/?(.*)", path):
            return self._json(self._tree(found[1], parse_qs(place.query).get("recursive") in (["True"], ["true"])))
        if re.fullmatch(r"/api/datasets/ann/faces(/revision/main)?", path):
            return self._json({"id": "ann/faces", "sha": "0" * 40, "siblings": [], "private": False, "tags": []})
        if found := re.fullmatch(r"/datasets/ann/faces/resolve/main/(.*)", path):
            return self._file(found[1])
        return self._error(404, "RepoNotFound")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        paths = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body).get("paths", [])
        paths = [paths] if isinstance(paths, str) else paths
        self._json([entry for entry in self._tree("", True) if entry["path"] in paths])

    def _tree(self, folder: str, deep: bool) -> list[dict[str, object]]:
        below = folder and folder + "/"
        entries: dict[str, dict[str, object]] = {}
        for name, data in sorted(self.files.items()):
            if not name.startswith(below):
                continue
            parts = name[len(below) :].split("/")
            for count in range(1, len(parts)):
                path = below + "/".join(parts[:count])
                entries[path] = {"type": "directory", "path": path, "oid": "1" * 40, "size": 0}
            if deep or len(parts) == 1:
                oid = hashlib.sha1(data).hexdigest()
                entries[name] = {"type": "file", "path": name, "oid": oid, "size": len(data)}
        return [entry for path, entry in entries.items() if deep or "/" not in path[len(below) :]]

    def _file(self, name: str) -> None:
        if self.gated:
            return self._error(403, "GatedRepo")
        data = self.files.get(name)
        if data is None:
            return self._error(404, "EntryNotFound")
        start, end = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups()
        part = data[int(start) : int(end) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{int(start) + len(part) - 1}/{len(data)}")
        return self._send(part)

    def _json(self, value: object) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self._send(json.dumps(value).encode())

    def _error(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self._send(b"{}")

    def _send(self, data: bytes) -> None:
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def hub(monkeypatch) -> Iterator[type[_Hub]]:
    class Hub(_Hub):
        files: dict[str, bytes] = {}  # noqa: RUF012

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = {"endpoint": f"http://127.0.0.1:{server.server_port}", "token": False}
    monkeypatch.setitem(fsspec.config.conf, "hf", endpoint)
    forget_stores()
    yield Hub
    server.shutdown()
    server.server_close()
    forget_stores()


def test_shards_of_a_repository_are_planned_and_scored_by_folder_pattern_and_name(hub, tmp_path):
    for path in write_webdataset(tmp_path / "faces-%06d.tar", FACES[:6], maxcount=3):
        hub.files[f"data/{path.name}"] = path.read_bytes()
    write_parquet_pyarrow(tmp_path / "more.parquet", FACES[6:])
    hub.files |= {"more.parquet": (tmp_path / "more.parquet").read_bytes(), "README.md": b"# faces"}
    base = "hf://datasets/ann/faces"
    first, second = f"{base}/data/faces-000000.tar", f"{base}/data/faces-000001.tar"
    for named in (f"{base}/data", f"{base}/data/*.tar", f"{base}/data/faces-{{000000..000001}}.tar"):
        assert [u.shard for u in plan_dataset([named], "auto", 10, str(tmp_path / "plan")).units] == [first, second]
    output = tmp_path / "out"
    arguments = ["--input", f"{base}/data", f"{base}/more.parquet", "--output", str(output)]
    assert score_dataset.run(arguments, MeanScorerSource()) == 0
    table = pd.read_parquet(output / "quality")
    assert (table.status == "scored").all()
    assert sorted(table.key) == sorted(face.key for face in FACES)


def test_a_changed_file_has_another_version_and_a_part_of_a_file_is_fetched_alone(hub):
    hub.files["a.bin"] = bytes(range(256)) * 40
    file = stat("hf://datasets/ann/faces/a.bin")
    assert file is not None
    assert (file.size, file.url) == (10240, "hf://datasets/ann/faces/a.bin")
    with open_read(file.url, file.version) as stream:
        stream.seek(300)
        assert stream.read(4) == bytes((44, 45, 46, 47))
    hub.files["a.bin"] = bytes(10240)
    again = stat(file.url)
    assert again is not None
    assert again.version != file.version
    with pytest.raises(OSError, match="changed since the run was planned"):
        open_read(file.url, file.version)


def test_a_missing_file_a_missing_repository_and_a_gated_one_say_so(hub):
    hub.files["a.bin"] = bytes(100)
    assert stat("hf://datasets/ann/faces/none.bin") is None
    with pytest.raises(MissingError):
        open_read("hf://datasets/bob/none/a.bin")
    hub.gated = True
    with pytest.raises(DeniedError, match="hf auth login"), open_read("hf://datasets/ann/faces/a.bin") as stream:
        stream.read(4)
