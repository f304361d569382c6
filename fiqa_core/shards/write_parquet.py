"""Write Parquet with image bytes as Hugging Face `datasets` reads it: a struct {bytes, path}, labels beside it."""

import json
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.shards.output import OutputImage, ShardWriter
from fiqa_core.shards.output_names import image_suffix, sample_key

# A row group is held in memory by its writer and its readers.
_GROUP_ROWS = 1000
_GROUP_BYTES = 16 << 20
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


class ParquetShards:
    """Parquet shards with the columns image, label, key, quality, weight, tier."""

    name = "parquet"
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
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0

    def add(self, image: OutputImage) -> str:
        """Write a row; its key is the image's own."""
        path = f"{sample_key(image.key)}.{image_suffix(image.data, image.key)}"
        self._rows.append(
            {
                "image": {"bytes": image.data, "path": path},
                "label": image.number if self._dense else image.label,
                "key": image.key,
                "quality": image.quality,
                "weight": image.weight,
                "tier": image.tier,
            }
        )
        self._bytes += len(image.data)
        if len(self._rows) >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._flush()
        return image.key

    def close(self) -> None:
        """The last row group and the footer."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, self._schema))
            self._rows, self._bytes = [], 0


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
