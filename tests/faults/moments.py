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


def kill_workers(child: Child, chance: random.Random) -> bool:
    """Kill one worker process of a command, if it has any by now."""
    workers = [pid for pid in _processes_of_group(child.pid) if pid != child.pid]
    if workers:
        os.kill(chance.choice(workers), signal.SIGKILL)
    return bool(workers)


def _processes_of_group(group: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(path.name)) == group:
                found.append(int(path.name))
        except ProcessLookupError:
            continue
    return found
