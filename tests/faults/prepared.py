"""Commands that start in milliseconds: a process with everything imported forks one child for each.

Beam and torch take seconds to import; twenty killed commands, each resumed, would take minutes.
"""

import faulthandler
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Child:
    """One forked command."""

    def __init__(self, prepared: "Prepared", pid: int, log: Path) -> None:
        self._prepared = prepared
        self.pid = pid
        self.log = log

    def kill(self) -> None:
        """Kill -9, as the kernel does when memory runs out."""
        os.kill(self.pid, signal.SIGKILL)

    def kill_group(self) -> None:
        """Kill -9 of the command and of the worker processes that it started."""
        os.killpg(self.pid, signal.SIGKILL)

    def running(self) -> bool:
        """Whether it is still at work."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"

    def wait(self) -> int:
        """Exit code; minus the signal's number for a killed one."""
        return int(self._prepared.ask({"wait": self.pid}))


class Prepared:
    """The process that forks; a context manager."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._started = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.prepared"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Prepared":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)

    def start(self, function: str, *arguments: Any) -> Child:
        """Run `module:function` with plain arguments in a child; its return value is the exit code."""
        self._started += 1
        log = self._logs / f"{self._started:03}.log"
        return Child(self, int(self.ask({"call": function, "arguments": arguments, "log": str(log)})), log)

    def run(self, function: str, *arguments: Any) -> int:
        """Start it and wait for it."""
        return self.start(function, *arguments).wait()

    def ask(self, question: dict[str, Any]) -> str:
        """One line to the process, one line back."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


def wait_for(condition: Any, seconds: float = 150.0) -> None:
    """Wait until a condition holds; fails after that many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(0.002)


def _child(request: dict[str, Any]) -> None:
    os.setsid()
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    faulthandler.register(signal.SIGUSR1, file=2)
    module, _, name = request["call"].partition(":")
    code = 1
    try:
        code = getattr(importlib.import_module(module), name)(*request["arguments"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _serve() -> None:
    importlib.import_module("tests.faults.jobs")
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                _child(request)
        print(answer, flush=True)


if __name__ == "__main__":
    _serve()
