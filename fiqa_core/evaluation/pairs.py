"""Pair lists: which images (or templates) are compared, and whether they show the same person."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.storage import open_read

_BLOCK = 16 << 20
_LONGEST_LINE = 1 << 16
_LFW_HEADER = re.compile(rb"\d+([ \t]+\d+)?[ \t]*\r?\n")
_LFW_LINE = re.compile(r"(\S+)\t(\d+)\t(\d+)|(\S+)\t(\d+)\t(\S+)\t(\d+)")
_EXPECTED = "Expected `a b 1` (same person) or `a b 0`."


@dataclass(frozen=True)
class Pairs:
    """Pairs in the list's order.

    Attributes:
        names: the distinct names in the list. a, b: int32 (N,), places in `names`.
        mated: bool (N,), whether both show the same person.
    """

    names: list[str]
    a: np.ndarray
    b: np.ndarray
    mated: np.ndarray

    def __len__(self) -> int:
        return len(self.mated)


def read_pairs(url: str) -> Pairs:
    """Read a pair list, a block at a time.

    Formats: `a b 0|1` a line, separated by spaces or tabs, 1 = same person (`pair_list.txt` of CR-FIQA, and IJB-C's
    `template_pair_label.txt`); and LFW's own `pairs.txt` (a header line of one or two numbers, then `name n m` or
    `name n other m` with tabs), whose images are called `name/name_000n`.

    Raises:
        EvaluationError: a line that is neither, named by its number; or no pair at all.
    """
    numbers: dict[str, int] = {}
    parts = []
    with open_read(url) as stream:
        for a, b, mated in _columns(url, stream):
            parts.append((_numbered(a, numbers), _numbered(b, numbers), mated))
    if not parts:
        raise EvaluationError(f"{url}: holds no pairs. {_EXPECTED}")
    a, b, mated = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Pairs(list(numbers), a, b, mated)


def _numbered(names: pa.Array, numbers: dict[str, int]) -> np.ndarray:
    encoded = names.dictionary_encode()
    own = [numbers.setdefault(name, len(numbers)) for name in encoded.dictionary.to_pylist()]
    return np.asarray(np.array(own, np.int32)[encoded.indices.to_numpy()])


def _columns(url: str, stream: IO[bytes]) -> Iterator[tuple[pa.Array, pa.Array, np.ndarray]]:
    blocks = _blocks(url, stream)
    before = 0
    for block in blocks:
        if not before and _LFW_HEADER.match(block):
            yield _lfw(url, block + b"".join(blocks))
            return
        table = _parsed(url, block, before)
        before += block.count(b"\n")
        if table.num_rows:
            yield table["a"].combine_chunks(), table["b"].combine_chunks(), table["mated"].to_numpy() == 1


def _blocks(url: str, stream: IO[bytes]) -> Iterator[bytes]:
    """Whole lines, about 16 MiB at a time."""
    rest = b""
    while data := stream.read(_BLOCK):
        head, newline, rest = (rest + data).rpartition(b"\n")
        if newline:
            yield head + newline
        if len(rest) > _LONGEST_LINE:
            raise EvaluationError(f"{url}: has a line of more than {_LONGEST_LINE:,} bytes, so it is no pair list")
    if rest.strip():
        yield rest


def _parsed(url: str, block: bytes, before: int) -> pa.Table:
    if not block.strip():
        return pa.table({"a": [], "b": [], "mated": []})
    if re.search(rb"[\t\r]|  |(?m:^ | $)", block):
        block = re.sub(rb"(?m)^ | $", b"", re.sub(rb"[ \t\r]+", b" ", block))
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(block),
            pyarrow.csv.ReadOptions(column_names=["a", "b", "mated"]),
            pyarrow.csv.ParseOptions(delimiter=" ", quote_char=False),
            pyarrow.csv.ConvertOptions(
                column_types={"a": pa.string(), "b": pa.string(), "mated": pa.int8()}, null_values=[]
            ),
        )
    except pa.ArrowInvalid as error:
        raise EvaluationError(_first_bad_line(url, block, before)) from error
    if not pc.all(pc.is_in(table["mated"], pa.array([0, 1], pa.int8()))).as_py():
        raise EvaluationError(_first_bad_line(url, block, before))
    return table


def _first_bad_line(url: str, block: bytes, before: int) -> str:
    for number, line in enumerate(block.split(b"\n"), before + 1):
        fields = line.split()
        if fields and (len(fields) != 3 or fields[2] not in (b"0", b"1")):
            return f"{url}, line {number}: {line[:100].decode('utf-8', 'replace')!r} is no pair. {_EXPECTED}"
    return f"{url}: not readable as a pair list in UTF-8. {_EXPECTED}"


def _lfw(url: str, data: bytes) -> tuple[pa.Array, pa.Array, np.ndarray]:
    a, b, mated = [], [], []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines()[1:], 2):
        if not line.strip():
            continue
        match = _LFW_LINE.fullmatch(line.strip())
        if match is None:
            raise EvaluationError(
                f"{url}, line {number}: {line[:100]!r} is no pair. After a header of numbers, LFW's `name n m` or "
                "`name n other m` with tabs is expected."
            )
        same, first, second, one, first_place, other, second_place = match.groups()
        mated.append(same is not None)
        a.append(_lfw_name(same or one, first or first_place))
        b.append(_lfw_name(same or other, second or second_place))
    return pa.array(a, pa.string()), pa.array(b, pa.string()), np.array(mated, bool)


def _lfw_name(person: str, number: str) -> str:
    return f"{person}/{person}_{int(number):04d}"
