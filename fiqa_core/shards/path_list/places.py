"""Which files a list may name, and where they lie.

A list that lies on a local disk is the user's own: it may name files of its folder, absolute paths, and files of any
store. One that lies anywhere else was written by somebody else: it may name files of its own store (bucket, host) only,
so that it can neither read this machine's files nor make it call other hosts. In both, a path with `..` is refused.
"""

from typing import NamedTuple

from fiqa_core.shards.names import MAX_NAME_CHARACTERS, is_safe
from fiqa_core.storage import absolute, join, look_into

_LOCAL_SCHEMES = ("file", "local")
_WEB = ("http", "https")
_SAME_STORE = {"s3a": "s3", "gcs": "gs"}


class Unsafe(NamedTuple):
    """Why a list may not name a file."""

    reason: str


def place_of(path: str, list_url: str, base: str) -> str | Unsafe:
    """Where the file lies that a list names, as a URL or (on a local disk) absolute path.

    Args:
        list_url: of the list. base: the folder of its relative paths; both absolute.
    """
    if len(path) > MAX_NAME_CHARACTERS:
        return Unsafe(f"is longer than {MAX_NAME_CHARACTERS} characters")
    scheme, separator, rest = path.partition("://")
    if separator and "/" not in scheme:
        if scheme in _LOCAL_SCHEMES:
            return _absolute(rest, list_url)
        return _stored(path, scheme.lower(), rest, list_url)
    if path.startswith("/"):
        return _absolute(path, list_url)
    if "\\" in path and "/" not in path:
        path = path.replace("\\", "/")
    if not is_safe(path):
        return Unsafe("leads out of the list's folder")
    return join(base, path.removeprefix("./"))


def _absolute(path: str, list_url: str) -> str | Unsafe:
    if not _is_local(list_url):
        return Unsafe("is a path of this machine, which only a list on a local disk may name: copy the list to one")
    return path if is_safe(path.lstrip("/")) else Unsafe("has `..` in it")


def _stored(path: str, scheme: str, rest: str, list_url: str) -> str | Unsafe:
    if look_into(path)[1] != path or ("::" in path and scheme not in _WEB):
        return Unsafe("is a chain of file systems; name files and not places in archives")
    if not is_safe(rest.partition("?")[0]):
        return Unsafe("has `..` in it")
    if _is_local(list_url):
        return path
    own = list_url.partition("://")[0].lower()
    if _SAME_STORE.get(scheme, scheme) == _SAME_STORE.get(own, own) and _bucket(absolute(path)) == _bucket(list_url):
        return path
    return Unsafe("lies in another store than its list, which only a list on a local disk may name: copy the list")


def _is_local(list_url: str) -> bool:
    # Absolute URLs of local files are paths; asking the storage costs more than reading a small image.
    return list_url.startswith("/")


def _bucket(url: str) -> str:
    """The bucket or host of a URL."""
    return url.partition("://")[2].partition("/")[0]
