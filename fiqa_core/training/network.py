"""A ViT-FIQA in training: initial weights, and token masking and stochastic depth around the network."""

import torch
from torch import Tensor, nn

from fiqa_core.networks.conv_stem import ConvStem
from fiqa_core.networks.vit_fiqa import ViTConfig, ViTFIQA

COLOURS = 3


def new_network(config: ViTConfig, masking: bool) -> ViTFIQA:
    """A network with random weights, drawn from torch's own generator.

    Linear layers and tokens: normal, std 0.02, cut at two std; biases 0; the quality token std 1e-6; the patch
    convolution as torch draws it.
    """
    network = ViTFIQA(config, mask_token=masking)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if masking:
        nn.init.trunc_normal_(network.mask_token, std=0.02)
    return network


@torch.no_grad()
def start_quality_at(network: ViTFIQA, mean: float) -> None:
    """Let the quality head's first outputs lie around a number, such as the targets' mean.

    The head's linear layer has no bias, and its BatchNorm's reaches a constant slowly.
    """
    norm, linear = network.head_qs
    if not isinstance(norm, nn.BatchNorm1d) or not isinstance(linear, nn.Linear):
        raise TypeError("a quality head is a BatchNorm and a linear layer")
    weight = linear.weight[0]
    norm.bias.copy_(weight * (mean / weight.square().sum().clamp(min=1e-12)))


def is_features(x: Tensor) -> bool:
    """Whether a network's input is what the frozen layers of a stem give: more channels than a colour picture."""
    return x.shape[1] != COLOURS


def _stem_of(network: ViTFIQA) -> ConvStem:
    if not isinstance(network.patch_embed, ConvStem):
        raise ValueError("network.frozen: a network without a convolutional stem has no layers to freeze")
    return network.patch_embed


class TrainingNetwork(nn.Module):
    """Embeddings and qualities with masking and stochastic depth in training mode; the plain network otherwise.

    Masking: a share of the patch tokens, drawn anew for each image, never enters the blocks; `mask_token` stands in
    their places for the embedding head. The quality token is never masked. Stochastic depth: a block's two branches
    are left out for an image with a probability that grows linearly from 0 (first block) to `drop_path` (last).
    Frozen layers: the first `frozen` layers of a convolutional stem keep their weights. In place of faces it takes what
    they give (fiqa_core/training/stem_features.py).
    """

    def __init__(self, network: ViTFIQA, mask_ratio: float = 0.1, drop_path: float = 0.1, frozen: int = 0) -> None:
        super().__init__()
        if not 0 <= mask_ratio < 1 or not 0 <= drop_path < 1:
            raise ValueError(f"mask_ratio {mask_ratio} and drop_path {drop_path} are shares; expected 0 <= share < 1")
        self.network = network
        self.frozen = frozen
        if frozen:
            _stem_of(network).stem[:frozen].requires_grad_(False)
        self.mask_ratio = mask_ratio if hasattr(network, "mask_token") else 0.0
        last = max(1, len(network.blocks) - 1)
        self.drop = [drop_path * place / last for place in range(len(network.blocks))]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Faces (B, 3, 112, 112) -> (embedding (B, D), quality (B,)), float32."""
        if not self.training:
            embedding, quality = self.network(x)
            return embedding, quality.squeeze(1)
        network, config = self.network, self.network.config
        tokens = network.placed(_stem_of(network).after(self.frozen, x)) if is_features(x) else network.tokens(x)
        front, patches = tokens[:, : config.has_token], tokens[:, config.has_token :]
        kept, places = self._masked(patches)
        tokens = torch.cat((front, kept), 1)
        for block, rate in zip(network.blocks, self.drop, strict=True):
            tokens = tokens + self._branch(block.attn(block.norm1(tokens)), rate)  # type: ignore[operator]
            tokens = tokens + self._branch(block.mlp(block.norm2(tokens)), rate)  # type: ignore[operator]
        tokens = network._final_norm(tokens)
        front, patches = tokens[:, : config.has_token], self._filled(tokens[:, config.has_token :], places)
        seen = patches if config.mode == "token" else torch.cat((front, patches), 1)
        if network.feature is None:
            raise RuntimeError("a network is trained with its embedding head; build it with embeddings=True")
        embedding = network.feature(seen.flatten(1)).float()
        return embedding, network._score(front[:, 0] if config.mode == "token" else embedding).squeeze(1)

    def _masked(self, patches: Tensor) -> tuple[Tensor, Tensor | None]:
        """The patches that are kept, in their order, and their places (B, kept); all of them without masking."""
        count = patches.shape[1]
        kept = count - round(count * self.mask_ratio)
        if kept == count:
            return patches, None
        places = torch.rand(patches.shape[:2], device=patches.device).argsort(1)[:, :kept].sort(1).values
        return patches.gather(1, places[:, :, None].expand(-1, -1, patches.shape[2])), places

    def _filled(self, kept: Tensor, places: Tensor | None) -> Tensor:
        if places is None:
            return kept
        batch, _, width = kept.shape
        full = self.network.mask_token.to(kept.dtype).expand(batch, self.network.config.patches, width)
        return full.scatter(1, places[:, :, None].expand(-1, -1, width), kept)

    def _branch(self, out: Tensor, rate: float) -> Tensor:
        if rate == 0:
            return out
        keep = torch.rand(out.shape[0], 1, 1, device=out.device) >= rate
        return out * keep.to(out.dtype) / (1 - rate)
