"""One command at a time on an output folder."""

import contextlib
import errno
import fcntl
import logging
import os
import re
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from fiqa_core.runs.folder import OutputError, refuse_links
from fiqa_core.runs.layout import LOCK
from fiqa_core.storage import absolute, is_local

_log = logging.getLogger(__name__)
# The content of a command's lock; a `_lock` with any other content is not ours.
_OURS = re.compile(rb"process \d+ on [^\n]{1,255}")
_MOST_BYTES = 300


class _Held(NamedTuple):
    """A lock that is held. `was_empty`: there was an empty file of that name before, so it is left there."""

    descriptor: int
    was_empty: bool


@contextmanager
def hold_output(output: str) -> Iterator[None]:
    """Keep other commands away from an output while this one works on it.

    On a disk this is a lock of the operating system on `<output>/_lock`. It ends with the process, killed or not, so a
    stale lock never has to be removed by hand. Object stores have no such lock. The table is right there without one:
    temporaries lie on each machine's own disk, so no command sweeps another's, and files are put whole under names that
    depend on the unit and the settings only. Two commands on one such output do the work twice and write one table.

    A `_lock` that no command wrote (a link, a file with other content, anything but a plain file) is neither written to
    nor removed. The same holds for a link in the place of a folder of the run.

    Raises:
        OutputError: another command holds it (the message names its process), `_lock` is not ours, or the
            output cannot be written to.
    """
    if not is_local(output):
        yield
        return
    folder = Path(absolute(output))
    refuse_links(str(folder))
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(_unwritable(folder, error)) from error
    try:
        try:
            held = _acquire(folder / LOCK)
        except OSError as error:
            raise OutputError(_unwritable(folder, error)) from error
        try:
            yield
        finally:
            _release(folder / LOCK, held)
    finally:
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()  # succeeds only if nothing was written: a refused command leaves no trace


def holder_of(output: str) -> str:
    """The process that holds an output now; "" if none does, and on a store without locks."""
    if not is_local(output):
        return ""
    try:
        descriptor = os.open(Path(absolute(output)) / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return _holder(descriptor) if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else ""
    finally:
        os.close(descriptor)
    return ""


def _acquire(path: Path) -> _Held:
    while True:
        descriptor, is_new = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                _log.warning("%s: this file system has no locks (%s); run one command at a time", path, error.strerror)
                return _Held(descriptor, not is_new)
            holder = _holder(descriptor)
            os.close(descriptor)
            raise OutputError(
                f"{path.parent}: {holder} is at work on this output. Wait for it or stop it; "
                "--resume goes on from what it finished."
            ) from None
        if _is_still(descriptor, path):
            break
        os.close(descriptor)
    content = os.pread(descriptor, _MOST_BYTES, 0)
    if content and not _OURS.fullmatch(content):
        os.close(descriptor)
        raise _not_ours(path, "a file that no command here wrote")
    os.ftruncate(descriptor, os.pwrite(descriptor, _own_content(), 0))  # it is never empty: see `_create`
    return _Held(descriptor, not is_new and not content)


def _own_content() -> bytes:
    return f"process {os.getpid()} on {socket.gethostname()}".encode()


def _open(path: Path) -> tuple[int, bool]:
    """Open the lock file, never through a link. Returns the descriptor, and whether the file is new."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with contextlib.suppress(FileExistsError):
        return _create(path, flags), True
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return _open(path)  # its holder has just removed it
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EMLINK):
            raise _not_ours(path, "a link" if path.is_symlink() else "not a plain file") from None
        raise
    details = os.fstat(descriptor)
    if not stat.S_ISREG(details.st_mode) or details.st_nlink > 1:
        os.close(descriptor)
        raise _not_ours(path, "not a plain file" if details.st_nlink < 2 else "a link to another name of the same file")
    return descriptor, False


def _create(path: Path, flags: int) -> int:
    """Create the lock with its content in one step. A command killed between two steps would leave an empty file, and
    that could be a user's.

    Raises:
        FileExistsError: there is a file of that name.
    """
    try:
        descriptor = os.open(path.parent, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o644)
    except OSError:  # a file system without files that have no name yet
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(descriptor, _own_content())
        # Python follows the /proc link only if a folder descriptor is given.
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=folder, follow_symlinks=True)
        finally:
            os.close(folder)
    except FileExistsError:
        os.close(descriptor)
        raise
    except OSError:
        os.close(descriptor)
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
    return descriptor


def _release(path: Path, held: _Held) -> None:
    """Remove the file, then unlock it: whoever waits for the lock must see that the name is another file now."""
    try:
        if not _is_still(held.descriptor, path):
            return
        if held.was_empty:
            os.ftruncate(held.descriptor, 0)
        else:
            path.unlink(missing_ok=True)
    finally:
        os.close(held.descriptor)


def _not_ours(path: Path, found: str) -> OutputError:
    return OutputError(f"{path}: is {found}, so it is left alone. Move it away, or choose another --output.")


def _holder(descriptor: int) -> str:
    content = os.pread(descriptor, _MOST_BYTES, 0)
    return content.decode() if _OURS.fullmatch(content) and content.isascii() else "another process"


def _unwritable(folder: Path, error: OSError) -> str:
    """Why nothing can be written to an output, and what to do."""
    file = next((place for place in (folder, *folder.parents) if place.exists() and not place.is_dir()), None)
    if file is not None:
        return f"{folder}: {file} is a file; expected a folder. Choose another --output, or move that file away."
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    return (
        f"{folder}: cannot be written to ({error.strerror}; its nearest folder that exists is {there}). Choose another "
        "--output, or see to the permissions, the space or the mount of that one."
    )


def _is_still(descriptor: int, path: Path) -> bool:
    """Whether the file that was locked still has that name (its last holder may have removed it)."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
