"""A tar that is cut into ranges gives the rows that it gives as one unit, damaged or not."""

import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fiqa_core.shards.container import Surroundings
from fiqa_core.shards.unit import ReadSettings, Record, Unit
from fiqa_core.shards.webdataset.reader import WebDataset
from fiqa_core.storage import StoredFile
from tests.makers.hostile import TAR_END, long_named_member, pax_member, tar_member

FORMAT = WebDataset()


def pixels(number: int) -> bytes:
    """Bytes that stand for an image, of about 2 kB."""
    rng = random.Random(number)
    return b"\xff\xd8\xff" + rng.randbytes(rng.randrange(1500, 2500))


def written(names: list[str], **options: object) -> bytes:
    """A tar with these members, as tarfile writes them."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", **options) as archive:  # type: ignore[call-overload]
        for number, name in enumerate(names):
            data = b"%d" % number if name.endswith(".cls") else pixels(number)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def faces(count: int, prefix: str = "") -> list[str]:
    return [f"{prefix}face_{n:04d}.{end}" for n in range(count) for end in ("jpg", "cls")]


def pax(**attributes: str) -> bytes:
    records = b""
    for name, value in attributes.items():
        rest = len(name) + len(value) + 3
        length = rest + len(str(rest + 2))
        records += b"%d %s=%s\n" % (length, name.encode(), value.encode())
    return records


def old_sparse(name: bytes, data: bytes) -> bytes:
    """A sparse member as GNU tar wrote it: its bytes lie behind a hole of a block."""
    member = bytearray(tar_member(name, data, b"S"))
    member[386:410] = b"%011o\0%011o\0" % (512, len(data))
    member[483:495] = b"%011o\0" % (512 + len(data))
    member[148:156] = b" " * 8
    member[148:156] = b"%06o\0 " % sum(member[:512])
    return bytes(member)


def without_magic(data: bytes) -> bytes:
    """A ustar archive of tar_member's, as of before 1988."""
    old = bytearray(data)
    for at in range(0, len(old), 512):
        if old[at + 257 : at + 262] == b"ustar":
            old[at + 257 : at + 265] = bytes(8)
            old[at + 148 : at + 156] = b" " * 8
            old[at + 148 : at + 156] = b"%06o\0 " % sum(old[at : at + 512])
    return bytes(old)


def plain_members(count: int, name: str = "m%03d.jpg") -> bytes:
    return b"".join(tar_member((name % n).encode(), pixels(n)) for n in range(count))


def with_globals() -> bytes:
    """Global attributes come, change and go: one of them is a path, which names every member behind it."""
    begin = tar_member(b"g", pax(comment="x", path="all.jpg"), b"g")
    return plain_members(4) + begin + plain_members(4) + tar_member(b"g", pax(path="b.png"), b"g") + plain_members(5)


def several_of_one_key() -> bytes:
    names = [f"p{n // 3}.{n % 3}.{end}" for n in range(12) for end in ("jpg", "cls")]
    return written([*names, "p9.cls", "p9.jpg", "p9.jpg", "p9.jpg", "q.txt", "r.json", "s.jpg", "p9.jpg"])


