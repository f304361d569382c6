"""Shards as other people's tools write them, and tars that no honest tool writes."""

import io
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import webdataset

from tests.makers.images import jpeg_bytes, png_bytes, webp_bytes


@dataclass(frozen=True)
class FaceRecord:
    """One image of a data set: `label` is an identity's number, `extension` has no dot."""

    key: str
    label: int
    data: bytes
    extension: str = "jpg"

    @property
    def name(self) -> str:
        """File name."""
        return f"{self.key}.{self.extension}"


def face_records(count: int, identities: int = 3, size: int = 112) -> list[FaceRecord]:
    """Synthetic faces in JPEG, PNG and WebP by turns."""
    kinds = (("jpg", jpeg_bytes), ("png", png_bytes), ("webp", webp_bytes))
    return [
        FaceRecord(f"face_{seed:05d}", seed % identities, make(seed, size), extension)
        for seed in range(count)
        for extension, make in [kinds[seed % len(kinds)]]
    ]


def write_folder(root: Path, records: Iterable[FaceRecord], by_label: bool = True) -> Path:
    """`root/<label>/<key>.<extension>`, or flat."""
    root.mkdir(parents=True, exist_ok=True)
    for record in records:
        folder = root / str(record.label) if by_label else root
        folder.mkdir(exist_ok=True)
        (folder / record.name).write_bytes(record.data)
    return root


def write_webdataset(path_pattern: Path | str, records: Iterable[FaceRecord], maxcount: int = 100_000) -> list[Path]:
    """Shards by webdataset's own writer; `path_pattern` has a `%06d` for the shard's number.

    Bytes pass its encoders unchanged whatever their extension; labels become `.cls` members.
    """
    with webdataset.ShardWriter(str(path_pattern), maxcount=maxcount, verbose=0) as writer:
        for record in records:
            writer.write({"__key__": record.key, record.extension: record.data, "cls": record.label})
    pattern = Path(path_pattern)
    return sorted(pattern.parent.glob(pattern.name.replace("%06d", "[0-9]" * 6)))


def write_parquet_pyarrow(
    path: Path,
    records: Sequence[FaceRecord],
    layout: Literal["struct", "binary"] = "struct",
    row_group_size: int = 100,
) -> Path:
    """One Parquet file: `image` a struct {bytes, path} or plain binary, `label` int64, `key` a string."""
    images: pa.Array
    if layout == "struct":
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        images = pa.array([{"bytes": record.data, "path": record.name} for record in records], kind)
    else:
        images = pa.array([record.data for record in records], pa.binary())
    labels = pa.array([record.label for record in records], pa.int64())
    keys = pa.array([record.key for record in records], pa.string())
    table = pa.table({"key": keys, "image": images, "label": labels})
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def write_parquet_datasets(path: Path, records: Sequence[FaceRecord], batch_size: int = 100) -> Path:
    """One Parquet file by Hugging Face `datasets`, with its Image and ClassLabel features."""
    # Imported here: it takes seconds, and few tests ask for it.
    from datasets import ClassLabel, Dataset, Features, Image

    names = [str(label) for label in range(1 + max(record.label for record in records))]
    columns = {
        "image": [{"bytes": record.data, "path": record.name} for record in records],
        "label": [record.label for record in records],
    }
    features = Features({"image": Image(), "label": ClassLabel(names=names)})
    Dataset.from_dict(columns, features=features).to_parquet(path, batch_size=batch_size)
    return path


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], tar_format: int = tarfile.PAX_FORMAT) -> Path:
    """A plain tar of named bytes; names are written as they are, honest or not."""
    with tarfile.open(path, "w", format=tar_format) as archive:
        for name, data in members:
            _add(archive, name, data)
    return path


def samples(records: Iterable[FaceRecord]) -> list[tuple[str, bytes]]:
    """Tar members of WebDataset samples: each image with its `.cls` beside it."""
    return [
        member
        for record in records
        for member in ((record.name, record.data), (f"{record.key}.cls", str(record.label).encode()))
    ]


def write_truncated_tar(path: Path, records: Iterable[FaceRecord], keep: float = 0.6) -> Path:
    """A tar that lost its end, as an interrupted upload leaves it."""
    write_tar(path, samples(records))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def write_long_name_tar(path: Path, records: Iterable[FaceRecord], tar_format: int) -> Path:
    """Samples in folders with names of 300 characters: `tarfile.PAX_FORMAT` or `tarfile.GNU_FORMAT`."""
    folder = "a_folder_with_a_long_name_" * 12
    return write_tar(path, [(f"{folder[:300]}/{name}", data) for name, data in samples(records)], tar_format)


def write_hostile_tar(path: Path, honest: FaceRecord) -> Path:
    """One honest sample among members that point out of the archive or are no files.

    In order: `../outside.jpg`, `/absolute.jpg`, `inside/../../outside.jpg`, a symbolic link `symbolic.jpg` to
    `/etc/passwd`, a hard link `hard.jpg` to `../outside.jpg`, a folder `folder.jpg`, a named pipe `pipe.jpg`,
    then the honest sample.
    """
    links = {"symbolic.jpg": (tarfile.SYMTYPE, "/etc/passwd"), "hard.jpg": (tarfile.LNKTYPE, "../outside.jpg")}
    others = {"folder.jpg": (tarfile.DIRTYPE, ""), "pipe.jpg": (tarfile.FIFOTYPE, "")}
    with tarfile.open(path, "w") as archive:
        for name in ("../outside.jpg", "/absolute.jpg", "inside/../../outside.jpg"):
            _add(archive, name, honest.data)
        for name, (kind, target) in {**links, **others}.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
        for name, data in samples([honest]):
            _add(archive, name, data)
    return path


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))
