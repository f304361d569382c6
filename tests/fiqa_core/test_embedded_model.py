"""The network that comes with the package: small, loaded without a name, and worse faces score lower."""

import hashlib
import json
import logging

import numpy as np
import pandas as pd
import pytest

from fiqa_core import QualityScorer
from fiqa_core.images.degradations import DEGRADATIONS
from fiqa_core.images.preprocess import prepare
from fiqa_core.models import EMBEDDED, read_embedded
from fiqa_core.networks.checkpoints import load_checkpoint
from pipelines import score_dataset
from tests.makers.containers import face_records, write_webdataset
from tests.shared import lfw_faces, needs_shared

PLANTED = ("blur", "low_resolution", "noise", "jpeg", "occlusion", "rotation", "darkness")
SEVERITIES = (0.0, 0.25, 0.5, 0.75, 1.0)


@pytest.fixture(scope="module")
def scorer():
    return QualityScorer.from_checkpoint(device="cpu")


def test_it_is_a_small_vit_fiqa_that_any_tool_can_read():
    data = read_embedded()
    assert len(data) <= 8_000_000
    loaded = load_checkpoint(EMBEDDED, embeddings=False)
    assert loaded.mode == "token"
    assert loaded.sha256 == hashlib.sha256(data).hexdigest()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert {"qs_token", "patch_embed.proj.weight", "head_qs.1.weight"} <= header.keys()


def test_scoring_without_a_checkpoint_uses_it_and_says_so(tmp_path, caplog):
    shard = write_webdataset(tmp_path / "faces-%06d.tar", face_records(6))
    caplog.set_level(logging.INFO)
    assert score_dataset.run(["--input", str(shard[0]), "--output", str(tmp_path / "out"), "--device", "cpu"]) == 0
    assert "demonstration and tests" in caplog.text
    assert "CC BY-NC 4.0" in caplog.text
    assert len(pd.read_parquet(tmp_path / "out" / "quality").query("status == 'scored'")) == 6
    settings = json.loads((tmp_path / "out" / "summary.json").read_text())["settings"]
    assert settings["checkpoint_sha256"] == hashlib.sha256(read_embedded()).hexdigest()


@needs_shared
@pytest.mark.parametrize("kind", PLANTED)
def test_the_worse_a_face_of_a_stranger_gets_the_lower_it_scores(scorer, strangers, kind):
    random = [np.random.default_rng([place, 99]) for place in range(len(strangers))]
    ladder = pd.DataFrame(
        [
            scorer.score([DEGRADATIONS[kind](face, severity, r) for face, r in zip(strangers, random, strict=True)])
            for severity in SEVERITIES
        ],
        index=SEVERITIES,
    )
    fall = ladder.rank().corrwith(-pd.Series(SEVERITIES, SEVERITIES))  # Spearman, a face each
    assert fall.mean() >= 0.8
    assert ladder.iloc[0].mean() - ladder.iloc[-1].mean() > 0.2


@pytest.fixture(scope="module")
def strangers():
    """Faces of the test identities, which its training did not see (the shards' names begin with `test`)."""
    return [prepare(face.data).pixels for face in lfw_faces(16)]
