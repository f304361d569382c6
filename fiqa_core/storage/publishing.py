"""Publish finished files: on every store, readers see a whole file or none."""

import contextlib
import hashlib
import logging
import os
import re
import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from fiqa_core.storage.errors import ShortReadError, StorageError, explained
from fiqa_core.storage.places import filesystem, is_local, store_of
from fiqa_core.storage.retry import retrying_here

_log = logging.getLogger(__name__)
_DELETE_AT_ONCE = 1000
_TEMPORARY = re.compile(r"fiqa-[0-9a-f]+")
_swept: set[tuple[int, str]] = set()
_sweeping = threading.Lock()


@contextmanager
def temporary_for(output: str) -> Iterator[Path]:
    """A local path for writing a file before `publish`; the file is removed afterwards in any case.

    For an output on the local disk it is in `<output>/_tmp`, so that publishing is a rename and not a copy across file
    systems. For another store it is in its own folder among this machine's temporary files. What a killed process
    leaves is removed by the next run (`sweep`), or by the next process on the machine that writes to the same output.
    """
    if is_local(output):
        folder = Path(filesystem(output)[1]) / "_tmp"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"fiqa-{uuid.uuid4().hex}"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
        return
    _sweep_machine_once(output)
    own = Path(tempfile.mkdtemp(prefix=f"{_machine_prefix(output)}{os.getpid()}-"))
    try:
        yield own / "file"
    finally:
        shutil.rmtree(own, ignore_errors=True)


@contextmanager
def temporary_folder_for(output: str) -> Iterator[Path]:
    """A local folder for data that does not fit in memory; removed afterwards, like the file of `temporary_for`."""
    if is_local(output):
        folder = Path(filesystem(output)[1]) / "_tmp"
        own = folder / f"fiqa-{uuid.uuid4().hex}"
        own.mkdir(parents=True)
    else:
        _sweep_machine_once(output)
        own = Path(tempfile.mkdtemp(prefix=f"{_machine_prefix(output)}{os.getpid()}-"))
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def sweep(output: str) -> int:
    """Remove what killed processes left: temporaries under an output, interrupted uploads, this machine's temporary
    files. Returns the number removed.

    If a store refuses it (some roles may write, but not list interrupted uploads), that is logged and the run goes on.
    """
    if is_local(output):
        return _sweep_folder(Path(filesystem(output)[1]) / "_tmp")
    count = _sweep_machine(output)
    store, path = store_of(output)
    try:
        with explained(output):
            count += store.sweep(path.rstrip("/") + "/")
    except StorageError as error:
        _log.warning("left-over uploads were not looked for: %s", error)
    return count


def _sweep_folder(folder: Path) -> int:
    """Remove only what `temporary_for` and `temporary_folder_for` made, and the folder if it is empty then."""
    if folder.is_symlink() or not folder.is_dir():
        return 0
    left = [path for path in folder.iterdir() if _TEMPORARY.fullmatch(path.name) and not path.is_symlink()]
    for path in left:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
    return len(left)


def publish(path: Path, url: str) -> None:
    """Move a finished local file to its final place: readers see the whole file or none.

    Local disk: flushed to the disk, then renamed. Object stores: one upload that becomes visible when it is complete
    (an exception inside `with fs.open(url, "wb")` would *commit* the part written so far, so that form is never used);
    then the stored size is compared.
    """
    if is_local(url):
        target = Path(filesystem(url)[1])
        with path.open("rb") as written:
            os.fsync(written.fileno())
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        return
    store, place = store_of(url)
    size = path.stat().st_size

    def once() -> None:
        store.put(path, place)
        held = store.head(place)
        if held is None or held.size != size:
            raise ShortReadError(f"{size} bytes were sent, the store holds {held.size if held else 'none'}")

    with explained(url):
        retrying_here(once, url)


def publish_bytes(data: bytes, output: str, url: str) -> None:
    """Write a small file under an output in one step: readers see the whole file or none."""
    with temporary_for(output) as path:
        path.write_bytes(data)
        publish(path, url)


def publish_alone(data: bytes, url: str) -> None:
    """Write one file (a picture, a page) in one step, into a folder that is not a run's: nothing else in it is touched,
    and no folder for temporaries is left there."""
    if not is_local(url):
        publish_bytes(data, url.rpartition("/")[0], url)
        return
    target = Path(filesystem(url)[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.parent / f".fiqa-{uuid.uuid4().hex}"
    try:
        beside.write_bytes(data)
        publish(beside, url)
    finally:
        beside.unlink(missing_ok=True)


def remove(url: str) -> None:
    """Remove a file or a whole folder, if it exists."""
    if is_local(url):
        target = Path(filesystem(url)[1])
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
        return
    store, path = store_of(url)
    path = path.rstrip("/")
    with explained(url):
        below = (entry.path for entry in store.entries(path + "/", deep=True))
        while some := list(islice(below, _DELETE_AT_ONCE)):
            store.delete(some)
        if store.head(path) is not None:
            store.delete([path])


def make_folder(url: str) -> None:
    """Make a folder on the local disk; other stores have no folders (and buckets are never made)."""
    if is_local(url):
        Path(filesystem(url)[1]).mkdir(parents=True, exist_ok=True)


def _machine_prefix(output: str) -> str:
    return f"fiqa-{hashlib.sha256(output.rstrip('/').encode()).hexdigest()[:12]}-"


def _sweep_machine_once(output: str) -> None:
    with _sweeping:
        done = (os.getpid(), output)
        if done not in _swept:
            _swept.add(done)
            _sweep_machine(output)


def _sweep_machine(output: str) -> int:
    count = 0
    for left in Path(tempfile.gettempdir()).glob(f"{_machine_prefix(output)}*"):
        pid = left.name.split("-")[2]
        if not pid.isdecimal() or left.is_symlink():
            continue
        if left.stat(follow_symlinks=False).st_uid == os.getuid() and not _is_alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
            count += 1
    return count


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
