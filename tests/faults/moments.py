"""When to kill, and whom."""

import os
import random
import signal
import time
from pathlib import Path

from tests.faults.prepared import Child, wait_for


def finished_units(output: Path) -> int:
    """Files of the table so far."""
    return len(list(output.glob("quality/*")))


def random_moment(child: Child, output: Path, chance: random.Random, seconds: float, units: int) -> None:
    """Wait for any time of the run, or for about the moment when one more unit is finished."""
    if chance.random() < 0.4:
        end = time.monotonic() + chance.random() * seconds
        wait_for(lambda: time.monotonic() > end or not child.running(), seconds + 120)
    else:
        wanted = chance.randrange(units)
        wait_for(lambda: finished_units(output) >= wanted or not child.running(), 300)
        time.sleep(chance.random() * 0.06)


def kill_worker(child: Child, chance: random.Random) -> bool:
    """Kill one worker process of a command, if it has any by now."""
    workers = _workers(child.pid)
    if workers:
        os.kill(chance.choice(workers), signal.SIGKILL)
    return bool(workers)


def _workers(group: int) -> list[int]:
    """Beam's worker processes in a process group (without the shells that it starts them by)."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            if os.getpgid(int(path.name)) == group and words[1:2] == [b"-m"] and b"sdk_worker_main" in words[2]:
                found.append(int(path.name))
        except (ProcessLookupError, FileNotFoundError):
            continue
    return found
