"""Exits and fusion of a ViT: the network's own final norm and head, on the state after a block."""

import numpy as np
import pytest
import torch

from fiqa_core import QualityScorer
from fiqa_core.networks.architectures import named
from fiqa_core.networks.checkpoints import LoadedNetwork
from fiqa_core.networks.exits import LAST, ExitError, Exits, normal
from fiqa_core.networks.vit_fiqa import ViTFIQA

DEPTH = 4


def network_of(mode: str) -> ViTFIQA:
    torch.manual_seed(7)
    config = named(f"vit_w64_d{DEPTH}_p28", mode).config
    network = ViTFIQA(config).eval().requires_grad_(False)
    for part in (network.norm, network.head_qs[0]):
        torch.nn.init.normal_(part.weight)
        torch.nn.init.normal_(part.bias)
    return network


def loaded(mode: str) -> LoadedNetwork:
    return LoadedNetwork(network_of(mode), f"vit_w64_d{DEPTH}_p28", mode, 64, True, "0" * 64, "memory")


def by_definition(network: ViTFIQA, x: torch.Tensor, exit_: int) -> torch.Tensor:
    """The score as arXiv 2604.22842 defines it, with nothing left out of the computation."""
    tokens = network.tokens(x)
    for block in network.blocks[:exit_]:
        tokens = block(tokens)
    tokens = torch.nn.functional.layer_norm(tokens, (64,), network.norm.weight, network.norm.bias)
    if network.config.mode == "token":
        return network.head_qs(tokens[:, 0]).squeeze(1)
    return network.head_qs(network.feature(tokens.flatten(1))).squeeze(1)


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    return torch.rand(3, 3, 112, 112, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (6, 112, 112, 3), dtype=np.uint8)


@pytest.mark.parametrize("mode", ["token", "full", "crfiqa"])
def test_an_exit_is_the_final_norm_and_head_on_the_state_after_its_block(mode, faces):
    network = network_of(mode)
    for exit_ in range(1, DEPTH + 1):
        expected = by_definition(network, faces, exit_)
        torch.testing.assert_close(network.quality(faces, Exits(exit_)), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(network(faces, Exits(exit_))[1].squeeze(1), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(network.quality(faces, Exits(DEPTH)), network.quality(faces))


@pytest.mark.parametrize("mode", ["token", "crfiqa"])
def test_fusion_averages_the_exits_alike_or_by_depth(mode, faces):
    network = network_of(mode)
    exits = torch.stack([by_definition(network, faces, exit_) for exit_ in range(1, DEPTH + 1)])
    by_depth = (exits * torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None]).sum(0) / 10
    torch.testing.assert_close(network.quality(faces, Exits(fuse="mean")), exits.mean(0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(network.quality(faces, Exits(fuse="depth")), by_depth, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(network.quality_after_each(faces), exits.T, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("exits", [Exits(2), Exits(fuse="depth")])
def test_the_embedding_is_that_of_the_last_block_whatever_exit_is_scored(exits, faces):
    network = network_of("token")
    assert torch.equal(network(faces, exits)[0], network(faces)[0])


def test_an_exit_computes_only_the_blocks_that_it_needs(faces):
    network = network_of("token")
    computed: list[int] = []
    for number, block in enumerate(network.blocks, start=1):
        block.norm1.register_forward_hook(lambda *_, number=number: computed.append(number))
    network.quality(faces, Exits(2))
    assert computed == [1, 2]
    computed.clear()
    network.quality(faces, Exits(fuse="mean"))
    assert computed == [1, 2, 3, 4]


@pytest.mark.parametrize(("precision", "close"), [("int8", 0.05), ("bf16", 0.05)])
@pytest.mark.parametrize("exits", [Exits(1), Exits(3), Exits(fuse="mean")])
def test_every_precision_reads_the_same_exit(precision, close, exits, pixels):
    exact = QualityScorer(loaded("token"), "cpu", exits=exits).score_pixels(pixels).quality
    rounded = QualityScorer(loaded("token"), "cpu", precision, exits=exits).score_pixels(pixels).quality
    assert np.isfinite(rounded).all()
    np.testing.assert_allclose(rounded, exact, atol=close * max(1.0, float(np.abs(exact).max())))
    others = QualityScorer(loaded("token"), "cpu").score_pixels(pixels).quality
    assert np.abs(exact - others).min() > np.abs(rounded - exact).max()


def test_from_checkpoint_takes_an_exit_or_a_fusion(pixels):
    whole = QualityScorer.from_checkpoint(device="cpu")
    every = whole.loaded.network.quality_after_each(
        torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255).sub(0.5).div(0.5)
    ).numpy()
    second = QualityScorer.from_checkpoint(device="cpu", exit=2).score_pixels(pixels).quality
    mean = QualityScorer.from_checkpoint(device="cpu", fuse="mean").score_pixels(pixels).quality
    np.testing.assert_allclose(second, every[:, 1], atol=1e-5)
    np.testing.assert_allclose(mean, every.mean(1), atol=1e-5)
    assert np.array_equal(
        QualityScorer.from_checkpoint(device="cpu", exit=3).score_pixels(pixels).quality,
        whole.score_pixels(pixels).quality,
    )


def test_an_exit_that_is_not_there_is_refused_with_the_ones_that_are():
    with pytest.raises(ExitError, match="exit 5: this network has 3 blocks; expected 1 to 3"):
        QualityScorer.from_checkpoint(device="cpu", exit=5)
    with pytest.raises(ExitError, match="only one of the two"):
        QualityScorer.from_checkpoint(device="cpu", exit=2, fuse="mean")
    with pytest.raises(ExitError, match="expected one of none, mean, depth"):
        QualityScorer.from_checkpoint(device="cpu", fuse="median")
    for wrong in (-1, True, 1.5):
        with pytest.raises(ExitError, match="number of a block"):
            Exits(wrong)


def test_a_network_without_blocks_has_no_exits():
    resnet = named("iresnet_1-1-1-1", "crfiqa")
    network = LoadedNetwork(resnet.build(), resnet.name, "crfiqa", 512, True, "0" * 64, "weights.pth")
    with pytest.raises(ExitError, match=r"weights\.pth: exits and fusion exist for ViT networks only"):
        QualityScorer(network, "cpu", exits=Exits(1))


def test_the_last_block_by_number_is_the_ordinary_score():
    assert normal(Exits(12), 12) is LAST
    assert normal(Exits(11), 12) == Exits(11)
    assert sum(Exits(fuse="depth").weights(12).values()) == pytest.approx(1)
