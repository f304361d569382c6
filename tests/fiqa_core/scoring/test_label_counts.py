"""Labels are counted exactly, in any order of the units, in bounded memory, and estimated where there are too many."""

import itertools
import pickle
from functools import reduce

import numpy as np
import pyarrow as pa

from fiqa_core.scoring import label_counts
from fiqa_core.scoring.label_counts import (
    LabelCounts,
    add,
    count_labels,
    identities,
    label_report,
    origins_text,
    read_origins,
    with_origins,
)


def of(labels: list[str | None]) -> LabelCounts:
    return count_labels(pa.chunked_array([pa.array(labels, pa.string())]))


def test_identities_of_units_add_up_exactly_in_every_order():
    units = [of([str(n % 50 + 30 * unit) for n in range(400)] + [None] * unit) for unit in range(4)]
    reports = [label_report(reduce(add, order)) for order in itertools.permutations(units)]
    assert all(found == reports[0] for found in reports)
    assert reports[0]["identities"] == 140
    assert (reports[0]["records_with"], reports[0]["records_without"]) == (1600, 6)
    assert reports[0]["identities_exact"]


def test_a_hundred_thousand_identities_are_counted_exactly_in_less_than_2_mb():
    whole = reduce(add, [of([str(n) for n in range(start, start + 4000)]) for start in range(0, 100_000, 3900)])
    assert identities(whole) == 101_500 - (101_500 - max(range(0, 100_000, 3900)) - 4000)
    assert len(pickle.dumps(whole)) < 2 << 20


def test_beyond_the_bound_the_number_is_an_estimate_and_said_to_be(monkeypatch):
    monkeypatch.setattr(label_counts, "MOST_EXACT", 4096)
    whole = reduce(add, [of([str(n) for n in range(start, start + 5000)]) for start in range(0, 50_000, 5000)])
    found = label_report(whole)
    assert not found["identities_exact"]
    assert abs(found["identities"] / 50_000 - 1) < 0.05
    assert len(whole.pairs) == 12 * 4096


def test_the_most_common_label_is_known_by_name_among_many_units():
    rng = np.random.default_rng(0)
    units = [of([f"{unit}-{n}" for n in range(30)] + ["images"] * int(rng.integers(20, 60))) for unit in range(30)]
    found = label_report(reduce(add, units))["most_common"]
    assert found["label"] == "images"


def test_where_labels_came_from_survives_the_metadata_of_a_file():
    counts = with_origins(of(["a", None]), {(".cls", True): 1, ("person", False): 1, ("", False): 3})
    assert (counts.sources, counts.looks_like) == ({".cls": 1}, {"person": 1})
    assert read_origins(of(["a", None]), origins_text(counts)) == counts
    assert read_origins(counts, b"damaged") == counts
