"""An HTTP proxy between a client and a store's server that answers 503 or 429, cuts bodies and stalls, by plan."""

import random
import re
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Protocol

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Seen(NamedTuple):
    """One request as the proxy saw it; `sent` = bytes of body that went to the client."""

    method: str
    path: str
    range: str
    fault: str
    sent: int


class Plan(Protocol):
    """Says what befalls a request: "" (nothing), "503", "429", "403", "404", "cut", "reset" or "stall"."""

    def fault(self, method: str, path: str, range_header: str) -> str: ...


def gets(method: str, path: str) -> bool:
    """Reads of an object's content, not of its description or of a listing."""
    return method == "GET" and (path.startswith("/download/") or not re.search("/storage/v1/|list-type", path))


class NoFaults:
    """A proxy that only counts."""

    def fault(self, method: str, path: str, range_header: str) -> str:
        return ""


@dataclass
class FirstThen:
    """The listed faults befall the first requests that `matches`, one each; the rest pass."""

    matches: Callable[[str, str], bool]
    faults: list[str]

    def fault(self, method: str, path: str, range_header: str) -> str:
        return self.faults.pop(0) if self.faults and self.matches(method, path) else ""


class Seeded:
    """Faults at random (a seed makes the sequence), at most `most` of them on one and the same request."""

    def __init__(self, seed: int, rate: float, most: int = 2) -> None:
        self._random = random.Random(seed)
        self._rate = rate
        self._most = most
        self._suffered: Counter[tuple[str, str, str]] = Counter()
        self.kinds: Counter[str] = Counter()

    def fault(self, method: str, path: str, range_header: str) -> str:
        request = (method, path.partition("?")[0], range_header)
        if self._suffered[request] >= self._most or self._random.random() >= self._rate:
            return ""
        self._suffered[request] += 1
        kind = self._random.choices(["503", "429", "cut", "reset", "stall"], [4, 4, 4, 4, 1])[0]
        self.kinds[kind] += 1
        return kind


class FaultProxy:
    """Passes HTTP/1.1 requests on to `upstream` (host, port); the `plan` may be changed at any time."""

    def __init__(self, upstream: tuple[str, int], stall_s: float = 5.0) -> None:
        self.plan: Plan = NoFaults()
        self.seen: list[Seen] = []
        self.delay_s = 0.0
        self.at_once = self.most_at_once = 0
        self.stopped = threading.Event()
        # The GCS emulator answers one at a time, and drops connections when five are waiting.
        self.upstream_gate = threading.Semaphore(4)
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"proxy": self, "upstream": upstream, "stall_s": stall_s})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Address for the client."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def decide(self, method: str, path: str, range_header: str) -> str:
        with self._lock:
            return self.plan.fault(method, path, range_header)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Counts the requests that are answered at the same time."""
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            time.sleep(self.delay_s)
            yield
        finally:
            with self._lock:
                self.at_once -= 1

    def note(self, seen: Seen) -> None:
        with self._lock:
            self.seen.append(seen)

    def reset(self) -> None:
        """No faults, no delay, nothing seen."""
        with self._lock:
            self.plan, self.seen, self.delay_s, self.most_at_once = NoFaults(), [], 0.0, 0

    def stop(self) -> None:
        """Close the port and let go of stalled clients."""
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # many clients at once are what is tested

    def handle_error(self, request: object, client_address: object) -> None:
        # A client that hung up (it saw a stall, or was killed) is what these tests are about.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    proxy: FaultProxy
    upstream: tuple[str, int]
    stall_s: float
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client's acknowledgement

    def _handle(self) -> None:
        with self.proxy.under_way():
            self._pass_on()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = _handle  # noqa: N815

    def _pass_on(self) -> None:
        body = self._body()
        range_header = self.headers.get("Range", "")
        fault = self.proxy.decide(self.command, self.path, range_header)
        sent = 0
        if fault.isdigit():
            self.proxy.note(Seen(self.command, self.path, range_header, fault, 0))
            self._answer(int(fault), [("Retry-After", "0")], b"no, says the proxy")
            return
        if fault == "reset":
            # Before it reaches the server: the request has had no effect.
            self.proxy.note(Seen(self.command, self.path, range_header, fault, 0))
            self._break_off()
            return
        status, headers, content = self._ask_upstream(body)
        if fault in ("cut", "stall") and not content:
            # Nothing to halve (a HEAD, a 204): the answer is lost as a whole, after the server has done its work.
            self.proxy.note(Seen(self.command, self.path, range_header, fault, 0))
            self._break_off()
            return
        if fault in ("cut", "stall"):
            half = content[: len(content) // 2]
            self._send_head(status, headers, len(content))
            self.wfile.write(half)
            self.wfile.flush()
            self.proxy.note(Seen(self.command, self.path, range_header, fault, len(half)))
            if fault == "stall":
                deadline = time.monotonic() + self.stall_s
                while time.monotonic() < deadline and not self.proxy.stopped.wait(0.05):
                    pass
            self._break_off()
            return
        sent = 0 if self.command == "HEAD" else len(content)
        self.proxy.note(Seen(self.command, self.path, range_header, "", sent))
        self._answer(status, headers, content)

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _ask_upstream(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
        with self.proxy.upstream_gate, closing(HTTPConnection(*self.upstream, timeout=30)) as connection:
            connection.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        length = next((int(v) for k, v in headers if k.lower() == "content-length"), len(content))
        self._send_head(status, headers, length if self.command == "HEAD" else len(content))
        if self.command != "HEAD":
            self.wfile.write(content)

    def _send_head(self, status: int, headers: list[tuple[str, str]], length: int) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _break_off(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: `FaultProxy.seen` has it all."""
