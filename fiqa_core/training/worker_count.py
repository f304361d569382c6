"""How many worker processes read and decode for one training process."""

import os

MOST_WORKERS = 8
RULE = (
    "default: on a GPU the cores of a training process less two (one trains, one reads), at least 1 and at most "
    f"{MOST_WORKERS}; on a CPU 0, since there the network takes all cores"
)


def default_workers(device: str, cores: int, training_processes: int) -> int:
    """Number of decoding processes for one of the training processes of this machine; `device` is cpu or cuda."""
    if device != "cuda":
        return 0
    return min(MOST_WORKERS, max(1, cores // training_processes - 2))


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def training_processes_here() -> int:
    """Training processes on this machine, as torchrun says."""
    return max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
