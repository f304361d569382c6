"""Beam's local worker processes, watched: one that dies before it has connected must not hang the job.

FnApiRunner notices the end of a worker by its connection. A worker killed while it still imports (for example by
the kernel, for lack of memory) has none yet, and Beam 2.77 then waits for it forever. A terminal sends Ctrl-C to the
workers too: they ignore it, and the command ends them, so that no worker prints anything about it.
"""

import contextlib
import subprocess
import threading
import types
from typing import Any

from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability import local_job_service
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    BeamFnControlServicer,
    SubprocessSdkWorkerHandler,
    WorkerHandler,
)

from pipelines.cli.interrupts import on_interrupt

_EVERY_S = 0.5
_running: "set[_WorkerProcess]" = set()


class _WorkerProcess(subprocess.Popen[bytes]):
    """A worker's process, started as Beam starts it (a line for the shell), but ignoring Ctrl-C."""

    def __init__(self, line: str, **options: Any) -> None:
        super().__init__(f"trap '' INT; exec {line}", **options)
        _running.add(self)

    def wait(self, timeout: float | None = None) -> int:
        """As in Popen; the process has ended then."""
        code = super().wait(timeout)
        _running.discard(self)
        return code


class WatchedWorkerHandler(SubprocessSdkWorkerHandler):
    """Answers every request to a worker whose process has ended by an error with that error."""

    def start_worker(self) -> None:
        """Start the process, and a thread that waits for its end."""
        self.worker = local_job_service.SubprocessSdkWorker(
            self._worker_command_line, self.control_address, self.provision_info, self.worker_id
        )
        self._stopping = threading.Event()
        # A daemon: after Ctrl-C nothing stops the worker, and this thread must not keep the command from ending.
        self.worker_thread = threading.Thread(name="run_worker", target=self._watch, daemon=True)
        self.worker_thread.start()

    def stop_worker(self) -> None:
        """Tell the process to end, and wait for that."""
        self._stopping.set()
        # Beam tells only workers that have connected; one that is about to would then wait for work for ever.
        self.control_conn.push(BeamFnControlServicer._DONE_MARKER)
        self.worker_thread.join()

    def _watch(self) -> None:
        try:
            self.worker.run()
        except RuntimeError as error:
            # Repeatedly: what the runner asks after this has to fail as well.
            while not self._stopping.wait(_EVERY_S):
                self._answer_all(f"RuntimeError: a worker process died: {error}")

    def _answer_all(self, error: str) -> None:
        # Beam's own `abort` of a request is not seen by the thread that waits for the request's output: only an
        # answer is. Beam 2.77 has no public way to give one.
        for name, request in list(self.control_conn._futures_by_id.items()):
            request.set(beam_fn_api_pb2.InstructionResponse(instruction_id=name, error=error))


def install() -> None:
    """Make Beam start its local worker processes with this watch, from now on."""
    local_job_service.subprocess = types.SimpleNamespace(Popen=_WorkerProcess)
    on_interrupt(_kill_all)
    WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)(WatchedWorkerHandler)


def _kill_all() -> None:
    """What a worker was doing is done again by --resume; files are published only when they are complete."""
    for process in list(_running):
        with contextlib.suppress(OSError):
            process.kill()
