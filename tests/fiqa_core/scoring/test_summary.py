"""Summaries add up in any order, stay small, and their sample is the dataset's."""

import itertools
import pickle
from functools import reduce

import numpy as np
import pyarrow as pa

from fiqa_core.scoring.summary import SAMPLE_SIZE, Summary, failed_unit, merge, of_unit, report, summarise


def unit_summary(number: int, rows: int) -> Summary:
    """Unit `number` of a shard: qualities of its own, every tenth row rejected."""
    quality = np.random.default_rng(number).random(rows).astype(np.float32)
    rejected = np.arange(rows) % 10 == 0
    table = pa.table(
        {
            "shard": ["s.tar"] * rows,
            "index": pa.array(np.arange(rows) + number * rows),
            "quality": pa.array(quality, mask=rejected),
            "status": np.where(rejected, "corrupt", "scored"),
        }
    )
    return of_unit(summarise(table), number, 1.0, kept=False)


def test_units_add_up_to_the_same_summary_in_every_order():
    units = [unit_summary(number, 5000) for number in range(3)] + [failed_unit(3, "t.tar", "gone", 0.0)]
    reports = [report(reduce(merge, order)) for order in itertools.permutations(units)]
    samples = {reduce(merge, order).sample for order in itertools.permutations(units)}
    means = [found["quality"].pop("mean") for found in reports]
    np.testing.assert_allclose(means, means[0], rtol=1e-12)  # the order of additions shows in the last digit
    assert all(found == reports[0] for found in reports)
    assert len(samples) == 1
    assert reports[0]["status"] == {"corrupt": 1500, "scored": 13_500}
    assert reports[0]["failed_units"] == [{"unit": 3, "shard": "t.tar", "reason": "gone"}]


def test_how_a_shard_is_cut_into_units_does_not_show_in_the_sample():
    quality = np.random.default_rng(0).random(20_000).astype(np.float32)
    table = pa.table(
        {"shard": ["s"] * 20_000, "index": np.arange(20_000), "quality": quality, "status": ["scored"] * 20_000}
    )
    whole = summarise(table)
    parts = reduce(merge, [summarise(table.slice(start, 3000)) for start in range(0, 20_000, 3000)])
    assert parts.sample == whole.sample
    assert report(whole)["quality"]["quantiles_from"] == f"a uniform sample of {SAMPLE_SIZE} scores"
    assert abs(report(whole)["quality"]["quantiles"]["0.5"] - np.median(quality)) < 0.02


def test_a_unit_missing_or_counted_twice_is_seen():
    one, two = unit_summary(0, 100), unit_summary(2, 100)
    both = merge(merge(one, two), two)
    assert both.units == 0b101
    assert both.repeated == 1


def test_a_summary_of_any_size_is_small_enough_to_travel():
    many = reduce(merge, [unit_summary(number, 4000) for number in range(20)])
    assert len(pickle.dumps(many)) < 110_000