ARCHIVES: dict[str, Callable[[], bytes]] = {
    "plain": lambda: written(faces(12)),
    "ustar": lambda: written(faces(12), format=tarfile.USTAR_FORMAT),
    "pax headers everywhere": lambda: written(faces(8, "é" * 60 + "/"), format=tarfile.PAX_FORMAT),
    "long names": lambda: written(faces(8, "d" * 120 + "/"), format=tarfile.GNU_FORMAT),
    "global pax headers": lambda: with_globals() + TAR_END,
    "several images of a key, repeated names, samples without an image": several_of_one_key,
    "without magic": lambda: without_magic(plain_members(10) + TAR_END),
    "old members before new ones": lambda: without_magic(plain_members(5)) + plain_members(5, "n%d.jpg") + TAR_END,
    "archives joined": lambda: written(faces(5)) + written(faces(5, "b/")) + plain_members(4) + TAR_END,
    "no end mark": lambda: plain_members(10),
    "cut off": lambda: written(faces(10))[:33_333],
    "a tail of zeros": lambda: plain_members(8) + bytes(2 << 20),
    "sparse files and links": lambda: b"".join(
        plain_members(2, f"{n}-%d.jpg")
        + old_sparse(b"s%d.jpg" % n, pixels(n)[:1024])
        + tar_member(b"l%d.jpg" % n, b"", b"2")
        + tar_member(b"h%d.jpg" % n, pixels(n), b"1")
        + tar_member(b"folder/", b"", b"5")
        for n in range(4)
    )
    + TAR_END,
    "rare kinds": lambda: b"".join(
        tar_member(b"V", b"", b"V") + plain_members(2, f"{n}-%d.jpg") + tar_member(b"._x", b"1") for n in range(5)
    )
    + pax_member(pax(path="long.jpg"), b"x", pixels(1))
    + long_named_member(b"l" * 150 + b".jpg", pixels(2))
    + TAR_END,
    "a tar in each image": lambda: b"".join(
        tar_member(b"o%d.jpg" % n, plain_members(2, "inner%d.jpg") + TAR_END) for n in range(6)
    )
    + TAR_END,
}  # fmt: skip


def plan(path: Path, unit_size: int, settings: ReadSettings | None = None, shards: int = 1) -> list[Unit]:
    found = path.stat()
    file = StoredFile(path.name, str(path), found.st_size, "")
    workspace = str(path.parent / "plan")
    return list(FORMAT.plan_among(file, unit_size, settings or ReadSettings(), Surroundings(workspace, shards)))


def rows(units: list[Unit], settings: ReadSettings | None = None) -> list[Record]:
    """Their records, without the place that was reached, which is for progress."""
    found = [record for unit in units for record in FORMAT.read(unit, settings or ReadSettings())]
    return [record._replace(reached=0) for record in found]


def whole(path: Path) -> Unit:
    return Unit(0, "webdataset", path.name, str(path), 0, 0, 0, -1, path.stat().st_size, "")


def same(path: Path, unit_size: int, settings: ReadSettings | None = None) -> list[Unit]:
    """The units of a tar, which were seen to give the rows of the whole tar."""
    units = plan(path, unit_size, settings)
    expected = rows([whole(path)], settings)
    for unit in units if len(units) > 1 else ():
        own = rows([unit], settings)
        assert [r.index for r in own] == list(range(unit.first_index, unit.first_index + unit.records))
    assert rows(units, settings) == expected
    others = [FORMAT.read_samples(unit, settings or ReadSettings()) for unit in units]
    expected_others = [mine for _, mine in FORMAT.read_samples(whole(path), settings or ReadSettings())]
    assert [mine for each in others for _, mine in each] == expected_others
    return units


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("unit_size", [1, 3])
def test_the_rows_of_a_tar_do_not_depend_on_how_it_is_cut(tmp_path, kind, unit_size):
    path = tmp_path / "t.tar"
    path.write_bytes(ARCHIVES[kind]())
    units = same(path, unit_size)
    assert len(units) > 1
    assert [unit.start for unit in units[1:]] == [unit.stop for unit in units[:-1]]
    same(path, unit_size, ReadSettings(max_stored_bytes=1800))


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Some bytes of a tar changed, removed, inserted, zeroed, doubled, or its end cut off."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = (
            rng.randrange(len(data))
            if rng.random() < 0.5
            else rng.randrange(len(data) // 512) * 512 + rng.randrange(160)
        )
        size = rng.choice((1, 4, 511, 512, 513, 1024, 3000))
        old = data[at : at + size]
        new = [
            rng.randbytes(size), b"", bytes(size) + old, bytes(size), old * 2, bytes([old[0] ^ 1 << at % 8]) + old[1:]
        ][rng.randrange(6)]  # fmt: skip
        data = data[:at] + new + data[at + size :]
    return data[: rng.randrange(len(data))] if rng.random() < 0.1 else data


@pytest.mark.parametrize("kind", ARCHIVES)
def test_the_rows_of_a_damaged_tar_do_not_depend_on_how_it_is_cut(tmp_path, kind):
    data, rng = ARCHIVES[kind]()[:200_000], random.Random(kind)
    for number in range(12):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(damaged(data, rng))
        same(path, 1)
