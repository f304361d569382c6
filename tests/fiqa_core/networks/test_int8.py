"""int8: the integers are exact, the scores rank faces as fp32 does, and what cannot be had is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from fiqa_core import QualityScorer
from fiqa_core.images.preprocess import prepare
from fiqa_core.networks.checkpoints import load_checkpoint
from fiqa_core.networks.int8 import Int8Linear, Int8UnavailableError, quantise_blocks
from fiqa_core.scoring.scorer import QualityScorer as Scorer
from tests.makers.faces import lfw_faces
from tests.makers.stand_in import write_checkpoint


def ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values)).astype(float)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(write_checkpoint(tmp_path_factory.mktemp("int8") / "model.pt", "vit_t-token"))


@pytest.fixture(scope="module")
def scorer(checkpoint) -> QualityScorer:
    return QualityScorer.from_checkpoint(checkpoint, device="cpu", precision="int8")


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return np.stack([prepare(face.data).pixels for face in lfw_faces(200)])


def test_products_of_the_largest_integers_do_not_saturate():
    linear = nn.Linear(512, 16, bias=False)
    nn.init.constant_(linear.weight, 2.0)
    small = Int8Linear(linear)
    x = torch.full((3, 512), 180, dtype=torch.uint8)
    # 180 stands for +90 around the zero point; every weight is the largest integer.
    torch.testing.assert_close(small.products(x), torch.full((3, 16), 512 * 90 * 2.0))
    x[:, ::2] = 0
    torch.testing.assert_close(small.products(x), torch.zeros(3, 16))


def test_scores_rank_real_faces_as_fp32_does(checkpoint, scorer, faces):
    exact = QualityScorer.from_checkpoint(checkpoint, device="cpu").score_pixels(faces).quality
    assert np.corrcoef(ranks(exact), ranks(scorer.score_pixels(faces).quality))[0, 1] >= 0.995


def test_a_score_does_not_depend_on_its_batch(scorer, faces):
    whole = scorer.score_pixels(faces[:12]).quality
    alone = np.concatenate([scorer.score_pixels(faces[i : i + 1]).quality for i in range(12)])
    np.testing.assert_allclose(whole, alone, atol=1e-5)


def test_embeddings_are_those_of_the_same_blocks(checkpoint, scorer, faces):
    both = QualityScorer.from_checkpoint(checkpoint, device="cpu", precision="int8", embeddings=True)
    scores = both.score_pixels(faces[:4])
    np.testing.assert_allclose(scores.quality, scorer.score_pixels(faces[:4]).quality, atol=1e-4)
    exact = QualityScorer.from_checkpoint(checkpoint, device="cpu", embeddings=True).score_pixels(faces[:4]).embedding
    unit = [e / np.linalg.norm(e, axis=1, keepdims=True) for e in (scores.embedding, exact)]
    assert (unit[0] * unit[1]).sum(axis=1).min() > 0.99


def test_a_network_without_int8_layers_is_refused(tmp_path):
    loaded = load_checkpoint(str(write_checkpoint(tmp_path / "model.pt", "iresnet50")))
    with pytest.raises(Int8UnavailableError, match="ViT"):
        quantise_blocks(loaded.network)


def test_int8_on_a_gpu_is_refused_and_the_network_left_as_it_was(checkpoint, monkeypatch):
    monkeypatch.setattr("fiqa_core.scoring.scorer.resolve_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(nn.Module, "to", lambda self, *_: self)
    with pytest.raises(Int8UnavailableError, match="fp16"):
        Scorer(load_checkpoint(checkpoint, embeddings=False), "cuda", "int8")
