"""Which part of a policy a sample can show, and the exit that is found by it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.curation.decisions.exit_agreement import find_exit, judged_by_sample
from fiqa_core.curation.decisions.policy import Policy, Quality, Size
from fiqa_core.networks.exits import ExitError
from schemas.quality import quality_schema

ROWS = 200


def table_of(scores: np.ndarray, folder) -> str:
    """A quality table whose column `embedding` has the scores of all exits."""
    schema = quality_schema("float32", scores.shape[1], False)
    kind = schema.field("embedding").type
    scored = np.isfinite(scores[:, -1])
    columns: dict[str, object] = {
        "key": [f"{row:04d}" for row in range(len(scores))],
        "shard": ["faces.tar"] * len(scores),
        "index": range(len(scores)),
        "quality": pa.array(scores[:, -1], pa.float32(), mask=~scored),
        "status": pa.array(["scored" if each else "decode_error" for each in scored]).dictionary_encode(),
        "sha256": [bytes(32)] * len(scores),
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(scores.ravel(), pa.float32()), type=kind),
    }
    filled = [pa.array(columns.get(f.name, [None] * len(scores))).cast(f.type) for f in schema]
    place = folder / "table.parquet"
    pq.write_table(pa.table(filled, schema=schema), place)
    return str(place)


@pytest.fixture
def scores() -> np.ndarray:
    """Three exits; the second differs from the last in the decision about 2 of 200 rows at 10 %."""
    last = np.arange(ROWS, dtype=np.float32)
    second = last.copy()
    second[[19, 20]] = second[[20, 19]]
    first = last[::-1]
    return np.stack([first, 10 + second, last], axis=1)


def test_the_earliest_exit_with_the_share_is_found(scores, tmp_path):
    table = table_of(scores, tmp_path)
    policy = Policy(quality=Quality(drop_fraction=0.1))
    found = find_exit([table], policy, 0.99, None, tmp_path)
    assert (found.exit, found.depth, found.rows) == (2, 3, ROWS)
    assert found.agreement == pytest.approx((0.8, 0.99, 1.0))
    assert "exit 2 of 3" in found.in_words()
    assert "unrelated scores: about 82.0 %" in found.in_words()
    assert find_exit([table], policy, 0.995, None, tmp_path).exit == 3
    assert find_exit([table], policy, 0.8, None, tmp_path).exit == 1


def test_a_threshold_is_compared_on_each_exits_own_scale(scores, tmp_path):
    found = find_exit([table_of(scores, tmp_path)], Policy(quality=Quality(min=20)), 0.99, None, tmp_path)
    # The second exit's scores are higher by 10: the threshold finds 10 rows of them and 20 of the last's.
    assert found.agreement[1] == pytest.approx(0.95)
    assert found.exit == 3


def test_marked_rows_count_as_decided_otherwise(scores, tmp_path):
    policy = Policy(quality=Quality(drop_fraction=0.1, action="weight"))
    assert find_exit([table_of(scores, tmp_path)], policy, 0.99, None, tmp_path).agreement[1] == pytest.approx(0.99)


def test_rows_without_a_score_do_not_count_as_agreement(scores, tmp_path):
    lacking = np.concatenate([scores, np.full((ROWS, 3), np.nan, np.float32)])
    found = find_exit([table_of(lacking, tmp_path)], Policy(quality=Quality(drop_fraction=0.1)), 0.5, None, tmp_path)
    assert found.rows == ROWS
    assert found.agreement == pytest.approx((0.8, 0.99, 1.0))


def test_a_target_size_is_that_share_of_the_sample(tmp_path):
    policy = Policy(size=Size(target=5000))
    assert judged_by_sample(policy, 100, 10_000).size.target == 50
    with pytest.raises(ExitError, match="number of all images is not known"):
        judged_by_sample(policy, 100, None)


def test_rules_that_a_sample_cannot_show_are_left_out_and_named(caplog):
    policy = Policy(quality=Quality(drop_fraction=0.1, drop_identity_fraction=0.2), size=Size(best_per_identity=5))
    assert judged_by_sample(policy, 100, None) == Policy(quality=Quality(drop_fraction=0.1))
    assert "quality.drop_identity_fraction, size.best_per_identity" in caplog.text


def test_a_policy_that_drops_nothing_does_not_tell_exits_apart(scores, tmp_path):
    with pytest.raises(ExitError, match="the policy drops none"):
        find_exit([table_of(scores, tmp_path)], Policy(), 0.9, None, tmp_path)


def test_a_condition_is_evaluated_on_each_exits_own_scores(scores, tmp_path):
    policy = Policy(quality=Quality(drop_where=("quality < 20",)))
    assert find_exit([table_of(scores, tmp_path)], policy, 0.99, None, tmp_path).agreement[1] == pytest.approx(0.95)
