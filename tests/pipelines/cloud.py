"""A cloud on the loopback: a GCS emulator, and a stand-in for Dataflow's REST service that runs what it is sent."""

import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Read when gcsfs is first imported: without it, every operation on an emulator waits for a service it lacks.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

import fsspec
import pytest
from apache_beam.internal.gcp import auth
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from tests.gcs_emulator import gcs_emulator

PROJECT, REGION, BUCKET = "fiqa-project", "us-central1", "gs://fiqa-bucket"


@contextmanager
def storage_emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A GCS emulator that gcsfs and Beam use; gives the URL of its one bucket."""
    with gcs_emulator(BUCKET.removeprefix("gs://")) as (host, port):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{host}:{port}")
        monkeypatch.setenv("NO_GCE_CHECK", "true")
        # Beam looks for credentials for 20 s otherwise.
        monkeypatch.setattr(auth._Credentials, "_credentials_init", True)
        monkeypatch.setattr(auth._Credentials, "_credentials", None)
        fsspec.get_filesystem_class("gs").clear_instance_cache()
        try:
            yield BUCKET
        finally:
            fsspec.get_filesystem_class("gs").clear_instance_cache()


def bucket_files() -> Any:
    """The emulator's files, with no memory of what was there before."""
    return fsspec.filesystem("gs", skip_instance_cache=True)


class DataflowStub:
    """Takes jobs as Dataflow's REST service does, and lets `work` do them in a thread of its own.

    `submitted`: jobs as they were posted; `requests`: every call; `metrics`, `messages`: what the service says of them.
    """

    def __init__(self, work: Callable[[dict[str, Any]], str], refuse: int = 0) -> None:
        self.submitted: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.metrics: dict[str, int] = {}
        self.messages: list[dict[str, str]] = []
        self.state = "JOB_STATE_RUNNING"
        self._work = work
        self._refuse = refuse
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.endpoint = f"http://localhost:{self._server.server_port}"
        self._worker: threading.Thread | None = None

    def __enter__(self) -> "DataflowStub":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        if self._worker is not None:
            self._worker.join(60)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        self.requests.append(f"{method} {path}")
        if self._refuse:
            return self._refuse, {"error": {"code": self._refuse, "message": "refused", "status": "PERMISSION_DENIED"}}
        if method == "POST" and path.endswith("/jobs"):
            self.submitted.append(json.loads(body))
            self._worker = threading.Thread(target=self._run, daemon=True)
            self._worker.start()
        if path.endswith("/messages"):
            return 200, {"jobMessages": self.messages}
        if path.endswith("/metrics"):
            return 200, {"metrics": [self._metric(name, count) for name, count in self.metrics.items()]}
        name = self.submitted[0]["name"]
        return 200, {"id": "job-1", "name": name, "projectId": PROJECT, "currentState": self.state}

    def _run(self) -> None:
        try:
            self.state = self._work(self.submitted[0])
        except BaseException:
            self.state = "JOB_STATE_FAILED"
            raise

    def _metric(self, name: str, count: int) -> dict[str, Any]:
        context = {"namespace": "fiqa", "step": "s1", "tentative": "true"}
        return {"name": {"origin": "user", "name": name, "context": context}, "scalar": count}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                code, content = stub.answer(self.command, re.sub(r"\?.*", "", self.path), body)
                data = json.dumps(content).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = _answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def run_staged_pipeline(job: dict[str, Any]) -> str:
    """Do what a Dataflow job was sent to do: run its staged pipeline, with its containers replaced by this process."""
    url = job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
    proto = beam_runner_api_pb2.Pipeline.FromString(bucket_files().cat_file(url))
    for environment in proto.components.environments.values():
        environment.urn = "beam:env:embedded_python:v1"
        environment.payload = b""
        del environment.dependencies[:]
    assert common_urns.environments.DOCKER.urn not in {e.urn for e in proto.components.environments.values()}
    result = FnApiRunner().run_via_runner_api(proto, _no_options())
    result.wait_until_finish()
    return f"JOB_STATE_{result.state}"


def _no_options() -> Any:
    from apache_beam.options.pipeline_options import PipelineOptions

    return PipelineOptions([])
