"""Google Cloud Storage (gs://) through gcsfs: our own retries, no caches."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import fsspec

# The plain class: gcsfs's newer default first asks over gRPC for the kind of bucket, which takes 80 s with an emulator
# or if only HTTPS is allowed.
from gcsfs.core import GCSFileSystem

from fiqa_core.storage.retry import policy, retrying
from fiqa_core.storage.store import Entry

_PAGE = 1000  # entries a listing request; what the service allows
_UPLOAD_CHUNK = 16 << 20
_one_request = getattr(GCSFileSystem._request, "__wrapped__", GCSFileSystem._request)


class _GoogleFiles(GCSFileSystem):  # type: ignore[misc]
    async def _request(self, method: str, path: str, *args: Any, **kwargs: Any) -> Any:
        what = f"gs {method} {path.partition('?')[0].format(*args) if args else path.partition('?')[0]}"
        return await retrying(lambda: _one_request(self, method, path, *args, **kwargs), what)


class GoogleStore:
    """Objects of Google Cloud Storage; a path is `bucket/key`."""

    def __init__(self) -> None:
        configured = fsspec.config.conf.get("gs", {})
        settings: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
        if "requests_timeout" not in configured:
            settings["requests_timeout"] = aiohttp.ClientTimeout(
                total=None, sock_connect=policy().stall_s, sock_read=policy().stall_s
            )
        if os.environ.get("STORAGE_EMULATOR_HOST") and "token" not in configured:
            settings["token"] = "anon"  # an emulator needs no credentials; searching for some takes seconds
        self._fs = _GoogleFiles(**settings)

    def head(self, path: str) -> Entry | None:
        """One object, None if there is none."""
        bucket, _, key = path.partition("/")
        if not key:
            return None
        try:
            found = self._fs.call("GET", "b/{}/o/{}", bucket, key, json_out=True)
        except FileNotFoundError:
            return None
        return _entry(bucket, found)

    def entries(self, prefix: str, deep: bool, first: bool = False) -> Iterator[Entry]:
        """Objects whose path begins with `prefix`, a page at a time."""
        bucket, _, key = prefix.partition("/")
        token = None
        while True:
            page = self._fs.call(
                "GET",
                "b/{}/o",
                bucket,
                json_out=True,
                prefix=key or None,
                delimiter=None if deep else "/",
                maxResults=1 if first else _PAGE,
                pageToken=token,
                fields="nextPageToken,prefixes,items(name,size,generation)",
            )
            for folder in page.get("prefixes", []):
                yield Entry(f"{bucket}/{folder}", -1, "")
            for item in page.get("items", []):
                yield _entry(bucket, item)
            token = page.get("nextPageToken")
            if not token:
                return

    def read(self, path: str, start: int, end: int, version: str) -> bytes:
        """Bytes start to end (exclusive) of this version of an object ("" = any)."""
        pinned = {"generation": version} if version else {}
        data: bytes = self._fs.cat_file(path, start=start, end=end, **pinned)
        return data

    def put(self, local: Path, path: str) -> None:
        """Upload a file; readers see it when it is complete (small files in one request, large ones resumable)."""
        self._fs.put_file(str(local), path, chunksize=_UPLOAD_CHUNK)

    def delete(self, paths: list[str]) -> None:
        """Remove objects; one that is already gone is not an error."""
        with ThreadPoolExecutor(16, "delete") as pool:
            list(pool.map(self._delete, paths))

    def _delete(self, path: str) -> None:
        bucket, _, key = path.partition("/")
        try:
            self._fs.call("DELETE", "b/{}/o/{}", bucket, key)
        except FileNotFoundError:
            return

    def sweep(self, prefix: str) -> int:  # noqa: ARG002
        """Nothing to do: an interrupted upload is invisible, costs nothing, and the store drops it after a week."""
        return 0


def _entry(bucket: str, item: dict[str, Any]) -> Entry:
    return Entry(f"{bucket}/{item['name']}", int(item.get("size", 0)), str(item.get("generation", "")))
