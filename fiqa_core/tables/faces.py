"""Faces by reference: the stored image of any row of a quality table, a decisions table or a list of removed rows.

from fiqa_core.tables import faces_of, load_quality, read_faces

rows = load_quality("out").nsmallest(100, "quality")
for face in read_faces(rows, "out"):
    face.data                    # the stored bytes; None, and face.problem says why
    face.image()                 # PIL.Image, RGB, upright: as the scorer saw it
faces_of(rows, "out")            # in a notebook: shown as pictures

No shard is read from its start for one image, where its format allows that: see docs/faces.md.
"""

import hashlib
import os
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fiqa_core.errors import FiqaError
from fiqa_core.images.decode import ImageLimits, decode_rgb
from fiqa_core.shards.formats import container_of
from fiqa_core.shards.names import printable
from fiqa_core.shards.unit import Record
from fiqa_core.storage import in_flight, is_local
from fiqa_core.tables.face_rows import batches_of, digest_of
from fiqa_core.tables.face_sources import FaceSources, Source
from fiqa_core.wording import one_line

if TYPE_CHECKING:
    from PIL import Image

_AT_ONCE = 512  # rows that are looked up together
_HELD_BYTES = 256 << 20  # of images of these rows; what is more is read again when its turn comes
_LOCAL_THREADS, _STORE_THREADS = 4, 16
_LANDMARK_NUMBERS = 10
_SHARE = 32  # records of one unit that one thread reads
# A face that is shown may be of any size that can be decoded.
_LIMITS = ImageLimits(min_side=1)


@dataclass(frozen=True)
class Face:
    """One row and its image.

    Attributes:
        row: the row as it was given, without embedding and thumbnail.
        data: the stored bytes; None if they could not be read, or are not those of the row.
        problem: why there are none, in a sentence; "" where there are.
        verified: the row has a sha256, and the bytes have the same.
    """

    row: Mapping[str, Any]
    data: bytes | None = None
    problem: str = ""
    verified: bool = False

    def pixels(self) -> np.ndarray:
        """uint8 (H, W, 3), RGB, upright: as the scorer sees the image.

        Raises:
            FaceUnavailableError: there are no bytes. ImageRejected: they cannot be decoded.
        """
        if self.data is None:
            raise FaceUnavailableError(self.problem)
        return decode_rgb(self.data, _LIMITS).pixels

    def image(self) -> "Image.Image":
        """The same as a Pillow image, mode RGB.

        Raises:
            FaceUnavailableError, ImageRejected: as `pixels`.
        """
        from PIL import Image

        return Image.fromarray(self.pixels())

    def scored_pixels(self) -> np.ndarray:
        """The picture that was scored, uint8 (H, W, 3): where `--align` took a face from a photograph, that face warped
        to the template (the row has its landmarks); else as `pixels`.

        Raises:
            FaceUnavailableError, ImageRejected: as `pixels`.
        """
        pixels = self.pixels()
        points = self.row.get("landmarks") if self.row.get("warped") is True else None
        if points is None or len(points) != _LANDMARK_NUMBERS:
            return pixels
        landmarks = np.asarray(points, np.float64).reshape(-1, 2)
        if not np.isfinite(landmarks).all():
            return pixels
        from fiqa_core.alignment.template import to_template, warp

        return warp(pixels, to_template(landmarks))


class FaceUnavailableError(FiqaError):
    """The bytes of a row's image are not there; the message says why."""


def read_faces(
    rows: Any,
    tables: "str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | FaceSources" = (),
    moved: Sequence[tuple[str, str]] = (),
) -> Iterator[Face]:
    """The images of rows, in the order of the rows; a row may come more than once.

    Args:
        rows: of a quality table, a decisions table or `removed.csv`: a pandas DataFrame, an Arrow table or batch, a
            DuckDB relation, or mappings. Needed are `shard` and `index`; `sha256` (bytes, or hexadecimal) and `key`
            are compared if they are there.
        tables: outputs of the scoring runs (or their `quality` folders), which know where their shards lie. Without, a
            shard is looked for at the address in the row.
        moved: (old, new) beginnings of the shards' addresses, if the dataset was moved since.

    A missing, changed or unreadable image is a `Face` without data whose `problem` says why. Memory does not grow with
    the number of rows: a few hundred are looked up at a time, by threads.

    Raises:
        TableError: the tables are not what they should be, or `rows` have no columns `shard` and `index`.
    """
    sources = tables if isinstance(tables, FaceSources) else FaceSources(_named(tables), moved)
    for batch in batches_of(rows, _AT_ONCE):
        yield from _faces(batch, sources)


def _named(tables: "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]") -> list[str]:
    return [os.fspath(table) for table in ([tables] if isinstance(tables, str | os.PathLike) else tables)]


