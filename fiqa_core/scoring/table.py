"""Writes rows of the quality table to a Parquet file, a bounded number of rows at a time."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.alignment.aligner import AlignedFace
from fiqa_core.networks.onnx_session import onnxruntime
from fiqa_core.scoring.component_columns import component_columns
from fiqa_core.scoring.label_counts import origins_text, read_origins, with_origins
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.scoring.stream import Row
from fiqa_core.scoring.summary import Summary, merge, summarise
from fiqa_core.shards.names import printable
from fiqa_core.shards.unit import Unit
from schemas import provenance, versions
from schemas.quality import quality_schema

_ROWS_AT_ONCE = 8192
_CHARACTERS_AT_ONCE = 8 << 20  # keys, labels and messages of hostile shards are long


class QualityWriter:
    """Writes one unit's rows, zstd-compressed, with their provenance; `summary` adds them up.

    The file's bytes depend on rows, settings and unit only: no times, no host names.
    """

    def __init__(self, path: Path, unit: Unit, settings: ScoreSettings) -> None:
        self._unit = unit
        self._schema = quality_schema(
            settings.embeddings,
            settings.embedding_dim,
            settings.phash,
            alignment=settings.align is not None,
            crops=settings.crops is not None,
            measures=settings.measures,
            calibrated=settings.calibration is not None,
        )
        self._settings = settings
        self._rows: list[Row] = []
        self._characters = 0
        self._origins: Counter[tuple[str, bool]] = Counter()
        self.summary = Summary()
        schema = self._schema.with_metadata(file_metadata(unit, settings))
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)

    def write(self, rows: list[Row]) -> None:
        """Add rows; they reach the file in groups."""
        for row in rows:
            self._rows.append(row)
            key, _, label, *_ = row.record
            if key is not None:
                self._origins[row.record.label_from, label is not None] += 1
            self._characters += len(key or "") + len(label or "") + len(row.message or "")
            if len(self._rows) == _ROWS_AT_ONCE or self._characters >= _CHARACTERS_AT_ONCE:
                self._flush()

    def _flush(self) -> None:
        table = to_table(self._rows, self._unit.shard, self._schema, self._settings)
        self._rows, self._characters = [], 0
        self.summary = merge(self.summary, summarise(table))
        self._writer.write_table(table)

    def __enter__(self) -> "QualityWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
            labels = with_origins(self.summary.labels, self._origins)
            self.summary = replace(self.summary, labels=labels)
            self._writer.add_key_value_metadata({provenance.LABELS: origins_text(labels)})
        self._writer.close()


def to_table(rows: list[Row], shard: str, schema: pa.Schema, settings: ScoreSettings) -> pa.Table:
    """Rows as an Arrow table of the quality schema."""
    columns: dict[str, Any] = {
        "key": _texts([row.record.key for row in rows]),
        "shard": pa.repeat(pa.scalar(printable(shard)), len(rows)),
        "index": [row.record.index for row in rows],
        "label": _texts([row.record.label for row in rows]),
        "quality": [row.quality for row in rows],
        "status": pa.array([row.status for row in rows], pa.string()).dictionary_encode(),
        "message": _texts([row.message for row in rows]),
        "width": [row.width for row in rows],
        "height": [row.height for row in rows],
        "sha256": [row.sha256 for row in rows],
        "bytes": [row.stored for row in rows],
        "quantisation": [row.quantisation for row in rows],
    }
    if settings.calibration is not None:
        scores = np.array([row.quality for row in rows], np.float64)  # NaN for None
        columns["percentile"] = pa.array(settings.calibration.percentiles(scores), from_pandas=True)
        columns["predicted_fnmr"] = pa.array(settings.calibration.predicted_fnmr(scores), from_pandas=True)
    if settings.measures:
        columns |= component_columns(rows, settings.align is not None)
    if settings.phash:
        columns["phash"] = [None if row.phash is None else f"{row.phash:016x}" for row in rows]
        columns["thumb"] = [row.thumb for row in rows]
    if settings.align is not None:
        columns |= _faces([row.face for row in rows])
    if settings.crops is not None:
        columns["crops"] = [row.crop_keys or None for row in rows]
    if settings.embeddings != "none":
        columns["embedding"] = _embeddings(rows, schema.field("embedding").type, settings)
    return pa.table(columns, schema=schema)


def _faces(faces: list[AlignedFace | None]) -> dict[str, list[Any]]:
    """Columns of the faces that were found (`ALIGNMENT_TYPES`)."""

    def column(value: Callable[[AlignedFace], Any]) -> list[Any]:
        return [None if face is None else value(face) for face in faces]

    return {
        "faces": column(lambda each: each.found),
        "face_score": column(lambda each: each.face.score),
        "face_box": column(lambda each: each.face.box.astype(np.float32)),
        "landmarks": column(lambda each: each.face.landmarks.astype(np.float32).ravel()),
        "eye_distance": column(lambda each: each.face.eye_distance),
        "pose_yaw": column(lambda each: each.pose.yaw),
        "pose_pitch": column(lambda each: each.pose.pitch),
        "pose_roll": column(lambda each: each.pose.roll),
        "warped": column(lambda each: each.warped),
    }


def _texts(values: list[str | None]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        # Text that is not valid UTF-8 is escaped; it must not fail the unit.
        return pa.array([None if value is None else printable(value) for value in values], pa.string())


def _embeddings(rows: list[Row], kind: pa.DataType, settings: ScoreSettings) -> pa.Array:
    # NaN, not null, for a missing embedding: Arrow's readers refuse null fixed-size lists in Parquet.
    values = np.full((len(rows), settings.embedding_dim), np.nan, settings.embeddings)
    for place, row in enumerate(rows):
        if row.embedding is not None:
            values[place] = row.embedding
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), type=kind)


def read_summary(stream: Any) -> Summary:
    """The summary of a finished file. Every column is read and its checksums are verified: a file that is damaged
    anywhere raises (pyarrow's exceptions, or OSError without a number)."""
    file = pq.ParquetFile(stream, page_checksum_verification=True)
    summary = Summary()
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        table.validate(full=True)  # text that is not UTF-8
        summary = merge(summary, summarise(table))
    return replace(summary, labels=read_origins(summary.labels, (file.metadata.metadata or {}).get(provenance.LABELS)))


def file_metadata(unit: Unit, settings: ScoreSettings) -> dict[bytes, bytes]:
    """Provenance of a quality file (keys: schemas/provenance.py)."""
    import torch

    metadata = {
        provenance.SETTINGS: json.dumps(settings.to_dict(), sort_keys=True).encode(),
        provenance.SETTINGS_DIGEST: settings.digest().encode(),
        provenance.UNIT: json.dumps(unit.identity(), sort_keys=True).encode(),
        provenance.SCHEMA_VERSION: str(versions.QUALITY_SCHEMA_VERSION).encode(),
        provenance.NETWORK: settings.arch.encode(),
        provenance.MODE: settings.mode.encode(),
        provenance.CHECKPOINT_SHA256: settings.checkpoint_sha256.encode(),
        provenance.PREPROCESSING: settings.preprocessing.encode(),
        provenance.PRECISION: settings.precision.encode(),
        provenance.CHANNEL_ORDER: settings.channel_order.encode(),
        provenance.PACKAGE_VERSION: versions.PACKAGE_VERSION.encode(),
        provenance.TORCH_VERSION: str(torch.__version__).encode(),
    }
    if settings.align is not None:
        metadata[provenance.DETECTOR_SHA256] = settings.align.detector_sha256.encode()
        metadata[provenance.FACES] = settings.align.faces.encode()
    if settings.onnx is not None:
        metadata[provenance.ONNXRUNTIME_VERSION] = str(onnxruntime().__version__).encode()
    return metadata
