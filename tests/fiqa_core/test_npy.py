"""Damaged and hostile .npy files: a sentence with the file's name, at once, wherever such a file is read."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest

from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.sources import read_embeddings, read_qualities
from fiqa_core.npy import NpyError, map_npy, read_npy
from fiqa_core.tables.embedding_files import EmbeddingSource, embedding_files
from fiqa_core.tables.quality_files import TableError

NUMBERS = np.arange(12, dtype=np.float32).reshape(3, 4)


def with_header(text: str, body: bytes = NUMBERS.tobytes(), version: bytes = b"\x01\x00") -> bytes:
    header = text.encode() + b"\n"
    size = struct.pack("<H" if version[0] == 1 else "<I", len(header))
    return b"\x93NUMPY" + version + size + header + body


def described(shape: str, kind: str = "'<f4'") -> str:
    return f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}}}"


def zipped() -> bytes:
    out = io.BytesIO()
    np.savez(out, NUMBERS)
    return out.getvalue()


HOSTILE = {
    "huge": with_header(described(f"({10**15}, 4)")),
    "overflowing": with_header(described(f"({2**62}, {2**62})")),
    "negative": with_header(described("(-3, -4)")),
    "empty and huge": with_header(described(f"(0, {10**18})"), b""),
    "short": with_header(described("(3, 4)"), NUMBERS.tobytes()[:-4]),
    "long": with_header(described("(3, 4)"), NUMBERS.tobytes() * 2),
    "objects": with_header(described("(3, 4)", "'|O'")),
    "structured": with_header(described("(3,)", "[('a', '<f4'), ('b', '<f4')]")),
    "text": with_header(described("(3, 4)", "'<U1'")),
    "deep": with_header("(" * 9000),
    "no dict": with_header("root:x:0:0:root:/root:/bin/bash"),
    "long header": with_header(" " * 60_000),
    "cut header": with_header(described("(3, 4)"))[:20],
    "absurd header length": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(40),
    "a zip archive": zipped(),
    "another version": with_header(described("(3, 4)"), version=b"\x09\x00"),
    "nothing": b"",
    "a text": b"root:x:0:0:root:/root:/bin/bash\n" * 40,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_damaged_npy_header_gets_a_sentence_wherever_it_is_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "e.npy"
    path.write_bytes(HOSTILE[name])
    (tmp_path / "keys.txt").write_text("a\nb\nc\n")
    source = EmbeddingSource("npy", (str(path),), keys=str(tmp_path / "keys.txt"), join="key")
    for kind, call in (
        (NpyError, lambda: read_npy(str(path))),
        (NpyError, lambda: map_npy(str(path))),
        (EvaluationError, lambda: read_embeddings(str(path))),
        (EvaluationError, lambda: read_qualities(str(path))),
        (TableError, lambda: embedding_files(source, [])),
    ):
        with pytest.raises(kind, match=r"e\.npy") as caught:
            call()
        assert "root:" not in str(caught.value)


@pytest.mark.parametrize("order", ["C", "F"])
def test_whole_files_give_what_numpy_gives(order: str, tmp_path: Path) -> None:
    for number, values in enumerate((NUMBERS, NUMBERS.astype(np.float16), NUMBERS[:0], np.float64(3.5), NUMBERS > 2)):
        path = tmp_path / f"{number}.npy"
        np.save(path, np.asarray(values, order=order))
        for read in (read_npy, map_npy):
            found = read(str(path))
            assert found.dtype == np.asarray(values).dtype
            np.testing.assert_array_equal(found, np.load(path))
