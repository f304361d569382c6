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
from fiqa_core.evaluation.text_lines import blocks, check_utf8, tidy
from fiqa_core.shards.insightface_bin.reader import PairsError
from fiqa_core.shards.insightface_bin.reader import pairs as verification_pairs
from fiqa_core.storage import open_read, stat, without_query

_LFW_HEADER = re.compile(rb"\d+([ \t]+\d+)?[ \t]*\r?\n")
_LINE_END = re.compile("\r\n|\r|\n")
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

    def self_pairs(self) -> int:
        """How many pairs compare an image with itself, which measures nothing."""
        return int((self.a == self.b).sum())

    def repeated(self) -> int:
        """How many pairs occur earlier in the list, in either order; each counts as often as it occurs."""
        pairs = np.minimum(self.a, self.b).astype(np.int64) * len(self.names) + np.maximum(self.a, self.b)
        pairs.sort()
        return int((pairs[1:] == pairs[:-1]).sum())


def is_verification_set(path: str) -> bool:
    """Whether a path is taken for an InsightFace `.bin`, which holds pairs and their images."""
    return without_query(path).lower().endswith(".bin")


def read_pairs(url: str) -> Pairs:
    """Read a pair list, a block at a time; or the pairs of a `.bin`, whose images are called by their numbers.

    Formats: `a b 0|1` a line, separated by spaces or tabs, 1 = same person (`pair_list.txt` of CR-FIQA, and IJB-C's
    `template_pair_label.txt`; lines that begin with `#` are comments); and LFW's own `pairs.txt` (a header line of one
    or two numbers, then `name n m` or `name n other m` with tabs), whose images are called `name/name_000n`.

    Raises:
        EvaluationError: a line that is neither, named by its number; or no pair at all.
    """
    if is_verification_set(url):
        return _of_verification_set(url)
    numbers: dict[str, int] = {}
    parts = []
    with open_read(url) as stream:
        for a, b, mated in _columns(url, stream):
            parts.append((_numbered(a, numbers), _numbered(b, numbers), mated))
    if not parts:
        raise EvaluationError(f"{url}: holds no pairs. {_EXPECTED}")
    a, b, mated = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Pairs(list(numbers), a, b, mated)


def _of_verification_set(url: str) -> Pairs:
    file = stat(url)
    if file is None:
        raise EvaluationError(f"{url}: no such file")
    try:
        found = verification_pairs(file)
    except PairsError as error:
        raise EvaluationError(str(error)) from error
    names = list(dict.fromkeys([*found.first, *found.second]))
    places = {name: place for place, name in enumerate(names)}
    a, b = (np.array([places[name] for name in side], np.int32) for side in (found.first, found.second))
    return Pairs(names, a, b, np.asarray(found.same, bool))


def _numbered(names: pa.Array, numbers: dict[str, int]) -> np.ndarray:
    encoded = names.dictionary_encode()
    own = [numbers.setdefault(name, len(numbers)) for name in encoded.dictionary.to_pylist()]
    return np.asarray(np.array(own, np.int32)[encoded.indices.to_numpy()])


def _columns(url: str, stream: IO[bytes]) -> Iterator[tuple[pa.Array, pa.Array, np.ndarray]]:
    remaining = blocks(url, stream)
    before = 0
    for block in remaining:
        if not before and _LFW_HEADER.match(block):
            yield _lfw(url, block + b"".join(remaining))
            return
        table = _parsed(url, block, before)
        before += block.count(b"\n")
        if table.num_rows:
            yield table["a"].combine_chunks(), table["b"].combine_chunks(), table["mated"].to_numpy() == 1


def _parsed(url: str, block: bytes, before: int) -> pa.Table:
    block = tidy(url, block, before)
    if not block.strip():
        return pa.table({"a": [], "b": [], "mated": []})
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
            return f"{url}, line {number}: {len(fields)} words, which is not a pair. {_EXPECTED}"
    return f"{url}: not readable as a pair list. {_EXPECTED}"


def _lfw(url: str, data: bytes) -> tuple[pa.Array, pa.Array, np.ndarray]:
    check_utf8(url, data, 0)
    a, b, mated = [], [], []
    for number, line in enumerate(_LINE_END.split(data.decode())[1:], 2):
        if not line.strip():
            continue
        match = _LFW_LINE.fullmatch(line.strip())
        if match is None:
            raise EvaluationError(
                f"{url}, line {number}: no pair. After a header of numbers, LFW's `name n m` or "
                "`name n other m` with tabs is expected."
            )
        same, first, second, one, first_place, other, second_place = match.groups()
        mated.append(same is not None)
        a.append(_lfw_name(same or one, first or first_place))
        b.append(_lfw_name(same or other, second or second_place))
    return pa.array(a, pa.string()), pa.array(b, pa.string()), np.array(mated, bool)


def _lfw_name(person: str, number: str) -> str:
    return f"{person}/{person}_{int(number):04d}"
