"""Write Parquet with image bytes as Hugging Face `datasets` reads it: a struct {bytes, path}, labels beside it."""

import contextlib
import json
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.shards.batch import ImageBatch
from fiqa_core.shards.output import ShardOutput, ShardWriter
from fiqa_core.shards.output_names import image_suffix, sample_key

# Writers and readers hold a row group in memory.
_GROUP_ROWS = 1000
_GROUP_BYTES = 16 << 20
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


class ParquetShards(ShardOutput):
    """Parquet shards with the columns image, label, key, quality, weight, tier."""

    suffix = ".parquet"

    def begin(self, stream: IO[bytes], dense: bool) -> ShardWriter:
        """Begin a file."""
        return ParquetShardWriter(stream, dense)


class ParquetShardWriter:
    """One Parquet file in row groups of at most a thousand images or some 16 MB."""

    def __init__(self, stream: IO[bytes], dense: bool) -> None:
        self._schema = _schema(dense)
        self._dense = dense
        # Images are compressed already.
        compression = dict.fromkeys(("label", "key", "quality", "weight", "tier"), "zstd")
        compression |= {"image.bytes": "none", "image.path": "zstd"}
        self._writer = pq.ParquetWriter(
            stream, self._schema, compression=compression, use_dictionary=["label", "tier"], write_statistics=["label"]
        )
        self._columns: list[list[Any]] = [[] for _ in self._schema]
        self._bytes = 0

    def add_batch(self, batch: ImageBatch) -> list[str]:
        """Write rows; their keys are the images' own."""
        names = ("number" if self._dense else "label", "key", "quality", "weight", "tier")
        columns = [batch.rows[name].to_pylist() for name in names]
        for view, *values in zip(batch.views(), *columns, strict=True):
            data, key = bytes(view), values[1]
            path = f"{sample_key(key)}.{image_suffix(data, key)}"
            for column, value in zip(self._columns, ({"bytes": data, "path": path}, *values), strict=True):
                column.append(value)
            self._bytes += len(data)
            if len(self._columns[0]) >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
                self._flush()
        return list(columns[1])

    def close(self) -> None:
        """The last row group and the footer."""
        self._flush()
        self._writer.close()

    def abandon(self) -> None:
        """Close the file as it is. The result is not published, so errors do not matter."""
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()

    def _flush(self) -> None:
        if self._columns[0]:
            self._writer.write_table(pa.table(self._columns, schema=self._schema))
            self._columns, self._bytes = [[] for _ in self._schema], 0


def _schema(dense: bool) -> pa.Schema:
    fields = {
        "image": _IMAGE,
        "label": pa.int64() if dense else pa.string(),
        "key": pa.string(),
        "quality": pa.float32(),
        "weight": pa.float32(),
        "tier": pa.string(),
    }
    features = {
        name: {"_type": "Image"}
        if name == "image"
        else {"dtype": "float32" if kind == pa.float32() else str(kind), "_type": "Value"}
        for name, kind in fields.items()
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema(list(fields.items()), metadata)
