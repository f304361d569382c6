"""From a URI to the store that holds it."""

import importlib
import os
import threading
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from fiqa_core.extras import install_extra
from fiqa_core.storage.errors import StorageError, explained, kind_and_line
from fiqa_core.storage.http import HttpStore, is_http
from fiqa_core.storage.hugging_face import HuggingFaceStore
from fiqa_core.storage.store import PlainStore, Store

_SCHEMES = {"gs": "gs", "gcs": "gs", "s3": "s3", "s3a": "s3"}
_CLIENTS = {"gs": ("google", "GoogleStore"), "s3": ("amazon", "AmazonStore")}
_EXTRAS = {"s3": "s3", "gs": "", "hf": "hf"}
_LOCAL = ("file", "local")
# With one slash, a URI of these stores would mean a local folder named `gs:`.
_REMOTE = {*_SCHEMES, "memory", "http", "https", "hf"}
# fsspec's file systems that look inside another file or store.
_WRAPPERS = {
    "zip",
    "tar",
    "libarchive",
    "dir",
    "simplecache",
    "filecache",
    "blockcache",
    "cached",
    "reference",
    "generic",
}

_INSIDE, _HUB = "zip://", "hf://"

# One client a process (all threads share its connections); a fork opens its own.
_opened: dict[tuple[int, str], Store] = {}
_opening = threading.Lock()


def filesystem(uri: str) -> tuple[Any, str]:
    """The fsspec file system of a URI (or plain local path) and the path inside it."""
    _check_named(uri)
    scheme, separator, _ = uri.partition("://")
    if not separator or scheme in _LOCAL:
        # Not with fsspec's parser: it reads `::` in a file's name as a chain of file systems.
        local = fsspec.filesystem("file")
        path = _normal(local._strip_protocol(uri))
        if uri.partition("::")[0] in _WRAPPERS and "::" in uri and not os.path.lexists(path):
            raise _chained(uri)
        return local, path
    if is_http(uri):
        # Not here either: an IPv6 address contains `::`.
        return fsspec.filesystem(scheme), uri
    if "::" in uri or scheme in _WRAPPERS:
        raise _chained(uri)
    try:
        return fsspec.core.url_to_fs(uri)  # type: ignore[no-any-return]
    except ImportError as error:
        raise _not_installed(uri, error) from error
    except ValueError as error:
        raise StorageError(f"{uri}: not a URI this installation can open: {error}") from error
    except (TypeError, OSError) as error:
        raise StorageError(f"{uri}: cannot be opened: {kind_and_line(error)}. Check the URI.") from error


def look_into(uri: str) -> tuple[str, str]:
    """(members, archive) of `zip://MEMBERS::ARCHIVE`, a URI that looks into a zip archive; ("", the URI) of any other.

    `zip://ARCHIVE` names all members. The archive may be on any store, and may not be in another archive: no other
    function here takes such a URI, but for `absolute` and `is_local`.
    """
    if not uri.startswith(_INSIDE):
        return "", uri
    members, separator, archive = uri.removeprefix(_INSIDE).partition("::")
    if not separator:
        return "", members
    return ("" if members in ("**", "**/*") else members.lstrip("/")), archive


def store_of(uri: str) -> tuple[Store, str]:
    """The store of a URI that is not local, and the path (`bucket/key`) in it.

    Raises:
        StorageError: the scheme is not known, or its package is not installed (the message names it).
    """
    kind, rest = _cloud(uri)
    if kind is None:
        fs, path = filesystem(uri)
        if is_http(uri):
            return HttpStore(fs), path
        return HuggingFaceStore(fs) if uri.startswith(_HUB) else PlainStore(fs), path
    with _opening:
        key = (os.getpid(), kind)
        if key not in _opened:
            _opened[key] = _open(kind, uri)
        return _opened[key], rest


def forget_stores() -> None:
    """Open stores again at their next use (after a change of endpoint, credentials or limits)."""
    with _opening:
        _opened.clear()


def is_local(uri: str) -> bool:
    """Whether a URI is on this machine's disk."""
    place = look_into(uri)[1] or uri
    return _cloud(place)[0] is None and isinstance(filesystem(place)[0], LocalFileSystem)