class _Later:
    """Stands for an image that was read while there was no room for it."""


_LATER = _Later()
# What was found at a place: a record, the reason why there is none, or "later".
_Found = Record | str | _Later
_Place = tuple[Source, int]


def _faces(rows: Sequence[Mapping[str, Any]], sources: FaceSources) -> Iterator[Face]:
    places = [_place(row, sources) for row in rows]
    wanted: dict[Source, set[int]] = defaultdict(set)
    for place in places:
        if not isinstance(place, str):
            wanted[place[0]].add(place[1])
    found = _read_all(wanted)
    for row, place in zip(rows, places, strict=True):
        if isinstance(place, str):
            yield Face(row, problem=place)
            continue
        record = found.get(place)
        if record is _LATER:
            record = next(iter(_read_piece(place[0], [place[1]], _Room(None)).values()), None)
        yield _face(row, place[0], record)


def _place(row: Mapping[str, Any], sources: FaceSources) -> _Place | str:
    """Where a row's image lies, or why it has no place."""
    shard, index = row.get("shard"), row.get("index")
    if "key" in row and row["key"] is None and row.get("sha256") is None:
        return "the row stands for the rest of a shard, which could not be read: it has no image"
    if not isinstance(shard, str) or not shard or index is None:
        return "the row names no shard and index"
    try:
        return sources.find(shard, int(index)), int(index)
    except (FiqaError, OSError, ValueError, TypeError) as error:
        return one_line(error, 500)


def _read_all(wanted: Mapping[Source, set[int]]) -> dict[_Place, _Found]:
    room = _Room(_HELD_BYTES)
    found: dict[_Place, _Found] = {}
    threads = _LOCAL_THREADS if all(is_local(source.unit.url) for source in wanted) else _STORE_THREADS
    pieces = _pieces(wanted)
    for (source, _), here in zip(
        _pieces(wanted), in_flight(pieces, lambda piece: _read_piece(*piece, room), threads, name="faces"), strict=True
    ):
        found.update(((source, index), record) for index, record in here.items())
    return found


def _pieces(wanted: Mapping[Source, set[int]]) -> Iterator[tuple[Source, list[int]]]:
    for source, indices in wanted.items():
        ordered = sorted(indices)
        try:
            size = _SHARE if container_of(source.unit).reads_in_place(source.unit) else len(ordered)
        except FiqaError:
            size = len(ordered)
        for first in range(0, len(ordered), size):
            yield source, ordered[first : first + size]


class _Room:
    """Bytes that images may take together; None: any number."""

    def __init__(self, left: int | None) -> None:
        self._left, self._lock = left, threading.Lock()

    def has(self, size: int) -> bool:
        """Take so many bytes, if there are."""
        if self._left is None:
            return True
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True


def _read_piece(source: Source, wanted: Sequence[int], room: _Room) -> dict[int, _Found]:
    """What is found at the wanted places of a unit. An error costs the places that were not read before it."""
    found: dict[int, _Found] = {}
    try:
        for record in container_of(source.unit).read_at(source.unit, source.read, wanted):
            fits = record.data is None or room.has(len(record.data))
            found[record.index] = record if fits else _LATER
    except (FiqaError, OSError) as error:
        reason = _gone(error) if isinstance(error, FileNotFoundError) else one_line(error, 500)
        found |= {index: reason for index in wanted if index not in found}
    return found


def _gone(error: FileNotFoundError) -> str:
    name = getattr(error, "filename", None)
    return f"{name}: no such file. Was the dataset moved?" if name else one_line(error, 500)


def _face(row: Mapping[str, Any], source: Source, found: _Found | None) -> Face:
    if isinstance(found, str):
        return Face(row, problem=found)
    if not isinstance(found, Record):
        return Face(row, problem=f"the shard has no image at index {row['index']} (any more). {_CHANGED}")
    digest = digest_of(row.get("sha256"))
    if found.data is None:
        return Face(row, problem=found.fault.message if found.fault is not None else "the record has no image")
    if digest is not None:
        if hashlib.sha256(found.data).digest() != digest:
            return Face(row, problem=f"the stored bytes are not those of the row: their sha256 is another. {_CHANGED}")
        return Face(row, found.data, verified=True)
    key = row.get("key")
    unit = source.unit
    if key is not None and found.key != key and container_of(unit).keys_in_place:
        shown = printable(str(found.key))[:200]
        return Face(row, problem=f"the record at this place is {shown!r}, not the one of the row. {_CHANGED}")
    return Face(row, found.data)


_CHANGED = "The shard changed since it was scored: restore it, or score it again."


def first_faces(rows: Iterable[Face], most: int) -> list[Face]:
    """The first faces of a stream, which is closed behind them."""
    found: list[Face] = []
    for face in rows:
        found.append(face)
        if len(found) >= most:
            break
    return found
