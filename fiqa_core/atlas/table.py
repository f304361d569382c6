"""`atlas.parquet`: a row for each point with its coordinates and a small picture of the face."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.atlas.rows import duplicate_groups, extra_columns, group_of, rows_of_points
from fiqa_core.atlas.settings import AtlasSettings
from fiqa_core.errors import FiqaError
from fiqa_core.images.decode import ImageRejected
from fiqa_core.report.decided import Decided
from fiqa_core.tables.face_sources import FaceSources
from fiqa_core.tables.face_view import small_jpeg
from fiqa_core.tables.faces import Face, read_faces
from fiqa_core.tables.quality_files import TableFile
from fiqa_core.wording import one_line
from schemas import atlas as schema
from schemas import provenance, versions

# Readers hold a row group in memory.
_GROUP_ROWS = 1000
_MOST_NOTE = 300
_NAMED = 20


class Missing(NamedTuple):
    """A point without a thumbnail: where its image should be, and why it is not there."""

    shard: str
    key: str
    problem: str


class Written(NamedTuple):
    """rows: of the file. missing: points without a thumbnail; named: the first of them."""

    rows: int
    missing: int
    named: list[Missing]


class Sources(NamedTuple):
    """Where the rows of the points come from.

    Attributes:
        parts: files of the quality table. tables: as the user named them; they know where the images lie.
        moved: how the URLs of the shards began, and how they begin now. decided: None without decisions.
    """

    parts: Sequence[TableFile]
    tables: Sequence[str]
    moved: Sequence[tuple[str, str]] = ()
    decided: Decided | None = None


def write_atlas(
    path: Path,
    sources: Sources,
    rids: np.ndarray,
    xy: np.ndarray,
    settings: AtlasSettings,
    made: Mapping[str, Any],
) -> Written:
    """Write the file, some rows at a time.

    Args:
        rids: int64 (n,), ascending. xy: float32 (n, 2). made: how it was made, for the file's metadata.

    Raises:
        AtlasError: columns that are not there. TableError: a damaged file.
    """
    extra = extra_columns(settings.columns, sources.parts, sources.decided)
    columns = atlas_schema(sources.decided is not None, extra, made)
    groups = duplicate_groups(sources.parts, sources.decided, rids)
    places = FaceSources(list(sources.tables), sources.moved)  # it reads the plans once
    missing, named, done = 0, list[Missing](), 0
    compression = {leaf: "none" if leaf == "thumbnail.bytes" else "zstd" for leaf in _leaves(columns)}
    with pq.ParquetWriter(path, columns, compression=compression, write_page_checksum=True) as writer:
        for rows in _grouped(rows_of_points(sources.parts, sources.decided, rids, list(extra))):
            written = []
            for row, face in zip(rows, read_faces(rows, places), strict=True):
                thumbnail, problem = _thumbnail(face, settings.side)
                if problem is not None:
                    missing += 1
                    if len(named) < _NAMED:
                        named.append(Missing(str(row["shard"]), str(row.get("key")), problem))
                values = _values(row) | {"duplicate_group": group_of(row, groups)}
                values |= {"x": xy[done, 0], "y": xy[done, 1], "thumbnail": thumbnail, "thumbnail_problem": problem}
                written.append({name: values.get(name) for name in columns.names})
                done += 1
            writer.write_table(pa.Table.from_pylist(written, columns))
    return Written(done, missing, named)


def atlas_schema(decided: bool, extra: Mapping[str, pa.DataType], made: Mapping[str, Any]) -> pa.Schema:
    """The columns, and in the metadata how the file was made and, for Hugging Face `datasets`, what is an image."""
    columns = schema.COLUMNS | (schema.DECIDED if decided else {})
    fields = [
        pa.field(name, each.type, nullable=not each.required, metadata={"description": each.description})
        for name, each in columns.items()
    ]
    fields += [pa.field(name, kind) for name, kind in extra.items()]
    features = {
        field.name: {"_type": "Image"} if field.type == schema.THUMBNAIL else _feature(field.type) for field in fields
    }
    metadata = {
        b"huggingface": json.dumps({"info": {"features": features}}),
        provenance.ATLAS: json.dumps(made),
        provenance.PACKAGE_VERSION: versions.PACKAGE_VERSION,
    }
    return pa.schema(fields, metadata)


def _feature(kind: pa.DataType) -> dict[str, str]:
    names = {pa.float32(): "float32", pa.float64(): "float64"}
    return {"dtype": names.get(kind, str(kind)), "_type": "Value"}


def _leaves(columns: pa.Schema) -> Iterator[str]:
    for field in columns:
        if pa.types.is_struct(field.type):
            yield from (f"{field.name}.{child.name}" for child in field.type)
        else:
            yield field.name


def _grouped(batches: Iterator[list[dict[str, Any]]]) -> Iterator[list[dict[str, Any]]]:
    waiting: list[dict[str, Any]] = []
    for batch in batches:
        waiting += batch
        while len(waiting) >= _GROUP_ROWS:
            yield waiting[:_GROUP_ROWS]
            waiting = waiting[_GROUP_ROWS:]
    if waiting:
        yield waiting


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as it is written: digests in hexadecimal, no quality that is not finite."""
    digest, quality, label = row.get("sha256"), row.get("quality"), row.get("label")
    return {
        **row,
        "sha256": digest.hex() if isinstance(digest, bytes) else digest,
        "quality": quality if quality is not None and math.isfinite(quality) else None,
        "label": None if label is None else str(label),
    }


def _thumbnail(face: Face, side: int) -> tuple[dict[str, Any] | None, str | None]:
    """The picture as Hugging Face and embedding-atlas show it, or why there is none. Its name is one of a file that any
    system allows, whatever the key is."""
    try:
        data = small_jpeg(face, side)
    except (FiqaError, ImageRejected, OSError) as error:
        return None, one_line(error, _MOST_NOTE)
    return {"bytes": data, "path": f"{_name(face.row)}.jpg"}, None


def _name(row: Mapping[str, Any]) -> str:
    digest = row.get("sha256")
    return digest.hex() if isinstance(digest, bytes) else f"index-{row['index']}"
