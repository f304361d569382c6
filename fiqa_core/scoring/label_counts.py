"""Counts of labels: a few numbers and a bounded array that can be added up in any order."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Identities are counted exactly up to this number, and estimated from the smallest hashes beyond it (error 0.1 %).
MOST_EXACT = 1 << 20
_PAIR = np.dtype([("hash", "<u8"), ("records", "<u4")])
_MOST_NAMES = 8
_MOST_SOURCES = 50


@dataclass(frozen=True)
class LabelCounts:
    """Labels of one unit or of many.

    Attributes:
        records: their number (rows for lost parts of shards do not count). without: how many have no label.
        sources: where labels came from -> records. looks_like: fields of unlabelled records that look like a label
            (joined by ", ") -> records.
        pairs: array of (hash of a label, its records), in order of the hashes, as bytes.
        names: the most common labels by their hash.
    """

    records: int = 0
    without: int = 0
    sources: Mapping[str, int] = field(default_factory=dict)
    looks_like: Mapping[str, int] = field(default_factory=dict)
    pairs: bytes = b""
    names: Mapping[int, str] = field(default_factory=dict)


def count_labels(labels: pa.ChunkedArray) -> LabelCounts:
    """Counts of a column of labels, one a record."""
    found = pc.value_counts(labels.combine_chunks())
    texts, counts = found.field("values").to_pylist(), found.field("counts").to_numpy()
    known = np.fromiter((text is not None for text in texts), bool, len(texts))
    texts = [text for text in texts if text is not None]
    pairs = np.empty(len(texts), _PAIR)
    pairs["hash"] = np.fromiter(map(_hash, texts), np.uint64, len(texts))
    pairs["records"] = counts[known]
    names = {int(pairs["hash"][n]): texts[n] for n in np.argsort(-counts[known], kind="stable")[:_MOST_NAMES].tolist()}
    return LabelCounts(len(labels), int(counts[~known].sum()), pairs=_added(pairs), names=names)


def add(a: LabelCounts, b: LabelCounts) -> LabelCounts:
    """The sum of two counts; associative and commutative (except for which rare labels keep their names)."""
    if not b.records:
        return a
    if not a.records:
        return b
    both = np.frombuffer(a.pairs + b.pairs, _PAIR) if a.pairs and b.pairs else None
    pairs = a.pairs or b.pairs if both is None else _added(both)
    return LabelCounts(
        a.records + b.records,
        a.without + b.without,
        most_of(a.sources, b.sources),
        most_of(a.looks_like, b.looks_like),
        pairs,
        _common(pairs, {**a.names, **b.names}),
    )


def most_of(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    """The sum of several counts; only the largest if there are very many."""
    total = dict(a)
    for name, count in b.items():
        total[name] = total.get(name, 0) + count
    if len(total) <= _MOST_SOURCES:
        return total
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0]))[:_MOST_SOURCES])


def with_origins(counts: LabelCounts, origins: Mapping[tuple[str, bool], int]) -> LabelCounts:
    """The same counts with the sources of the labels: (`Record.label_from`, has a label) -> records."""
    sources, looks_like = (
        {name: n for (name, has), n in origins.items() if has is one and name} for one in (True, False)
    )
    return replace(counts, sources=most_of({}, sources), looks_like=most_of({}, looks_like))


def origins_text(counts: LabelCounts) -> bytes:
    """The sources of labels, for the metadata of a file; `read_origins` reads it."""
    return json.dumps([_largest_first(counts.sources), _largest_first(counts.looks_like)]).encode()


def read_origins(counts: LabelCounts, text: bytes | None) -> LabelCounts:
    """The same counts with the sources that `origins_text` wrote; unchanged if they cannot be read."""
    try:
        sources, looks_like = json.loads(text or b"[{}, {}]")
        return replace(counts, sources=most_of({}, sources), looks_like=most_of({}, looks_like))
    except (ValueError, TypeError, AttributeError):
        return counts


def label_report(counts: LabelCounts) -> dict[str, Any]:
    """The numbers people read, for `summary.json`."""
    pairs = np.frombuffer(counts.pairs, _PAIR)
    largest = pairs[np.argmax(pairs["records"])] if len(pairs) else None
    found = {
        "identities": identities(counts),
        "identities_exact": len(pairs) < MOST_EXACT,
        "records_with": counts.records - counts.without,
        "records_without": counts.without,
        "sources": _largest_first(counts.sources),
        "looks_like_a_label": _largest_first(counts.looks_like),
    }
    if largest is not None:
        name = counts.names.get(int(largest["hash"]))
        found["most_common"] = {"label": name, "records": int(largest["records"])}
    return found


def identities(counts: LabelCounts) -> int:
    """Number of different labels: exact below `MOST_EXACT`, otherwise estimated from the density of the hashes."""
    pairs = np.frombuffer(counts.pairs, _PAIR)
    if len(pairs) < MOST_EXACT:
        return len(pairs)
    return round((MOST_EXACT - 1) / (float(pairs["hash"][-1]) / 2.0**64))


def _largest_first(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _added(pairs: np.ndarray) -> bytes:
    """Pairs in order, with equal hashes added up; only the first if there are too many."""
    if not len(pairs):
        return b""
    # Two sorted halves: a stable sort merges them.
    pairs = pairs[np.argsort(pairs["hash"], kind="stable")]
    first = np.flatnonzero(np.append(True, pairs["hash"][1:] != pairs["hash"][:-1]))
    merged = pairs[first]
    merged["records"] = np.add.reduceat(pairs["records"], first)
    return bytes(merged[:MOST_EXACT].tobytes())


def _common(pairs: bytes, names: Mapping[int, str]) -> dict[int, str]:
    if len(names) <= _MOST_NAMES:
        return dict(names)
    found = np.frombuffer(pairs, _PAIR)
    hashes = np.fromiter(names, np.uint64, len(names))
    at = np.minimum(np.searchsorted(found["hash"], hashes), len(found) - 1)
    counts = np.where(found["hash"][at] == hashes, found["records"][at], 0)
    order = np.lexsort((hashes, -counts.astype(np.int64)))[:_MOST_NAMES]
    return {int(hashes[n]): names[int(hashes[n])] for n in order.tolist()}
