"""Images as files of a folder: written aside, flushed together and then renamed, so that no half-written file is
seen."""

import ctypes
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from fiqa_core.curation.subset.folder_names import SharedNames
from fiqa_core.curation.subset.index import IndexWriter
from fiqa_core.curation.subset.own_files import note_names
from fiqa_core.curation.subset.settings import DATA, SubsetError, place
from fiqa_core.shards.batch import ImageBatch
from fiqa_core.shards.output_names import file_stem, image_suffix
from fiqa_core.storage import filesystem, in_flight, is_local, join, publish_bytes

_TEMPORARIES = "_tmp"
_RECOGNISED = 32  # bytes of an image that show its format


def write_folder_shard(batches: Iterator[ImageBatch], index: IndexWriter, output: str) -> None:
    """Write images to `<output>/subset/data/<label>/<name>.<suffix>`; the images of one call become visible at its end.

    On a disk all files are written aside, flushed together (flushing each would cost more than everything else), and
    then renamed. On another store each file is put as a whole.
    """
    names = _shared_names(output, index.plan)
    if is_local(output):
        _write_local(batches, names, index, Path(filesystem(output)[1]))
        return
    for batch in batches:
        note_names(output, batch.position, _paths(batch, names))
        named = ((image.data, path) for image, path in zip(batch.images(), _paths(batch, names), strict=True))
        paths = list(in_flight(named, lambda one: _put(*one, output), weigh=lambda one: len(one[0])))
        index.add(batch.rows, batch.sizes, DATA, paths)


def _write_local(batches: Iterator[ImageBatch], names: SharedNames, index: IndexWriter, output: Path) -> None:
    aside = output / _TEMPORARIES / f"fiqa-{uuid.uuid4().hex}"
    aside.mkdir(parents=True)
    try:
        paths: list[str] = []
        first = 0
        for batch in batches:
            first = first if paths else batch.position
            for number, view in enumerate(batch.views(), len(paths)):
                descriptor = os.open(f"{aside}/{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
                try:
                    _write_all(descriptor, view)
                finally:
                    os.close(descriptor)
            named = _paths(batch, names)
            index.add(batch.rows, batch.sizes, DATA, named)
            paths += named
        _flush(aside)
        note_names(str(output), first, paths)
        data = Path(filesystem(place(str(output), DATA))[1])
        made: set[str] = set()
        for number, path in enumerate(paths):
            folder = path.rpartition("/")[0]
            if folder not in made:
                _make(data, folder)
                made.add(folder)
            os.replace(f"{aside}/{number}", f"{data}/{path}")  # noqa: PTH105  # twice as fast, a million times
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def put_in_place(images: Sequence[bytes], paths: Sequence[str], output: str, folder: str) -> None:
    """Write images to `<output>/<folder>/<path>`, each whole or not at all: on a disk aside first, flushed together and
    then renamed; on another store each as one upload, many at once.

    Raises:
        SubsetError: a link stands in the place of a folder. OSError: the output cannot be written to.
    """
    if not is_local(output):
        named = zip(images, paths, strict=True)
        for _ in in_flight(
            named,
            lambda one: publish_bytes(one[0], output, join(output, folder, one[1])),
            weigh=lambda one: len(one[0]),
        ):
            pass
        return
    root = Path(filesystem(output)[1])
    aside = root / _TEMPORARIES / f"fiqa-{uuid.uuid4().hex}"
    aside.mkdir(parents=True)
    try:
        for number, data in enumerate(images):
            with (aside / str(number)).open("xb") as stream:
                stream.write(data)
        _flush(aside)
        for number, path in enumerate(paths):
            _make(root / folder, path.rpartition("/")[0])
            (aside / str(number)).replace(root / folder / path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _make(data: Path, folder: str) -> None:
    """Make a folder below `data`; refuse a link in its place, which would lead the images elsewhere."""
    place_of_folder = data / folder
    place_of_folder.mkdir(parents=True, exist_ok=True)
    for part in (place_of_folder, *place_of_folder.parents):
        if part == data:
            break
        if part.is_symlink():
            raise SubsetError(f"{part}: is a link, and images are written into folders only. Remove the link.")


def _write_all(descriptor: int, view: memoryview) -> None:
    while view:
        view = view[os.write(descriptor, view) :]


def _put(data: bytes, path: str, output: str) -> str:
    publish_bytes(data, output, join(place(output, DATA), path))
    return path


def _paths(batch: ImageBatch, names: SharedNames) -> list[str]:
    labels = batch.rows["label"].to_pylist()
    numbers = batch.rows["number"].to_pylist()
    found = []
    for place_in_batch, (key, view) in enumerate(zip(batch.rows["key"].to_pylist(), batch.views(), strict=True)):
        number = numbers[place_in_batch]
        stem = file_stem(labels[place_in_batch] if number is None else names.folder(number), key)
        if stem in names:
            stem = f"{stem}~{batch.position + place_in_batch}"
        found.append(f"{stem}.{image_suffix(bytes(view[:_RECOGNISED]), key)}")
    return found


@lru_cache(maxsize=1)
def _shared_names(output: str, plan: str) -> SharedNames:  # noqa: ARG001  # the plan tells one from another
    return SharedNames(output)


def _flush(folder: Path) -> None:
    """Flush the file system that a folder is on."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "syncfs"):
            os.sync()
        elif libc.syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)
