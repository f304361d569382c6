"""The tar stream gives what Python's tarfile gives, and says where and why it stops."""

import contextlib
import gzip
import hashlib
import io
import tarfile
import time
from collections.abc import Callable

import pytest

from fiqa_core.shards.tar.stream import LINK, REGULAR, Gap, TarDamagedError, members, open_tar
from tests.makers.hostile import TAR_END, long_named_member, pax_member, tar_member

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
    found = members(open_tar(io.BytesIO(data)), limit)
    return [("a gap", None) if isinstance(m, Gap) else (m.name, m.data) for m in found]


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


GOOD = tar_member(b"good.jpg", b"good")

HOSTILE_MEMBERS = {
    "pax size of 5,000 digits": pax_member(b"5011 size=" + b"9" * 5000 + b"\n", b"a.jpg", b"x"),
    "pax record length of 5,000 digits": pax_member(b"9" * 5000 + b" path=b.jpg\n", b"a.jpg", b"x"),
    "negative size": tar_member(b"a.jpg", b"", size_field=b"-0000001000\0"),
    "negative size in base 256": tar_member(b"a.jpg", b"", size_field=b"\xff" * 12),
    "size that is no number": tar_member(b"a.jpg", b"", size_field=b"many bytes \0"),
    "name of negative size": tar_member(b"././@LongLink", b"", b"L", size_field=b"-0000001000\0"),
    "name of 8 GiB": tar_member(b"././@LongLink", b"", b"L", size_field=b"77777777777\0"),
}


@pytest.mark.parametrize("member", HOSTILE_MEMBERS.values(), ids=HOSTILE_MEMBERS.keys())
def test_a_header_with_hostile_numbers_costs_its_member_and_no_other(member: bytes):
    assert read(GOOD + member + GOOD + TAR_END) == [("good.jpg", b"good"), ("a gap", None), ("good.jpg", b"good")]


def test_a_size_of_more_than_any_disk_holds_is_read_until_the_archive_ends():
    member = tar_member(b"a.jpg", b"", size_field=b"\x80" + b"\xff" * 11)
    found = members(io.BytesIO(GOOD + member + TAR_END), 1 << 20)
    assert next(found).data == b"good"
    with pytest.raises(TarDamagedError) as caught:
        next(found)
    assert caught.value.truncated


def test_a_pax_block_of_a_hundred_thousand_records_is_read_in_time():
    records = b"6 a=b\n" * 100_000 + b"21 path=the_name.jpg\n"
    started = time.thread_time()
    assert [m.name for m in members(io.BytesIO(pax_member(records, b"a.jpg", b"x") + TAR_END), 100)] == ["the_name.jpg"]
    assert time.thread_time() - started < 5


def test_equal_pax_headers_with_other_content_are_read_each():
    data = b"".join(pax_member(b"14 path=%s.jpg\n" % name, b"?", name) for name in (b"a", b"b", b"c")) + TAR_END
    assert read(data) == [("a.jpg", b"a"), ("b.jpg", b"b"), ("c.jpg", b"c")]


def test_a_pax_size_is_of_the_member_and_not_of_a_block_before_it():
    member = pax_member(b"9 size=3\n", b"short.jpg", b"abc")
    named = tar_member(b"././@PaxHeader", b"9 size=3\n", b"x") + long_named_member(b"long" * 50, b"abc")
    assert read(member + named + TAR_END) == [("short.jpg", b"abc"), ("long" * 50, b"abc")]


def test_bytes_of_names_that_are_no_utf8_are_kept():
    ((name, _),) = read(tar_member(b"\xff\xfe.jpg", b"x") + TAR_END)
    assert name.encode("utf-8", "surrogateescape") == b"\xff\xfe.jpg"


def test_a_message_does_not_repeat_a_name_of_a_megabyte():
    with pytest.raises(TarDamagedError) as caught:
        read(long_named_member(b"x" * 1_000_000, b"abc")[:-512])
    assert len(str(caught.value)) < 1000


def test_any_flipped_byte_gives_members_or_says_where_it_stops():
    data = bytearray(archive(tarfile.PAX_FORMAT, ["a.jpg", LONG]))
    for place in range(0, 4096, 3):
        data[place] ^= 0xFF
        with contextlib.suppress(TarDamagedError):
            read(bytes(data))
        data[place] ^= 0xFF


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
