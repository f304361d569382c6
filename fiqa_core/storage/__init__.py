"""Files on any store: locate, list, read, and publish whole or not at all."""

from fiqa_core.in_flight import in_flight
from fiqa_core.storage.errors import (
    ChangedError,
    DeniedError,
    GaveUpError,
    MissingError,
    StorageError,
)
from fiqa_core.storage.http import without_query
from fiqa_core.storage.listing import (
    Listed,
    StoredFile,
    exists,
    expand_glob,
    glob_base,
    has_glob,
    has_magic,
    is_folder,
    list_names,
    stat,
    walk,
)
from fiqa_core.storage.places import (
    above,
    absolute,
    filesystem,
    forget_stores,
    in_this_process_only,
    is_local,
    join,
    look_into,
)
from fiqa_core.storage.publishing import (
    make_folder,
    publish,
    publish_alone,
    publish_bytes,
    remove,
    sweep,
    temporary_folder_for,
    temporary_for,
)
from fiqa_core.storage.read_ahead import open_ahead
from fiqa_core.storage.reading import open_read, read_bytes, read_small
from fiqa_core.storage.retry import RetryPolicy, set_policy

__all__ = [
    "ChangedError",
    "DeniedError",
    "GaveUpError",
    "Listed",
    "MissingError",
    "RetryPolicy",
    "StorageError",
    "StoredFile",
    "above",
    "absolute",
    "exists",
    "expand_glob",
    "filesystem",
    "forget_stores",
    "glob_base",
    "has_glob",
    "has_magic",
    "in_flight",
    "in_this_process_only",
    "is_folder",
    "is_local",
    "join",
    "list_names",
    "look_into",
    "make_folder",
    "open_ahead",
    "open_read",
    "publish",
    "publish_alone",
    "publish_bytes",
    "read_bytes",
    "read_small",
    "remove",
    "set_policy",
    "stat",
    "sweep",
    "temporary_folder_for",
    "temporary_for",
    "walk",
    "without_query",
]
