"""A pool of training images, made once: clean faces, degraded copies of them, and a teacher's embedding of each.

The teacher is the slow part, so every copy passes it once, not once an epoch. Each unit of the dataset has one folder
(`part-NNNNNN`), written whole or not at all, so that an interrupted build can be continued:

    pixels.npy       uint8 (M, 112, 112, 3) RGB; read through a memory map
    embeddings.npy   float32 (M, E), not normalised
    second.npy       float32 (clean images, E), a second teacher's, if there is one
    rows.parquet     key, shard, index, label, copy (0 = the clean image), kinds, severities
"""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core import storage
from fiqa_core.images.decode import ImageRejected
from fiqa_core.images.preprocess import ChannelOrder, prepare
from fiqa_core.networks.onnx_session import read_onnx
from fiqa_core.npy import map_npy, read_npy
from fiqa_core.shards.formats import CONTAINERS
from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.training.augment import pool_copy
from fiqa_core.training.errors import TrainingError
from fiqa_core.training.pool_pixels import PoolPixels
from fiqa_core.training.teacher import Teacher, TeacherSettings

_log = logging.getLogger(__name__)
_FACES_AT_ONCE = 16
SETTINGS, SECOND = "pool.json", "second.npy"


class _Copy(NamedTuple):
    pixels: np.ndarray
    row: dict[str, Any]


@dataclass(frozen=True)
class PoolSettings:
    """The settings that the pool's content depends on.

    `copies`: images made of each face, including the clean one. `seed`: of the degradations. `jitter`: copies are moved
    (`augment.pool_copy`).
    """

    copies: int
    seed: int
    channel_order: str = "rgb"
    jitter: float = 0.0


def build_pool(
    folder: Path,
    units: Sequence[Unit],
    read: ReadSettings,
    settings: PoolSettings,
    teacher: TeacherSettings,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
    second: TeacherSettings | None = None,
) -> None:
    """Make a pool on the local disk, or what is missing of it.

    Args:
        second: another teacher, which sees the clean images only.
        progress: called with the parts done and all parts, after each part.

    Raises:
        TrainingError: the folder holds a pool of other settings, another teacher or other data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, units, read, settings, teacher, second)
    networks: list[Teacher] = []
    for done, unit in enumerate(units):
        if not (folder / _name(unit)).is_dir():
            networks = networks or [Teacher(one, threads) for one in (teacher, second) if one is not None]
            _write_part(folder, unit, read, settings, networks)
        if progress:
            progress(done + 1, len(units))


def _name(unit: Unit) -> str:
    return f"part-{unit.number:06d}"


def _claim(
    folder: Path,
    units: Sequence[Unit],
    read: ReadSettings,
    settings: PoolSettings,
    teacher: TeacherSettings,
    second: TeacherSettings | None,
) -> None:
    named: dict[str, Any] = {"label_field": read.label_field, "image_field": read.image_field}
    made = asdict(settings)
    named |= {"jitter": made.pop("jitter"), "second_teacher": second and _described(second)}
    described: dict[str, Any] = {
        **made,
        **{name: value for name, value in named.items() if value},
        "teacher": _described(teacher),
        "units": sha256(json.dumps([unit.identity() for unit in units], sort_keys=True).encode()).hexdigest(),
    }
    place = folder / SETTINGS
    if not place.exists():
        storage.publish_bytes(json.dumps(described, indent=1, sort_keys=True).encode(), str(folder), str(place))
        return
    try:
        found = dict(json.loads(place.read_text()))
    except (ValueError, TypeError, RecursionError) as error:
        raise TrainingError(f"{place}: not a pool's settings ({error}); give another folder (pool)") from error
    different = sorted(name for name in found.keys() | described.keys() if found.get(name) != described.get(name))
    if different:
        raise TrainingError(
            f"{folder}: holds a pool made with other {', '.join(different)}; give another folder (pool), or "
            "remove it to make it again"
        )


def _described(teacher: TeacherSettings) -> dict[str, Any]:
    """A teacher, with its file's content in place of its name."""
    uri, _ = teacher.source()
    values = {field.name: getattr(teacher, field.name) for field in fields(TeacherSettings)}
    return values | {"model": read_onnx(uri).sha256}


