"""Keys of the Parquet file metadata: how the numbers in a quality file came to be."""

# One JSON object with every setting that changes a score (`fiqa_core.scoring.settings.ScoreSettings`).
SETTINGS = b"fiqa.settings"
SETTINGS_DIGEST = b"fiqa.settings_digest"

# One JSON object that says which part of which shard this file holds (`fiqa_core.shards.unit.Unit`).
UNIT = b"fiqa.unit"

# The same facts one by one, for people who open the file with a Parquet viewer.
SCHEMA_VERSION = b"fiqa.schema_version"
NETWORK = b"fiqa.network"
MODE = b"fiqa.mode"
CHECKPOINT_SHA256 = b"fiqa.checkpoint_sha256"
PREPROCESSING = b"fiqa.preprocessing"
PRECISION = b"fiqa.precision"
CHANNEL_ORDER = b"fiqa.channel_order"
PACKAGE_VERSION = b"fiqa.package_version"
TORCH_VERSION = b"fiqa.torch_version"
ONNXRUNTIME_VERSION = b"fiqa.onnxruntime_version"  # of ONNX networks only
