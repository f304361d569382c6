"""The tar stream gives what Python's tarfile gives, and says where and why it stops."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable

import pytest

from fiqa_core.shards.tar import LINK, REGULAR, TarDamagedError, members, open_tar

LONG = "person/" + "x" * 180 + ".jpg"


def archive(tar_format: int, names: list[str], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=tar_format) as tar:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = 300 + number
            tar.addfile(info, io.BytesIO(bytes([number % 256]) * info.size))
    return buffer.getvalue()


def read(data: bytes, limit: int = 1 << 20) -> list[tuple[str, bytes | None]]:
    return [(m.name, m.data) for m in members(open_tar(io.BytesIO(data)), limit)]


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_and_bytes_equal_tarfiles(tar_format):
    names = ["a.jpg", "ü/b.jpg", *([] if tar_format == tarfile.USTAR_FORMAT else [LONG])]
    data = archive(tar_format, names)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = [(m.name, tar.extractfile(m).read()) for m in tar]
    assert read(data) == expected
    assert read(gzip.compress(data)) == expected


def test_archives_joined_end_to_end_are_read_to_the_last_member():
    data = archive(tarfile.GNU_FORMAT, ["a.jpg"]) + archive(tarfile.GNU_FORMAT, ["b.jpg"])
    assert [name for name, _ in read(data)] == ["a.jpg", "b.jpg"]


def cut(data: bytes) -> bytes:
    return data[: 512 + 200]


def cut_at_a_member(data: bytes) -> bytes:
    return data[:1024]


def damaged_second_header(data: bytes) -> bytes:
    return data[:1024] + b"?" * 512 + data[1536:]


@pytest.mark.parametrize(("spoil", "truncated"), [(cut, True), (cut_at_a_member, True), (damaged_second_header, False)])
def test_a_spoilt_archive_says_so_and_never_just_ends(spoil: Callable[[bytes], bytes], truncated: bool):
    with pytest.raises(TarDamagedError) as caught:
        read(spoil(archive(tarfile.GNU_FORMAT, ["a.jpg", "b.jpg"])))
    assert caught.value.truncated is truncated


def test_a_cut_gzip_is_truncated():
    data = gzip.compress(archive(tarfile.GNU_FORMAT, [f"{i}.jpg" for i in range(50)]))
    with pytest.raises(TarDamagedError) as caught:
        read(data[: len(data) // 2])
    assert caught.value.truncated


def test_a_member_over_the_limit_is_hashed_and_not_kept():
    data = archive(tarfile.GNU_FORMAT, ["a.jpg", "b.jpg"])
    first, second = members(io.BytesIO(data), 300)
    assert first.data == b"\0" * 300
    assert second.data is None
    assert second.sha256 == hashlib.sha256(b"\1" * 301).digest()


def test_links_are_told_apart_from_files():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        file = tarfile.TarInfo("a.jpg")
        file.size = 1
        tar.addfile(file, io.BytesIO(b"x"))
    found = list(members(io.BytesIO(buffer.getvalue()), 100))
    assert [(m.name, m.kind, m.link) for m in found] == [("link.jpg", LINK, "/etc/passwd"), ("a.jpg", REGULAR, "")]
