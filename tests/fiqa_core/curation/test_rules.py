"""A policy's decisions equal a plain pandas computation, on random tables with every rule at once."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiqa_core.curation.decisions.database import Findings, load_findings, load_rows, open_database
from fiqa_core.curation.decisions.policy import Duplicates, Labels, Near, Overlap, Policy, Quality, Size
from fiqa_core.curation.decisions.reason_codes import REASONS
from fiqa_core.curation.decisions.recognised_limits import Recognised
from fiqa_core.curation.decisions.rules import decide
from fiqa_core.curation.findings.settings import WAYS
from fiqa_core.tables.quality_files import find_parts
from tests.fiqa_core.curation import reference
from tests.fiqa_core.curation.tables import frame, no_pairs, write_labels, write_pairs, write_quality

LIMITS = (0.5, 0.75, 0.9375)


def engine(
    own: pd.DataFrame,
    policy: Policy,
    against: pd.DataFrame | None = None,
    pairs: pd.DataFrame | None = None,
    per_file: int = 7,
    threads: int = 2,
) -> pd.DataFrame:
    """`reason`, `other` and `found` of each own row as the engine decides, in the reference's form."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables = [str(write_quality(folder / "own", own, per_file))]
        parts = find_parts(tables)
        others = ()
        if against is not None and len(against):
            others = find_parts([*tables, str(write_quality(folder / "against", against))])[len(parts) :]
        write_labels(folder / "findings", own)
        write_pairs(folder / "findings", no_pairs() if pairs is None else pairs)
        labels, near = (str(folder / "findings" / f"{kind}-000000.parquet") for kind in ("labels", "pairs"))
        with open_database(folder, threads=threads) as db:
            load_rows(db, parts, others)
            load_findings(
                db, Findings((labels,), (near,)), len(own), len(own) + (0 if against is None else len(against))
            )
            decide(db, policy)
            found = db.sql(
                "SELECT state.rid, state.reason, linked.other, state.found FROM state "
                "LEFT JOIN linked ON linked.rid = state.rid ORDER BY state.rid"
            ).fetchall()
    columns = ["rid", "reason", "other", "found"]
    table = pd.DataFrame(found, columns=columns).set_index("rid", drop=False).rename_axis(None)
    return table.assign(reason=[str(REASONS[code] or "") for code in table.reason])


def assert_as_reference(own, policy, against=None, pairs=None, **options) -> pd.DataFrame:
    against = frame([], first=len(own)) if against is None else against
    pairs = no_pairs() if pairs is None else pairs
    expected = reference.decide(own, against, pairs, policy)
    found = engine(own, policy, against, pairs, **options)
    assert found.reason.to_dict() == expected.reason.to_dict()
    assert found.found.to_dict() == expected.found.to_dict()
    for rid, other in expected.other.items():
        assert (None if pd.isna(found.other[rid]) else found.other[rid]) == (None if pd.isna(other) else other)
    return found


