"""One command at a time on an output folder."""

import contextlib
import errno
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fiqa_core.scoring.output import LOCK, OutputError
from fiqa_core.storage import absolute, is_local

_log = logging.getLogger(__name__)


@contextmanager
def hold_output(output: str) -> Iterator[None]:
    """Keep other commands away from an output while this one plans, sweeps, runs and counts.

    On a disk it is a lock of the operating system on `<output>/_lock`: it is gone the moment its holder is,
    killed or not, so there is never a stale one to remove by hand. Object stores have no such lock, and none
    is needed there for the table to be right: temporaries lie on each machine's own disk, so that no command
    can sweep another's, and files are put whole under names that only the unit and the settings decide. Two
    commands on one such output do the work twice and write the same table.

    Raises:
        OutputError: another command holds it; the message names its process.
    """
    if not is_local(output):
        yield
        return
    folder = Path(absolute(output))
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = _acquire(folder / LOCK)
    try:
        yield
    finally:
        # Removed before it is let go: who waits for the lock must find that its name is another file now.
        (folder / LOCK).unlink(missing_ok=True)
        os.close(descriptor)
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()  # succeeds only if nothing was written: a refused command leaves no trace


def _acquire(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                _log.warning("%s: this file system has no locks (%s); run one command at a time", path, error.strerror)
                return descriptor
            holder = os.read(descriptor, 200).decode("utf-8", "replace").strip() or "another process"
            os.close(descriptor)
            raise OutputError(
                f"{path.parent}: {holder} is at work on this output. Wait for it or stop it; "
                "--resume goes on from what it finished."
            ) from None
        if _is_still(descriptor, path):
            break
        os.close(descriptor)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
    return descriptor


def _is_still(descriptor: int, path: Path) -> bool:
    """Whether the file that was locked still has that name (its last holder may have removed it)."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
