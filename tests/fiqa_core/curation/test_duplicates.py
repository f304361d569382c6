"""Near duplicates: from the best row down, a row goes only if it is itself like one that stays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiqa_core.curation import duplicates
from fiqa_core.curation.duplicates import resolve


def brute_force(a, b, rank) -> np.ndarray:
    """Row by row, best first."""
    near = {row: set() for row in range(len(rank))}
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        near[x].add(y)
        near[y].add(x)
    stays: set[int] = set()
    for row in np.argsort(rank).tolist():
        if not near[row] & stays:
            stays.add(row)
    return np.array([row not in stays for row in range(len(rank))])


def random_pairs(seed: int, rows: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, rows, (2, count))
    return a[a != b], b[a != b], rng.permutation(rows)


@pytest.mark.parametrize("few", [0, 10, 10**9], ids=["by rounds", "by both", "one by one"])
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(0, 200))
def test_it_is_what_going_through_the_rows_one_by_one_gives(few, seed, rows, count):
    a, b, rank = random_pairs(seed, rows, count)
    before, duplicates._FEW_EDGES = duplicates._FEW_EDGES, few
    try:
        assert np.array_equal(resolve(a, b, rank), brute_force(a, b, rank))
    finally:
        duplicates._FEW_EDGES = before


def test_a_chain_keeps_every_second_row_and_not_only_the_first():
    a, b = np.array([0, 1, 2]), np.array([1, 2, 3])
    assert resolve(a, b, np.arange(4)).tolist() == [False, True, False, True]


def test_a_chain_of_many_rows_in_order_of_quality_ends():
    rows = 50_001
    gone = resolve(np.arange(rows - 1), np.arange(1, rows), np.arange(rows))
    assert gone.sum() == rows // 2


def test_no_pairs_and_no_rows():
    nothing = np.array([], np.int64)
    assert resolve(nothing, nothing, np.arange(3)).tolist() == [False] * 3
    assert resolve(nothing, nothing, nothing).tolist() == []
