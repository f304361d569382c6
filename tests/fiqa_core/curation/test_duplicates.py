"""Near duplicates: one row of each group stays, the original where scores differ by noise only."""

import numpy as np
import pandas as pd
import pytest

from fiqa_core.curation.decisions.near_groups import Nearness, components, near_duplicates
from fiqa_core.curation.decisions.originals import original_first
from fiqa_core.curation.decisions.policy import Duplicates, Near, Policy
from tests.fiqa_core.curation.tables import frame
from tests.fiqa_core.curation.test_rules import assert_as_reference, engine

NOTHING = np.empty(0, np.int64)


def near(things: int, pairs=(), members=NOTHING) -> Nearness:
    """Pairs of things, and one crowd."""
    a, b = np.array(pairs, np.int64).reshape(-1, 2).T
    alike = np.ones(len(members), np.float32)
    return Nearness(things, a, b, np.ones(len(a), np.float32), members, np.full(len(members), things), alike, 1)


def gone(nearness: Nearness, rows: int, identity=None, scope: str = "all") -> list[int]:
    """The rows that go; the first is the best."""
    identity = np.zeros(rows, np.int64) if identity is None else np.array(identity)
    order = lambda group: np.lexsort((np.arange(len(group)), group))  # noqa: E731
    return sorted(near_duplicates(nearness, np.arange(rows), identity, scope, order).row.tolist())


def test_a_chain_keeps_every_second_row_and_not_only_the_first():
    assert gone(near(4, [(0, 1), (1, 2), (2, 3)]), 4) == [1, 3]


def test_a_chain_of_many_rows_in_order_of_quality_ends():
    rows = 50_001
    assert len(gone(near(rows, np.stack([np.arange(rows - 1), np.arange(1, rows)], axis=1)), rows)) == rows // 2


@pytest.mark.parametrize(("scope", "stay"), [("all", 1), ("within", 7), ("across", 1429)])
def test_of_a_crowd_of_ten_thousand_the_best_stays_in_every_scope(scope, stay):
    rows = 10_000
    identity = np.arange(rows) % 7
    found = near_duplicates(
        near(rows, members=np.arange(rows)), np.arange(rows), identity, scope, lambda group: np.arange(len(group))
    )
    assert rows - len(found.row) == stay


def test_no_pairs_and_no_rows():
    assert gone(near(3), 3) == []
    assert gone(near(0), 0) == []


def test_components_of_a_long_chain_are_one():
    order = np.random.default_rng(0).permutation(20_000)
    assert not components(20_000, order[1:], order[:-1]).any()


PAIR = pd.DataFrame({"a": [0], "b": [1], "similarity": [1.0], "kind": ["picture"]})


@pytest.mark.parametrize(
    ("copy", "original"),
    [((96, 4.5, 9000), (112, 4.5, 3000)), ((112, 9.0, 9000), (112, 4.5, 3000)), ((112, 4.5, 2000), (112, 4.5, 3000))],
    ids=["larger picture", "finer compression", "more bytes"],
)
def test_where_scores_differ_by_less_than_noise_the_original_stays(copy, original):
    own = frame([0.51, 0.5, 0.1, 0.9], shapes=[copy, original, original, original])
    policy = Policy(near=Near("picture"), duplicates=Duplicates(near="all"))
    assert assert_as_reference(own, policy, pairs=PAIR).reason.tolist() == ["duplicate_near", "", "", ""]


def test_where_nothing_tells_the_original_the_first_stays_and_a_clearly_better_score_wins():
    policy = Policy(near=Near("picture"), duplicates=Duplicates(near="all"))
    shapes = [(112, 4.5, 3000), (112, 4.5, 3100)] + [(112, 4.5, 3000)] * 2
    alike = engine(frame([0.5, 0.51, 0.1, 0.9], shapes=shapes), policy, pairs=PAIR)
    better = engine(frame([0.1, 0.9] + [0.5] * 8), policy, pairs=PAIR)
    by_score = engine(
        frame([0.5, 0.51, 0.1, 0.9]),
        Policy(near=Near("picture"), duplicates=Duplicates(near="all", score_noise=0)),
        pairs=PAIR,
    )
    assert alike.reason.tolist() == ["", "duplicate_near", "", ""]
    assert better.reason.tolist()[:2] == by_score.reason.tolist()[:2] == ["duplicate_near", ""]


def test_scores_within_noise_of_the_best_are_one_band_however_many_there_are():
    group, wrong, quality = np.zeros(4, int), np.zeros(4, bool), np.array([0.5, 0.58, 0.65, 0.66], np.float32)
    shape = np.zeros(4, np.int64), np.zeros(4, np.float32), np.zeros(4, np.int64)
    assert original_first(group, wrong, quality, shape, 0.1).tolist() == [1, 2, 3, 0]
