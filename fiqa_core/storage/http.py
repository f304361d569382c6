"""One file, or the links of a page, over http(s); read in ranges if the server supports them."""

import re
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from fsspec.asyn import sync

from fiqa_core.storage.errors import ChangedError, StorageError
from fiqa_core.storage.retry import policy, retrying_here
from fiqa_core.storage.store import Entry, plain_entry

# If a server does not support ranges, its last file is kept whole, up to this size.
WHOLE_BYTES = 64 << 20
_MOST_FOLDERS = 10_000
_PAGE_BYTES = 64 << 20
_WITHOUT_RANGES: set[str] = set()  # hosts that have answered a range request with a whole file


def is_http(uri: str) -> bool:
    """Whether a URI is an http(s) address."""
    return uri.partition("://")[0].lower() in ("http", "https")


def without_query(uri: str) -> str:
    """A URI that ends with the file's name: an http(s) address loses its query and fragment (`x.tar?download=true`)."""
    return re.split(r"[?#]", uri, maxsplit=1)[0] if is_http(uri) else uri


class HttpStore:
    """Files of a web server, read only. A path is the whole URL; a folder is a page with links to its content."""

    _kept: tuple[str, str, bytes] | None = None  # url, version and bytes of the last file that was sent whole
    _reading_whole = threading.Lock()

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def head(self, path: str) -> Entry | None:
        """One file; None if there is none, or only a page that stands for a folder.

        Raises:
            StorageError: the server does not state the file's size, and the file is too large to read it for that.
        """
        if path.endswith("/"):
            return None
        info = self._info(path)
        if info is None or str(info.get("url", "")).partition("?")[0].endswith("/"):
            return None  # a server redirects from a folder to its address with a slash
        entry = plain_entry(info)
        if HttpStore._kept is not None and HttpStore._kept[:2] == (path, ""):
            HttpStore._kept = None  # without a version it may have changed
        if entry.size < 0:
            self.read(path, 0, WHOLE_BYTES, entry.version)
            kept = HttpStore._kept
            if kept is None or kept[:2] != (path, entry.version):
                raise StorageError(f"{path}: the server does not state its size. Download it and name the copy.")
            entry = entry._replace(size=len(kept[2]))
        return entry

    def entries(self, prefix: str, deep: bool, first: bool = False) -> Iterator[Entry]:
        """Files whose URL begins with `prefix`, found by the links of pages, from the folder before its last slash."""
        found: set[Entry] = set()
        seen: set[str] = set()
        waiting = deque([prefix.rpartition("/")[0]])
        while waiting:
            folder = waiting.popleft()
            if folder in seen:
                continue
            seen.add(folder)
            if len(seen) > _MOST_FOLDERS:
                raise StorageError(f"{prefix}: more than {_MOST_FOLDERS:,} folders below it. Name a smaller one.")
            for entry in self._links(folder):
                if deep and entry.path.endswith("/"):
                    waiting.append(entry.path.rstrip("/"))
                elif entry.path.startswith(prefix) and entry.path != prefix:
                    found.add(entry)
                    if first:
                        yield entry
                        return
        yield from sorted(found)

    def read(self, path: str, start: int, end: int, version: str) -> bytes:
        """Bytes start to end (exclusive).

        Raises:
            StorageError: the server only sends whole files, and this one is too large for that.
            ChangedError: the server's tag of the file has changed.
        """
        whole = self._whole(path, version)
        if whole is None and urlsplit(path).netloc in _WITHOUT_RANGES:
            with HttpStore._reading_whole:  # other threads wait for the one that fetches the file
                whole = self._whole(path, version)
                if whole is None:
                    return self._part(path, start, end, version)
        return self._part(path, start, end, version) if whole is None else whole[start:end]

    def _whole(self, path: str, version: str) -> bytes | None:
        kept = HttpStore._kept
        return kept[2] if kept is not None and kept[:2] == (path, version) else None

    def _part(self, path: str, start: int, end: int, version: str) -> bytes:
        data: bytes = sync(self._fs.loop, self._get, path, start, end, version)
        return data

    async def _get(self, path: str, start: int, end: int, version: str) -> bytes:
        session = await self._fs.set_session()
        options = dict(self._fs.kwargs)
        headers = {**options.pop("headers", {}), "Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        options.setdefault("timeout", aiohttp.ClientTimeout(sock_connect=policy().stall_s, sock_read=policy().stall_s))
        async with session.get(self._fs.encode_url(path), headers=headers, **options) as answer:
            if answer.status == 416:  # the file ends at or before `start`
                return b""
            self._fs._raise_not_found_for_status(answer, path)
            now = answer.headers.get("ETag", "")
            if version.startswith(('"', "W/")) and now and now != version:
                raise ChangedError(f"{path}: changed while it was read (tag {now}, before {version})")
            if answer.status != 206:
                return (await self._get_whole(path, answer, version))[start:end]
            if not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                raise StorageError(f"{path}: the server sent a different part of the file than was requested")
            part: bytes = await answer.read()
            return part

    async def _get_whole(self, path: str, answer: Any, version: str) -> bytes:
        _WITHOUT_RANGES.add(urlsplit(path).netloc)
        parts: list[bytes] = []
        length = answer.content_length or 0
        if length <= WHOLE_BYTES:
            length = 0
            async for chunk in answer.content.iter_chunked(1 << 20):
                parts.append(chunk)
                length += len(chunk)
                if length > WHOLE_BYTES:
                    break
        if length > WHOLE_BYTES:
            raise StorageError(
                f"{path}: this server sends whole files only (it does not answer range requests), and this one is "
                f"larger than the {WHOLE_BYTES >> 20} MiB that are read at once. Download it and name the copy."
            )
        whole = b"".join(parts)
        HttpStore._kept = (path, version, whole)
        return whole

    def put(self, local: Path, path: str) -> None:  # noqa: ARG002
        """Always refused: nothing is written over http(s)."""
        raise StorageError(
            f"{path}: this store can be read, but not written to. Write to a local folder, gs:// or s3://."
        )

    def delete(self, paths: list[str]) -> None:
        """Always refused, like `put`."""
        if paths:
            self.put(Path(), paths[0])

    def sweep(self, prefix: str) -> int:  # noqa: ARG002
        """Nothing to do: nothing was written."""
        return 0

    def _info(self, path: str) -> dict[str, Any] | None:
        """The server's information on an address, None if it answers that there is nothing."""

        def once() -> dict[str, Any] | None:
            try:
                info: dict[str, Any] = self._fs.info(path)
            except FileNotFoundError as error:
                # fsspec reports every failure as "not found".
                cause = error.__cause__
                if cause is None or (isinstance(cause, aiohttp.ClientResponseError) and cause.status in (404, 410)):
                    return None
                raise cause from None
            return info

        return retrying_here(once, path)

    def _links(self, folder: str) -> list[Entry]:
        """What a folder's page links to inside the folder: files, and folders with a slash at the end."""
        info = self._info(folder + "/")
        # A page is read whole to find its links, so a large file must not be treated as a page.
        if info is None or info.get("mimetype") != "text/html" or (info.get("size") or 0) > _PAGE_BYTES:
            return []
        names: list[str] = retrying_here(lambda: self._fs.ls(folder + "/", detail=False), folder)
        # Links with a query sort the page, or lead to other places.
        inside = [name for name in names if name.startswith(folder + "/") and "?" not in name and "#" not in name]
        return [Entry(name, -1, "") for name in inside if "//" not in name[len(folder) :] and "/." not in name]
