"""Repositories of the Hugging Face Hub (hf://datasets/OWNER/NAME/...), through huggingface_hub, for reading."""

from collections.abc import Iterator
from typing import Any

from fiqa_core.storage.store import Entry, PlainStore, plain_entry


class HuggingFaceStore(PlainStore):
    """Files of a repository, of the branch or commit that the path names (`OWNER/NAME@REVISION/...`), else of `main`.

    A file's version is its blob: it changes with the content. The client's cache of listings is passed by.
    """

    def __init__(self, fs: Any) -> None:
        super().__init__(fs)
        self._hub = fs

    def head(self, path: str) -> Entry | None:
        """One file, None if there is none."""
        try:
            info = self._hub.info(path, refresh=True, expand_info=True)
        except FileNotFoundError:
            return None
        return plain_entry(info) if info["type"] == "file" else None

    def entries(self, prefix: str, deep: bool, first: bool = False) -> Iterator[Entry]:
        """Files whose path begins with `prefix`."""
        self._hub.invalidate_cache(prefix.rpartition("/")[0])
        return super().entries(prefix, deep, first)