@st.composite
def cases(draw):
    """A table with ties, null labels, unscored rows and duplicates; another to compare with; pairs; a policy."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, others = draw(st.integers(1, 60)), draw(st.integers(0, 10))
    names = np.array(["a", "b", "B", "é", "", "a b", "Z"][: draw(st.integers(1, 7))], dtype=object)
    labels = rng.choice(names, rows)
    labels[rng.random(rows) < draw(st.sampled_from([0, 0.2, 1]))] = None
    qualities = rng.integers(-8, draw(st.sampled_from([-6, 8, 64])), rows) / 16
    qualities[rng.random(rows) < draw(st.sampled_from([0, 0.2, 1]))] = np.nan
    shas = rng.integers(0, draw(st.sampled_from([3, 30, 3000])), rows + others).astype(object)
    shas[rng.random(rows + others) < 0.1] = None
    verdicts = rng.choice(np.array(["agrees", "wrong_label", "low_quality", None], dtype=object), rows)
    genuine, nearest = (rng.choice(np.array([np.nan, 0.0, 0.125, 0.5, 0.625]), rows) for _ in range(2))
    sides, steps, sizes = (
        rng.choice([96, 112], rows),
        rng.choice([0.5, 4.5, 9.25], rows),
        rng.integers(1, 40, rows) * 100,
    )
    shapes = list(zip(sides.tolist(), steps.tolist(), sizes.tolist(), strict=True))
    own = frame(qualities, labels, shas[:rows], verdicts, genuine=genuine, nearest=nearest, shapes=shapes)
    against = frame(np.zeros(others), shas=shas[rows:], first=rows)
    count = draw(st.integers(0, 80))
    a, b = rng.integers(0, rows, count), rng.integers(0, rows + others, count)
    pairs = pd.DataFrame({"a": np.minimum(a, b), "b": np.maximum(a, b)})
    pairs["similarity"] = rng.integers(6, 17, count) / 16
    pairs["kind"] = rng.choice(["cosine", "picture", "phash"], count)
    # Some pairs belong to a crowd instead: of few middles, so that crowds have members.
    middles = rng.choice(rows, 4)
    chosen = np.flatnonzero((pairs.b < rows) & (rng.random(count) < draw(st.sampled_from([0, 0.5]))))
    pairs["crowd"] = -1
    for place in chosen.tolist():
        middle, member = int(rng.choice(middles)), int(pairs.a[place])
        if middle == member:
            continue
        pairs.loc[place, ["a", "b", "crowd"]] = [min(middle, member), max(middle, member), middle]
        if pairs.kind[place] == "phash":
            pairs.loc[place, "similarity"] = 1.0
    return own, against, pairs[pairs.a < pairs.b].reset_index(drop=True), draw(policies())


@st.composite
def policies(draw):
    def maybe(values):
        return draw(st.one_of(st.none(), st.sampled_from(values)))

    scopes = st.sampled_from(["off", "within", "across", "all"])
    counts = [1, 2, 3, 5, 20]
    return Policy(
        Labels(draw(st.sampled_from([False, False, True])), draw(st.booleans())),
        Near(draw(st.sampled_from(WAYS)), maybe(LIMITS), maybe([0.75, 1.0]), maybe([0.8125, 0.9375])),
        Overlap(draw(st.booleans()), draw(st.booleans())),
        Duplicates(
            draw(scopes),
            draw(st.sampled_from(["best", "drop_all"])),
            draw(scopes),
            draw(st.sampled_from([0.0, 0.3, 1.0, 4.0])),
        ),
        Quality(
            maybe([-0.25, 0.125, 2.0]),
            draw(st.sampled_from([0.0, 0.1, 0.29, 0.5, 0.99])),
            draw(st.sampled_from([0.0, 0.1, 1 / 3, 0.9])),
            maybe(counts),
            maybe([Recognised(), Recognised(0.125, 0.125), Recognised(-1, 0)]),
            draw(st.sampled_from(["drop", "drop", "weight"])),
        ),
        Size(maybe(counts), maybe(counts), maybe([1, 4, 20, 50]), maybe(counts)),
    )


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(cases(), st.sampled_from([1, 7, 100]), st.sampled_from([1, 3]))
def test_every_rule_combined_decides_as_pandas_does(case, per_file, threads):
    own, against, pairs, policy = case
    assert_as_reference(own, policy, against, pairs, per_file=per_file, threads=threads)


def test_an_earlier_rule_decides_and_a_later_one_sees_only_what_is_left():
    own = frame([0.1, 0.1, 0.5, 0.9], shas=[1, 1, 2, 3])
    policy = Policy(duplicates=Duplicates("all"), quality=Quality(min=0.2, drop_fraction=0.5))
    found = assert_as_reference(own, policy)
    # The threshold leaves two rows, and half of them is one.
    assert found.reason.tolist() == ["below_threshold", "duplicate_exact", "below_global_quantile", ""]


@pytest.mark.parametrize(("share", "rows", "gone"), [(0.29, 100, 29), (0.1, 30, 3), (0.5, 3, 1), (0.999, 10, 9)])
def test_a_share_drops_exactly_that_many_rows_and_of_equals_the_later_ones(share, rows, gone):
    found = engine(frame([0.5] * rows), Policy(quality=Quality(drop_fraction=share)))
    assert found.reason.tolist() == [""] * (rows - gone) + ["below_global_quantile"] * gone


def test_the_best_of_an_identity_stay_whatever_their_quality():
    own = frame([0.1, 0.2, 0.05, 0.9, 0.8], ["a", "a", "a", "b", None])
    policy = Policy(quality=Quality(min=0.85, keep_at_least=2), size=Size(target=1))
    found = assert_as_reference(own, policy)
    assert found.reason.tolist() == ["", "", "below_threshold", "", "below_threshold"]


def test_a_recognised_face_is_not_dropped_for_quality_and_the_rows_behind_it_count_as_before():
    own = frame(
        [0.1, 0.2, 0.3, 0.4, 0.9, 0.95, 0.05],
        ["a"] * 6 + [None],
        verdicts=["agrees"] * 7,
        genuine=[0.5, 0.49, 0.5, 0.6, 0.9, 0.9, 0.9],
        nearest=[0.0625, 0.0, 0.125, 0.0, 0.0, 0.0, 0.0],
    )
    policy = Policy(quality=Quality(drop_fraction=0.6, protect_recognised=Recognised()))
    found = assert_as_reference(own, policy)
    # The worst four of seven: the first is recognised, one is not near enough to its identity, one too near to another,
    # one has no label. The fifth is never found.
    assert found.reason.tolist() == ["", *["below_global_quantile"] * 2, "", "", "", "below_global_quantile"]


def test_sizes_are_cut_from_recognised_faces_too_and_after_a_gap_the_best_are_counted_afresh():
    own = frame([0.1, 0.2, 0.3, 0.9], verdicts=["agrees"] * 4, genuine=[0.9, 0, 0, 0.9], nearest=[0] * 4)
    quality = Quality(min=0.5, protect_recognised=Recognised())
    assert assert_as_reference(own, Policy(quality=quality)).reason.tolist() == ["", *["below_threshold"] * 2, ""]
    policy = Policy(quality=quality, size=Size(best_per_identity=2))
    assert assert_as_reference(own, policy).reason.tolist() == ["", *["below_threshold"] * 2, ""]
    policy = Policy(quality=quality, size=Size(target=1))
    assert assert_as_reference(own, policy).reason.tolist() == ["over_target_size", *["below_threshold"] * 2, ""]


def test_a_wrong_label_is_never_the_duplicate_that_stays_if_another_is_there():
    own = frame([0.9, 0.2], ["a", "b"], [1, 1], ["wrong_label", "agrees"])
    found = assert_as_reference(own, Policy(duplicates=Duplicates("all")))
    assert found.reason.tolist() == ["duplicate_exact", ""]
    assert found.other[0] == 1


def test_rules_about_identities_pass_over_rows_without_a_label():
    own = frame([0.3, 0.2, 0.1], [None, None, None], [1, 1, 1])
    policy = Policy(
        duplicates=Duplicates("within"),
        quality=Quality(drop_identity_fraction=0.9),
        size=Size(best_per_identity=1, max_identities=1, min_per_identity=3),
    )
    assert assert_as_reference(own, policy).reason.tolist() == ["", "", ""]


def test_a_threshold_is_a_number_of_32_bits_as_the_qualities_are():
    own = frame([np.float32(0.3), np.nextafter(np.float32(0.3), np.float32(0))])
    assert engine(own, Policy(quality=Quality(min=0.3))).reason.tolist() == ["", "below_threshold"]


def test_quality_action_weight_drops_nothing_and_marks_what_the_rules_find():
    own = frame([0.1, 0.5, 0.9, 0.95])
    found = assert_as_reference(own, Policy(quality=Quality(min=0.2, drop_fraction=0.5, action="weight")))
    assert found.reason.tolist() == [""] * 4
    assert found.found.tolist() == [True, True, False, False]