def in_this_process_only(uri: str) -> bool:
    """Whether only this process sees what is stored there (memory://)."""
    return _cloud(uri)[0] is None and isinstance(filesystem(uri)[0], MemoryFileSystem)


def absolute(uri: str) -> str:
    """The URI in a form that is valid in every process: local paths become absolute paths."""
    members, archive = look_into(uri)
    uri = archive or uri
    if members:
        return f"{_INSIDE}{members}::{absolute(uri)}"
    kind, rest = _cloud(uri)
    if kind is not None:
        return f"{kind}://{rest.rstrip('/')}"
    fs, path = filesystem(uri)
    return path if isinstance(fs, LocalFileSystem) else str(fs.unstrip_protocol(path))


def uri_in(uri: str, path: str) -> str:
    """The URI of another path in the same store as `uri`."""
    kind, _ = _cloud(uri)
    return f"{kind}://{path}" if kind is not None else str(filesystem(uri)[0].unstrip_protocol(path))


def join(base: str, *parts: str) -> str:
    """`base/part/part` with single slashes.

    Raises:
        StorageError: `base` is only a scheme (`gs://`): the result would name a bucket, or a local folder `gs:`.
    """
    stem = base.rstrip("/")
    if stem.endswith(":"):
        _check_named(base)
    return "/".join([stem, *(part.strip("/") for part in parts)])


def above(place: str) -> str | None:
    """The folder that contains a file or folder; None for a whole bucket, server or store."""
    folder, slash, _ = place.rstrip("/").rpartition("/")
    if not slash:
        return None if place.startswith("/") else "."
    if "://" in place and folder.rstrip("/").endswith(":"):
        return None
    return folder or "/"


def _normal(path: str) -> str:
    """An absolute path without `.`, `..` and double slashes, so that each place has one name."""
    before, up, after = path.rpartition("/..")
    if up and after[:1] in ("", "/"):
        # The parent of a link is the parent of its target.
        path = os.path.realpath(before + up) + after
    return "/" + os.path.normpath(path).lstrip("/")


def _cloud(uri: str) -> tuple[str | None, str]:
    _check_named(uri)
    scheme, separator, rest = uri.partition("://")
    return (_SCHEMES.get(scheme), rest) if separator else (None, uri)


def _check_named(uri: str) -> None:
    """Refuse a URI that names a store but no place in it.

    Raises:
        StorageError: the message says what was expected.
    """
    scheme, colon, rest = uri.partition(":")
    if not colon or "/" in scheme:
        return
    kind = _SCHEMES.get(scheme)
    expected = f"{scheme}://BUCKET/PATH" if kind else f"{scheme}://NAME"
    if rest.startswith("//"):
        place = rest[2:]
        if kind and not place.partition("/")[0]:
            raise StorageError(f"{uri}: names no bucket; expected {expected}")
        if not place or not (place.strip("/") or scheme in _LOCAL):
            raise StorageError(f"{uri}: names no place in that store; expected {expected}")
    elif scheme in _REMOTE and rest[:1] in ("", "/"):
        raise StorageError(
            f"{uri}: begins like the URI of a store, but without two slashes; expected {expected}. A local folder of "
            f"that name is written ./{uri}"
        )


def _open(kind: str, uri: str) -> Store:
    module, name = _CLIENTS[kind]
    try:
        opener = getattr(importlib.import_module(f"fiqa_core.storage.{module}"), name)
    except ImportError as error:
        raise _not_installed(uri, error) from error
    with explained(uri):
        opened: Store = opener()
        return opened


def _chained(uri: str) -> StorageError:
    return StorageError(
        f"{uri}: a chain of file systems, or a look into an archive, which is not supported here. Copy or unpack it "
        "and name the result. As images, tar and zip archives on any store are read as they are (faces.zip, or some of "
        "its members: zip://MEMBERS::faces.zip)."
    )


def _not_installed(uri: str, error: ImportError) -> StorageError:
    scheme = uri.partition("://")[0]
    extra = _EXTRAS.get(_SCHEMES.get(scheme, scheme))
    remedy = "Install that package" if extra is None else f"Install it: {install_extra(extra)}"
    return StorageError(f"{uri}: {scheme}:// needs a package that is not installed ({error}). {remedy}")
