"""LMDB files by the lmdb package."""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest


def write_lmdb(path: Path, values: Mapping[bytes, bytes], subdir: bool = False, name: bytes | None = None) -> Path:
    """A plain database; the file with the data."""
    lmdb = pytest.importorskip("lmdb")
    env = lmdb.open(str(path), subdir=subdir, map_size=1 << 28, max_dbs=2, lock=False)
    with env.begin(write=True, db=env.open_db(name)) as transaction:
        for key, value in values.items():
            transaction.put(key, value)
    env.close()
    return path / "data.mdb" if subdir else path


def write_vit_fiqa(path: Path, images: Mapping[bytes, bytes], labels: Sequence[object]) -> Path:
    """ViT-FIQA's training container."""
    listed = {b"__len__": len(images), b"__keys__": list(images), b"__labels__": list(labels)}
    return write_lmdb(path, dict(images) | {key: pickle.dumps(value) for key, value in listed.items()})


def read_vit_fiqa(path: Path) -> list[tuple[bytes, bytes, object]]:
    """(key, image, label) as its own loader reads them."""
    lmdb = pytest.importorskip("lmdb")
    env = lmdb.open(str(path), subdir=False, readonly=True, lock=False, readahead=False, meminit=False)
    with env.begin() as transaction:
        count = pickle.loads(transaction.get(b"__len__"))  # noqa: S301
        keys = pickle.loads(transaction.get(b"__keys__"))  # noqa: S301
        labels = pickle.loads(transaction.get(b"__labels__"))  # noqa: S301
        assert count == len(keys) == len(labels)
        found = [(key, bytes(transaction.get(key)), label) for key, label in zip(keys, labels, strict=True)]
    env.close()
    return found
