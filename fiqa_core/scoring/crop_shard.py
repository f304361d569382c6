"""The aligned faces of one unit as a WebDataset tar, published before the unit's table, which says it is there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fiqa_core.runs.layout import CROPS, QUALITY
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.scoring.stream import Row
from fiqa_core.scoring.summary import Summary
from fiqa_core.shards.names import is_image
from fiqa_core.shards.output_image import OutputImage
from fiqa_core.shards.webdataset.writer import TarWriter
from fiqa_core.storage import publish, stat, temporary_for
from schemas.reasons import Status


def crop_file(table: str) -> str:
    """URL of the tar that belongs to a unit's table."""
    folder, _, name = table.rpartition(f"/{QUALITY}/")
    return f"{folder}/{CROPS}/{name.removesuffix('.parquet')}.tar"


def has_its_crops(table: str, summary: Summary, settings: ScoreSettings) -> bool:
    """Whether the tar is there that a unit's table needs (none, unless faces are written; none for no faces)."""
    if settings.crops is None or not summary.status.get(Status.ALIGNED, 0):
        return True
    return stat(crop_file(table)) is not None


@contextmanager
def crop_shard(output: str, settings: ScoreSettings) -> Iterator["CropShard | None"]:
    """A tar to put faces in; None where none are written."""
    if settings.crops is None:
        yield None
        return
    with temporary_for(output) as path, path.open("wb") as stream:
        yield CropShard(path, stream)


class CropShard:
    """Writes the crops of rows in their order."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self._path = path
        self._stream = stream
        self._tar = TarWriter(stream, dense=False)
        self._written = 0

    def add(self, rows: list[Row]) -> None:
        """Write the rows' crops, and note in each row under which keys. The bytes are dropped."""
        for row in rows:
            for crop in row.crops:
                key = f"{_without_suffix(row.record.key or 'image')}{crop.suffix}"
                image = OutputImage(
                    self._written, key, row.record.label, None, crop.data, {"json": crop.about}, None, None, 1.0
                )
                row.crop_keys.append(self._tar.add(image))
                self._written += 1
            row.crops = []

    def publish(self, table: str) -> None:
        """Put the tar in its place; a unit without a face has none."""
        if not self._written:
            return
        self._tar.close()
        self._stream.flush()
        publish(self._path, crop_file(table))


def _without_suffix(key: str) -> str:
    return key.rpartition(".")[0] if is_image(key) else key
