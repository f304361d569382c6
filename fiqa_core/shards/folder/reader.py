"""Image folders: `<identity>/<image>` or flat; the files are listed once, and the list is cut into ranges.

Not every worker can list a folder of millions of files again, and the list does not fit into a unit. So planning
writes the sorted list once, as Parquet, and a unit is a range of its rows.
"""

import bisect
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.shards.container import LooseFiles, at_places
from fiqa_core.shards.folder.output import FolderOutput
from fiqa_core.shards.image_file import read_local_image, read_stored_image
from fiqa_core.shards.names import is_image, parent
from fiqa_core.shards.unit import Fault, ReadSettings, Record, Unit
from fiqa_core.storage import (
    Listed,
    MissingError,
    StorageError,
    StoredFile,
    in_flight,
    is_folder,
    join,
    open_read,
    publish,
    temporary_for,
)
from schemas.reasons import Status

_LISTING = pa.schema([pa.field("path", pa.binary(), nullable=False), pa.field("size", pa.int64())])
_LISTING_ROWS = 65_536
LABEL_FROM = "folder names"


class Folder(LooseFiles):
    """A record is an image file; its key is the path below the folder, its label the path's folder part."""

    name = "folder"
    label_source = "the folder names"
    index_moves = True
    listing_in_plan = True
    output = FolderOutput()

    def recognises(self, name: str) -> bool:
        """Whether it is called like an image."""
        return is_image(name)

    def plan_files(self, folder: StoredFile, files: Iterable[Listed], unit_size: int, workspace: str) -> Sequence[Unit]:
        """Write the listing of the files under `workspace` and cut it into runs of `unit_size`."""
        name = f"files-{hashlib.sha256(folder.url.encode()).hexdigest()[:12]}.parquet"
        listing = join(workspace, name)
        digest, count = _write_listing(files, listing, workspace)
        units = []
        for start in range(0, count, unit_size):
            stop = min(start + unit_size, count)
            unit = Unit(0, self.name, folder.shown, folder.url, start, stop, start, stop - start, -1, digest)
            units.append(replace(unit, listing=listing))
        return units

    def enter_at(self, unit: Unit, index: int) -> Unit:
        """`index` is the place in the listing."""
        return replace(unit, start=index, first_index=index)

    def read_at(self, unit: Unit, settings: ReadSettings, wanted: Sequence[int]) -> Iterator[Record]:
        """The files by their names; of the listing only the row groups with these names are read."""
        limit = settings.max_stored_bytes
        files = _listed_at(unit, wanted)
        if unit.url.startswith("/"):
            for index, path, _ in files:
                yield _record(index, path, *read_local_image(_child(unit.url, path), limit))
            return
        yield from in_flight(files, lambda file: _fetch_record(unit, *file, limit), weigh=lambda _: limit)

    def reads_in_place(self, unit: Unit) -> bool:  # noqa: ARG002
        """No: its files are fetched many at once anyway."""
        return False

    def read(self, unit: Unit, settings: ReadSettings) -> Iterator[Record]:
        """One record a file; a local disk is read one file at a time, another store many at once."""
        return _records(unit, _listed(unit), settings.max_stored_bytes)

    def read_places(self, unit: Unit, settings: ReadSettings, places: Iterator[int]) -> Iterator[Record]:
        """As `read`; other files are not opened."""
        return _records(unit, at_places(_listed(unit), places), settings.max_stored_bytes)


def _records(unit: Unit, files: Iterator[tuple[int, bytes, int]], limit: int) -> Iterator[Record]:
    if unit.url.startswith("/"):
        for index, path, _ in files:
            yield _record(index, path, *read_local_image(_child(unit.url, path), limit))
        return
    yield from in_flight(
        files,
        lambda file: _fetch_record(unit, *file, limit),
        weigh=lambda file: min(file[2], limit) if file[2] >= 0 else limit,
    )


def _write_listing(files: Iterable[Listed], listing: str, workspace: str) -> tuple[str, int]:
    """Returns a digest of names, sizes and versions, and the number of files."""
    digest, count = hashlib.sha256(), 0
    paths: list[bytes] = []
    sizes: list[int] = []
    with temporary_for(workspace) as temporary:
        with pq.ParquetWriter(temporary, _LISTING, compression="zstd") as writer:
            for path, size, version in files:
                digest.update(b"%s\0%d\0%s\0" % (path, size, version.encode()))
                paths.append(path)
                sizes.append(size)
                count += 1
                if len(paths) == _LISTING_ROWS:
                    writer.write_table(pa.table([paths, sizes], schema=_LISTING))
                    paths, sizes = [], []
            writer.write_table(pa.table([paths, sizes], schema=_LISTING))
        publish(temporary, listing)
    return digest.hexdigest()[:16], count


def _listed(unit: Unit) -> Iterator[tuple[int, bytes, int]]:
    """(index, path, size) of the unit's rows; only the row groups that hold them are read."""
    with open_read(unit.listing) as stream:
        file = pq.ParquetFile(stream)
        first = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            low, high = max(unit.start, first), min(unit.stop, first + rows)
            if low < high:
                table = file.read_row_group(group).slice(low - first, high - low)
                for place, (path, size) in enumerate(zip(*table.to_pydict().values(), strict=True)):
                    yield low + place, path, size
            first += rows


def _listed_at(unit: Unit, wanted: Sequence[int]) -> Iterator[tuple[int, bytes, int]]:
    """(index, path, size) of single rows of the listing, in order."""
    with open_read(unit.listing) as stream:
        file = pq.ParquetFile(stream)
        first = place = 0
        for group in range(file.num_row_groups):
            stop = bisect.bisect_left(wanted, first + file.metadata.row_group(group).num_rows)
            if stop > place:
                here = wanted[place:stop]
                rows = file.read_row_group(group).take([index - first for index in here])
                yield from zip(here, rows["path"].to_pylist(), rows["size"].to_pylist(), strict=True)
            place, first = stop, first + file.metadata.row_group(group).num_rows


def _child(folder: str, path: bytes) -> str:
    # Bytes that are not UTF-8 become surrogates, which local file functions turn back into bytes.
    return join(folder, path.decode("utf-8", "surrogateescape"))


def _record(
    index: int, path: bytes, data: bytes | None, fault: Fault | None = None, digest: bytes | None = None
) -> Record:
    key = path.decode("utf-8", "backslashreplace")
    label = parent(key)
    return Record(key, index, label, data, fault, digest, label_from=LABEL_FROM if label else "")


def _fetch_record(unit: Unit, index: int, path: bytes, size: int, limit: int) -> Record:
    url = _child(unit.url, path)
    try:
        return _record(index, path, *read_stored_image(url, size, limit))
    except MissingError as error:
        # One missing file is a row. A missing folder or bucket is the store's failure, or every image would be a row.
        if not is_folder(unit.url):
            raise StorageError(f"{unit.url}: the folder (or its bucket) is gone since it was listed") from error
        return _record(index, path, None, Fault(Status.UNREADABLE, "FileNotFoundError: gone since it was listed"))
