"""A pool of training images made once: clean faces, degraded copies of them, and a teacher's embedding of each.

The teacher is the slow part, so every copy passes it once, not once an epoch. One folder a unit of the dataset
(`part-NNNNNN`), each written whole or not at all, so that a broken-off build goes on where it was:

    pixels.npy       uint8 (M, 112, 112, 3) RGB; read through a memory map
    embeddings.npy   float32 (M, E), not normalised
    rows.parquet     key, shard, index, label, copy (0 = the clean image), kinds, severities
"""

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core import storage
from fiqa_core.images.decode import ImageRejected
from fiqa_core.images.preprocess import ChannelOrder, prepare
from fiqa_core.shards.formats import CONTAINERS
from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.training.augment import randomly_degraded
from fiqa_core.training.errors import TrainingError
from fiqa_core.training.teacher import Teacher, TeacherSettings

_log = logging.getLogger(__name__)
_FACES_AT_ONCE = 16
SETTINGS = "pool.json"


@dataclass(frozen=True)
class PoolSettings:
    """What the pool's content depends on besides the dataset.

    `copies`: images made of each face, the clean one among them. `seed`: of the degradations.
    """

    copies: int
    seed: int
    channel_order: str = "rgb"


def build_pool(
    folder: Path,
    units: Sequence[Unit],
    read: ReadSettings,
    settings: PoolSettings,
    teacher: TeacherSettings,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Make what is missing of a pool on the local disk.

    Args:
        progress: called with the parts done and all parts, after each part.

    Raises:
        TrainingError: the folder holds a pool of other settings, another teacher or other data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, units, settings, teacher)
    network: Teacher | None = None
    for done, unit in enumerate(units):
        if not (folder / _name(unit)).is_dir():
            network = network or Teacher(teacher, threads)
            _build_part(folder, unit, read, settings, network)
        if progress:
            progress(done + 1, len(units))


def _name(unit: Unit) -> str:
    return f"part-{unit.number:06d}"


def _claim(folder: Path, units: Sequence[Unit], settings: PoolSettings, teacher: TeacherSettings) -> None:
    described: dict[str, Any] = {
        **asdict(settings),
        "teacher": {field.name: getattr(teacher, field.name) for field in fields(TeacherSettings)}
        | {"model": sha256(storage.read_bytes(teacher.model)).hexdigest()},
        "units": sha256(json.dumps([unit.identity() for unit in units], sort_keys=True).encode()).hexdigest(),
    }
    place = folder / SETTINGS
    if not place.exists():
        storage.publish_bytes(json.dumps(described, indent=1, sort_keys=True).encode(), str(folder), str(place))
        return
    found = json.loads(place.read_text())
    different = sorted(name for name in found.keys() | described.keys() if found.get(name) != described.get(name))
    if different:
        raise TrainingError(
            f"{folder}: a pool made with other {', '.join(different)} lies there; give another folder (pool), or "
            "remove it to make it again"
        )


def _build_part(folder: Path, unit: Unit, read: ReadSettings, settings: PoolSettings, teacher: Teacher) -> None:
    rows: list[dict[str, Any]] = []
    pixels: list[np.ndarray] = []
    embeddings: list[np.ndarray] = []
    left_out: dict[str, int] = {}

    def embed() -> None:
        if pixels[len(embeddings) :]:
            embeddings.extend(teacher.embed(np.stack(pixels[len(embeddings) :])))

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
        for copy in range(settings.copies):
            kinds: tuple[str, ...] = ()
            severities: tuple[float, ...] = ()
            made = face
            if copy:
                random = np.random.default_rng([settings.seed, copy, content])
                made, kinds, severities = randomly_degraded(face, random)
            pixels.append(made)
            rows.append(name | {"copy": copy, "kinds": kinds, "severities": severities})
        if len(pixels) - len(embeddings) >= _FACES_AT_ONCE * settings.copies:
            embed()
    embed()
    if left_out:
        counts = ", ".join(f"{count} {why}" for why, count in sorted(left_out.items()))
        _log.warning("%s: records that cannot be trained on: %s", unit.shard, counts)
    _write_part(folder, unit, pixels, embeddings, rows)


def _write_part(
    folder: Path, unit: Unit, pixels: list[np.ndarray], embeddings: list[np.ndarray], rows: list[dict[str, Any]]
) -> None:
    unfinished = folder / f"_tmp-{_name(unit)}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    shape = (len(pixels), 112, 112, 3)
    if pixels:  # an empty array cannot be mapped
        target = np.lib.format.open_memmap(unfinished / "pixels.npy", "w+", np.uint8, shape)
        for place, face in enumerate(pixels):
            target[place] = face
        target.flush()
    np.save(unfinished / "embeddings.npy", np.array(embeddings, np.float32).reshape(len(pixels), -1))
    pq.write_table(pa.Table.from_pylist(rows, schema=_ROWS), unfinished / "rows.parquet")
    unfinished.rename(folder / _name(unit))


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
    """A finished pool in memory, but for its pixels.

    `rows`: as in the files, in order of the parts. `embeddings`: float32 (M, E), not normalised.
    """

    parts: tuple[np.ndarray, ...]
    firsts: np.ndarray
    rows: pa.Table
    embeddings: np.ndarray

    def pixels(self, places: np.ndarray) -> np.ndarray:
        """uint8 (B, 112, 112, 3) RGB of rows, in the order asked for."""
        found = np.empty((len(places), 112, 112, 3), np.uint8)
        owner = np.searchsorted(self.firsts, places, "right") - 1
        for number in np.unique(owner):
            here = owner == number
            found[here] = self.parts[number][places[here] - self.firsts[number]]
        return found


def open_pool(folder: Path) -> Pool:
    """Open what `build_pool` made. Raises TrainingError where nothing is there."""
    parts = [part for part in sorted(folder.glob("part-*")) if pq.read_metadata(part / "rows.parquet").num_rows]
    if not parts:
        raise TrainingError(f"{folder}: no pool with images in it")
    pixels = tuple(np.load(part / "pixels.npy", mmap_mode="r") for part in parts)
    firsts = np.cumsum([0, *(len(block) for block in pixels[:-1])])
    rows = pa.concat_tables([pq.read_table(part / "rows.parquet") for part in parts])
    return Pool(pixels, firsts, rows, np.concatenate([np.load(part / "embeddings.npy") for part in parts]))
