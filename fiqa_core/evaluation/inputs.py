"""Digests of an evaluation's inputs, so that --resume detects an input whose content changed."""

import hashlib
import json
from collections.abc import Iterable

from fiqa_core.evaluation.named import parse_named
from fiqa_core.storage import has_glob, in_flight, is_folder, open_read, walk
from fiqa_core.tables.footers import footer_digest
from fiqa_core.tables.quality_files import table_files

_FILES_AT_ONCE = 16


def input_digests(texts: Iterable[str]) -> dict[str, str]:
    """A digest for each path in command-line texts such as `NAME=PATH`."""
    paths = dict.fromkeys(named.path for text in texts for named in parse_named([text], ""))
    return {path: input_digest(path) for path in paths}


def input_digest(path: str) -> str:
    """Digest of the input at a path; "" if it cannot be read (reading its data will raise the error).

    For a table it covers the footers of its files (place and value range of every column chunk), for a folder of .npy
    the names and sizes, for any other file its content.
    """
    try:
        return _digest(path)
    except (OSError, ValueError):
        return ""


def _digest(path: str) -> str:
    folder = is_folder(path)
    if folder:
        listed = [(file.path.decode("utf-8", "backslashreplace"), file.size) for file in walk(path)]
        arrays = [entry for entry in listed if entry[0].endswith(".npy")]
        if arrays:
            return _short(json.dumps(arrays).encode())
    if folder or has_glob(path) or path.endswith(".parquet"):
        urls = table_files(path)
        ends = in_flight(urls, footer_digest, _FILES_AT_ONCE)
        return _short(json.dumps([(url.rpartition("/")[2], end) for url, end in zip(urls, ends, strict=True)]).encode())
    with open_read(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]  # type: ignore[arg-type]


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
