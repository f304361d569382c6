"""Find the scoring process of a device, or start it. The process that binds the address first is the one."""

import contextlib
import hashlib
import logging
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

from fiqa_core.scoring.service.errors import ScoringProcessError, from_message
from fiqa_core.scoring.service.wire import PeerError, receive, same_user

_log = logging.getLogger(__name__)

LOAD_S = 900.0  # enough for a checkpoint from a slow store and a network that is compiled
ANSWER_S = 600.0
_LOOK_AGAIN_S = 0.05
_STARTS = 5  # for one connection: a process that ended five times before it answered would end again

EXIT_TAKEN = 75  # another process has the address (sysexits.h: try again)


@dataclass(frozen=True)
class Place:
    """Which scoring process: `job` is a secret of the job, `device` a device of this machine among the `visible`."""

    job: str
    device: str
    visible: str = ""

    @property
    def address(self) -> bytes:
        """Name in the abstract socket namespace: without a file, and free again as soon as its process ends."""
        name = f"{os.getuid()}:{self.job}:{self.visible}:{self.device}"
        return b"\0fiqa-scoring-" + hashlib.sha256(name.encode()).hexdigest()[:32].encode()


def available() -> bool:
    """Whether this system has what a scoring process needs (Linux)."""
    return sys.platform == "linux"


def connect(place: Place, source: Any) -> tuple[socket.socket, dict[str, Any]]:
    """A connection to the scoring process, which is started if there is none, and the description of its network.

    Args:
        place: which process.
        source: makes its scorer there; picklable, with a method `load`.

    Raises:
        ScoringProcessError: it ended before it answered, several times.
        Exception: the error at loading its network, as it was raised there.
    """
    deadline = time.monotonic() + LOAD_S
    starts = 0
    process: subprocess.Popen[bytes] | None = None
    while time.monotonic() < deadline:
        try:
            return _connected(place, deadline)
        except ConnectionError:
            if process is None or process.poll() is not None:
                if process is not None and process.returncode != EXIT_TAKEN:
                    _log.warning("the scoring process ended before it answered (exit %s)", process.returncode)
                if starts == _STARTS:
                    break
                starts += process is None or process.returncode != EXIT_TAKEN
                process = start(place, source)
            time.sleep(_LOOK_AGAIN_S)
    code = "none" if process is None else process.poll()
    raise ScoringProcessError(
        f"the scoring process of {place.device} was started {starts} times and did not answer (last exit "
        f"code: {code}). Its own messages are above; was it killed for memory?"
    )


def _connected(place: Place, deadline: float) -> tuple[socket.socket, dict[str, Any]]:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(place.address)
        if not same_user(connection):
            raise PeerError(f"the address of the scoring process of {place.device} is held by another user's process")
        connection.settimeout(max(1.0, deadline - time.monotonic()))  # it answers once its network is loaded
        hello = receive(connection)
        if "error" in hello:
            raise from_message(hello)
        connection.settimeout(ANSWER_S)
        return connection, hello
    except BaseException:
        connection.close()
        raise


def start(place: Place, source: Any) -> subprocess.Popen[bytes]:
    """Start the process in a session of its own: a Ctrl-C ends the workers, and with the last of them it ends."""
    _log.info("starting the scoring process of %s", place.device)
    process = subprocess.Popen(
        [sys.executable, "-m", "fiqa_core.scoring.service"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path)},
    )
    if process.stdin is None:
        raise AssertionError("unreachable")
    # A process that found the address taken has ended before it reads this.
    with contextlib.suppress(BrokenPipeError), process.stdin:
        pickle.dump((place.address, place.device), process.stdin)
        pickle.dump(source, process.stdin)
    threading.Thread(target=process.wait, name="scoring-process", daemon=True).start()  # so that no zombie stays
    return process
