"""The formats of which every shard is a file that stands alone."""

from fiqa_core.shards.parquet.writer import ParquetShards
from fiqa_core.shards.shard_format import ShardFormat
from fiqa_core.shards.webdataset.writer import WebDatasetShards

# A new format is one module and one line here.
WRITERS: dict[str, ShardFormat] = {"webdataset": WebDatasetShards(), "parquet": ParquetShards()}