def _write_part(
    folder: Path, unit: Unit, read: ReadSettings, settings: PoolSettings, teachers: Sequence[Teacher]
) -> None:
    unfinished = folder / f"_tmp-{_name(unit)}"
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir()
        with _PartWriter(unfinished, *teachers) as writer:
            for made in _copies_of(unit, read, settings):
                writer.add(made)
        unfinished.rename(folder / _name(unit))
    except OSError as error:
        if error.filename is not None or isinstance(error, storage.StorageError):
            raise
        raise TrainingError(
            f"{folder / _name(unit)}: broke off ({error.strerror or error}). What is finished stays: make room if the "
            "disk is full, then start again"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _copies_of(unit: Unit, read: ReadSettings, settings: PoolSettings) -> Iterator[list[_Copy]]:
    """The images made of each face of a unit, the clean one first; the log counts records that cannot be used."""
    left_out: dict[str, int] = {}
    for record in CONTAINERS[unit.container].read(unit, read):
        if record.data is None or record.label is None:
            why = record.fault.status if record.fault else "no label"
            left_out[str(why)] = left_out.get(str(why), 0) + 1
            continue
        try:
            face = prepare(record.data, channel_order=ChannelOrder(settings.channel_order)).pixels
        except ImageRejected as error:
            left_out[str(error.status)] = left_out.get(str(error.status), 0) + 1
            continue
        name = {"key": record.key, "shard": unit.shard, "index": record.index, "label": record.label}
        content = int.from_bytes(sha256(record.data).digest()[:8], "little")
        copies = [_Copy(face, name | {"copy": 0, "kinds": (), "severities": ()})]
        for copy in range(1, settings.copies):
            random = np.random.default_rng([settings.seed, copy, content])
            made, kinds, severities = pool_copy(face, settings.jitter, random)
            copies.append(_Copy(made, name | {"copy": copy, "kinds": kinds, "severities": severities}))
        yield copies
    if left_out:
        counts = ", ".join(f"{count} {why}" for why, count in sorted(left_out.items()))
        _log.warning("%s: records that cannot be trained on: %s", unit.shard, counts)


class _PartWriter:
    """Writes the files of a part image by image, since a shard can be larger than the memory. A context manager.

    Pixels are written by plain writes: a memory map would kill the process if the disk is full.
    """

    def __init__(self, folder: Path, teacher: Teacher, second: Teacher | None = None) -> None:
        self._folder, self._teacher, self._second = folder, teacher, second
        self._seconds: list[np.ndarray] = []
        self._waiting: list[np.ndarray] = []
        self._rows: list[dict[str, Any]] = []
        self._embeddings: list[np.ndarray] = []
        self._pixels = (folder / "pixels.npy").open("wb")

    def __enter__(self) -> "_PartWriter":
        self._write_header()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._pixels:
            if kind is None:
                self._finish()

    def add(self, copies: list[_Copy]) -> None:
        """A face's images."""
        self._waiting += [copy.pixels for copy in copies]
        self._rows += [copy.row for copy in copies]
        if len(self._waiting) >= _FACES_AT_ONCE * len(copies):
            self._embed()

    def _embed(self) -> None:
        pixels = np.stack(self._waiting)
        rows = self._rows[len(self._rows) - len(pixels) :]
        self._embeddings.append(_embedded(self._teacher, pixels, rows))
        if self._second is not None:
            clean = [place for place, row in enumerate(rows) if row["copy"] == 0]
            self._seconds.append(_embedded(self._second, pixels[clean], [rows[place] for place in clean]))
        self._pixels.write(pixels.data)
        self._waiting = []

    def _finish(self) -> None:
        if self._waiting:
            self._embed()
        if self._rows:
            self._pixels.seek(0)
            self._write_header()
            self._pixels.flush()
            os.fsync(self._pixels.fileno())
        else:
            (self._folder / "pixels.npy").unlink()  # an empty array cannot be mapped
        nothing = np.zeros((0, 0), np.float32)
        np.save(self._folder / "embeddings.npy", np.concatenate(self._embeddings) if self._rows else nothing)
        if self._second is not None:
            np.save(self._folder / SECOND, np.concatenate(self._seconds) if self._rows else nothing)
        pq.write_table(pa.Table.from_pylist(self._rows, schema=_ROWS), self._folder / "rows.parquet")

    def _write_header(self) -> None:
        """Header for the rows so far. numpy pads it, so that a header for more rows has the same length."""
        described = np.lib.format.dtype_to_descr(np.dtype(np.uint8))
        shape = (len(self._rows), 112, 112, 3)
        np.lib.format.write_array_header_1_0(self._pixels, {"descr": described, "fortran_order": False, "shape": shape})


def _embedded(teacher: Teacher, pixels: np.ndarray, rows: Sequence[dict[str, Any]]) -> np.ndarray:
    found = teacher.embed(pixels)
    broken = np.flatnonzero(~np.isfinite(found).all(1))
    if len(broken):
        row = rows[int(broken[0])]
        raise TrainingError(
            f"{row['shard']}, {row['key']}: the teacher gives no finite embedding; check mean, std and color"
        )
    return found


_ROWS = pa.schema(
    [
        ("key", pa.string()),
        ("shard", pa.string()),
        ("index", pa.int64()),
        ("label", pa.string()),
        ("copy", pa.int32()),
        ("kinds", pa.list_(pa.string())),
        ("severities", pa.list_(pa.float32())),
    ]
)


@dataclass(frozen=True)
class Pool:
    """A finished pool; all but its pixels in memory.

    Attributes:
        parts: pixels of each part, uint8 (rows, 112, 112, 3). firsts: its first row among all. numbers: of its unit.
        rows: as in the files, in order of the parts. embeddings: float32 (M, E), not normalised.
        chosen: which rows of the parts `rows` and `embeddings` are; None: all.
        second: float32 (clean images, E2), a second teacher's embeddings of the clean images; None: there is none.
    """

    parts: tuple[np.ndarray, ...]
    firsts: np.ndarray
    rows: pa.Table
    embeddings: np.ndarray
    numbers: tuple[int, ...] = ()
    chosen: np.ndarray | None = None
    second: np.ndarray | None = None

    @property
    def images(self) -> PoolPixels:
        """The pixels of all rows, for other processes too."""
        return PoolPixels(self.parts, self.firsts, self.chosen)

    def pixels(self, places: np.ndarray) -> np.ndarray:
        """uint8 (B, 112, 112, 3) RGB of rows, in the order asked for."""
        return self.images.of(places)


def open_pool(folder: Path) -> Pool:
    """Open what `build_pool` made. Raises TrainingError if there is none."""
    parts = [part for part in sorted(folder.glob("part-*")) if pq.read_metadata(part / "rows.parquet").num_rows]
    if not parts:
        raise TrainingError(f"{folder}: no pool with images in it")
    pixels = tuple(map_npy(str(part / "pixels.npy")) for part in parts)
    firsts = np.cumsum([0, *(len(block) for block in pixels[:-1])])
    rows = pa.concat_tables([pq.read_table(part / "rows.parquet") for part in parts])
    embeddings = np.concatenate([read_npy(str(part / "embeddings.npy")) for part in parts])
    seconds = [read_npy(str(part / SECOND)) for part in parts if (part / SECOND).exists()]
    numbers = tuple(int(part.name.removeprefix("part-")) for part in parts)
    return Pool(pixels, firsts, rows, embeddings, numbers, second=np.concatenate(seconds) if seconds else None)
