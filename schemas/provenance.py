"""Keys of the Parquet file metadata: how the numbers in a quality file were made."""

# One JSON object with every setting that changes a score (`fiqa_core.scoring.settings.ScoreSettings`).
SETTINGS = b"fiqa.settings"
SETTINGS_DIGEST = b"fiqa.settings_digest"

# One JSON object that says which part of which shard this file holds (`fiqa_core.shards.unit.Unit`).
UNIT = b"fiqa.unit"

# Two JSON objects: where labels came from -> rows; fields of rows without a label that look like one -> rows.
LABELS = b"fiqa.labels"

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
DETECTOR_SHA256 = b"fiqa.detector_sha256"  # of aligned pictures only, as the next
FACES = b"fiqa.faces"  # which of several faces was taken: --faces

# A decisions file: the policy and the whole table that it was made with, and the quality file that it goes with.
DECISIONS_RUN = b"fiqa.decisions_run"
DECISIONS_VERSION = b"fiqa.decisions_version"
POLICY_DIGEST = b"fiqa.policy_digest"
DROP_WHERE = b"fiqa.drop_where"  # JSON list of the conditions of --drop-where, where there are any
QUALITY_FILE = b"fiqa.quality_file"
QUALITY_DIGEST = b"fiqa.quality_digest"

# An atlas: one JSON object with its settings, seed, library and tables.
ATLAS = b"fiqa.atlas"
