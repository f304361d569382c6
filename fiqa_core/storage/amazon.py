"""S3 (s3://) and stores with the same interface, through s3fs: our own retries, no caches."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
from s3fs.core import S3FileSystem

from fiqa_core.storage.errors import StorageError
from fiqa_core.storage.retry import policy, retrying
from fiqa_core.storage.store import Entry

_PAGE = 1000  # entries a listing request; what the service allows
_PART = 16 << 20
_DELETE_AT_ONCE = 1000


class _S3Files(S3FileSystem):  # type: ignore[misc]
    retries = 1

    async def _call_s3(self, method: str, *args: Any, **kwargs: Any) -> Any:
        once = functools.partial(super()._call_s3, method, *args, **kwargs)
        return await retrying(once, f"s3 {method} {kwargs.get('Bucket', '')}/{kwargs.get('Key', '')}")

    call_s3 = fsspec.asyn.sync_wrapper(_call_s3)  # the inherited one is bound to the inherited coroutine

    async def read_part(self, **request: Any) -> bytes:
        """The body of one GET; if it breaks off, the request is repeated."""
        call = super()._call_s3

        async def once() -> bytes:
            answer = await call("get_object", **request)
            async with answer["Body"] as body:
                data: bytes = await body.read()
            return data

        return await retrying(once, f"s3 get_object {request['Bucket']}/{request['Key']}")


class AmazonStore:
    """Objects of S3; a path is `bucket/key`."""

    def __init__(self) -> None:
        connection = {
            "connect_timeout": policy().stall_s,
            "read_timeout": policy().stall_s,
            "max_pool_connections": 64,
            "retries": {"total_max_attempts": 1, "mode": "standard"},
        }
        configured = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
        self._fs = _S3Files(
            config_kwargs=connection | configured,
            max_concurrency=4,
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def head(self, path: str) -> Entry | None:
        """One object, None if there is none."""
        bucket, _, key = path.partition("/")
        if not key:
            return None
        try:
            found = self._fs.call_s3("head_object", Bucket=bucket, Key=key)
        except FileNotFoundError:
            return None
        return Entry(path, int(found["ContentLength"]), str(found["ETag"]))

    def entries(self, prefix: str, deep: bool, first: bool = False) -> Iterator[Entry]:
        """Objects whose path begins with `prefix`, a page at a time."""
        bucket, _, key = prefix.partition("/")
        request: dict[str, Any] = {"Bucket": bucket, "Prefix": key, "MaxKeys": 1 if first else _PAGE}
        if not deep:
            request["Delimiter"] = "/"
        while True:
            page = self._fs.call_s3("list_objects_v2", **request)
            for folder in page.get("CommonPrefixes", []):
                yield Entry(f"{bucket}/{folder['Prefix']}", -1, "")
            for item in page.get("Contents", []):
                yield Entry(f"{bucket}/{item['Key']}", int(item["Size"]), str(item["ETag"]))
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def read(self, path: str, start: int, end: int, version: str) -> bytes:
        """Bytes start to end (exclusive) of this version of an object ("" = any)."""
        bucket, _, key = path.partition("/")
        pinned = {"IfMatch": version} if version else {}
        request = {"Bucket": bucket, "Key": key, "Range": f"bytes={start}-{end - 1}"}
        data: bytes = fsspec.asyn.sync(self._fs.loop, self._fs.read_part, **request, **pinned)
        return data

    def put(self, local: Path, path: str) -> None:
        """Upload a file; readers see it when it is complete (large files go in parts, which are dropped on failure)."""
        try:
            self._fs.put_file(str(local), path, chunksize=_PART)
        except FileNotFoundError:
            # If the answer to the last step was lost and the step was repeated, the upload is no longer known, because
            # it is complete.
            held = self.head(path)
            if held is None or held.size != local.stat().st_size:
                raise

    def delete(self, paths: list[str]) -> None:
        """Remove objects; one that is already gone is not an error."""
        for start in range(0, len(paths), _DELETE_AT_ONCE):
            some = paths[start : start + _DELETE_AT_ONCE]
            bucket = some[0].partition("/")[0]
            keys = [{"Key": path.partition("/")[2]} for path in some]
            answer = self._fs.call_s3("delete_objects", Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
            for error in answer.get("Errors", [])[:1]:
                raise StorageError(f"s3://{bucket}/{error['Key']}: not removed: {error['Code']} {error['Message']}")

    def sweep(self, prefix: str) -> int:
        """Drop the parts of uploads under `prefix` that killed processes left (invisible, but they cost storage)."""
        bucket, _, key = prefix.partition("/")
        request: dict[str, Any] = {"Bucket": bucket, "Prefix": key}
        count = 0
        while True:
            page = self._fs.call_s3("list_multipart_uploads", **request)
            for upload in page.get("Uploads", []):
                place = {"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
                try:
                    self._fs.call_s3("abort_multipart_upload", **place)
                except FileNotFoundError:
                    continue  # completed or dropped in the meantime
                count += 1
            if not page.get("IsTruncated"):
                return count
            request |= {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
