"""ViT-FIQA: a face-recognition vision transformer with a quality token (arXiv 2508.13957, section 3).

Tensor names are those of the original checkpoints, so their state dicts load unchanged.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own convention)

from fiqa_core.networks.conv_stem import ConvStem, bottlenecks
from fiqa_core.networks.exits import LAST, Exits

Mode = Literal["token", "full", "crfiqa"]
Stem = Literal["patch", "mobilefacenet"]
MODES: tuple[Mode, ...] = ("token", "full", "crfiqa")
STEMS: tuple[Stem, ...] = ("patch", "mobilefacenet")
MLP_RATIO = 4
HEADS = 8
HEAD_EPS = 2e-5


@dataclass(frozen=True)
class ViTConfig:
    """Size and quality mode of one network; `image` and `patch` in pixels.

    `token`: the quality token's last state is scored. `full`: the embedding is scored and is made of all
    tokens, the quality token among them. `crfiqa`: no quality token, the embedding is scored.
    `stem`: what makes tokens of pixels: the original's projection of patches, or a convolutional network
    (`fiqa_core.networks.conv_stem`; `patch` is then 8 or 16, what one place of its grid stands for).
    """

    width: int
    depth: int
    heads: int = HEADS
    patch: int = 9
    image: int = 112
    mode: Mode = "token"
    stem: Stem = "patch"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode is {self.mode!r}; expected one of {', '.join(MODES)}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} does not divide into {self.heads} attention heads")
        if not 0 < self.patch <= self.image:
            raise ValueError(f"patch is {self.patch} pixels; expected 1..{self.image}")
        if self.stem not in STEMS:
            raise ValueError(f"stem is {self.stem!r}; expected one of {', '.join(STEMS)}")
        if self.stem == "mobilefacenet":
            bottlenecks(self.patch)

    @property
    def patches(self) -> int:
        """Number of whole patches; pixel rows and columns left over at the right and bottom are not used."""
        return (self.image // self.patch) ** 2

    @property
    def has_token(self) -> bool:
        return self.mode != "crfiqa"

    @property
    def tokens(self) -> int:
        return self.patches + self.has_token

    @property
    def feature_inputs(self) -> int:
        """Length of the flattened tokens that the embedding head reads."""
        return self.width * (self.patches if self.mode == "token" else self.tokens)


ARCHITECTURES: dict[str, ViTConfig] = {
    "vit_t": ViTConfig(width=256, depth=12),
    "vit_s": ViTConfig(width=512, depth=12),
    "vit_b": ViTConfig(width=512, depth=24),
}


class PatchEmbed(nn.Module):
    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        patches: Tensor = self.proj(x)
        return patches.flatten(2).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out

    def first_row(self, x: Tensor) -> Tensor:
        """What `forward` gives for the first token, (B, 1, D).

        One query needs no keys and values: q.(Wk y) = (Wk' q).y, and the weighted sum of Wv y is Wv times
        that of y.
        """
        width = x.shape[-1]
        of_q, of_k, of_v = self.qkv.weight.view(3, self.heads, -1, width)
        q = torch.einsum("bd,hed->bhe", x[:, 0], of_q) * (width // self.heads) ** -0.5
        weights = torch.einsum("bhd,bnd->bhn", torch.einsum("bhe,hed->bhd", q, of_k), x).softmax(-1)
        mixed = torch.einsum("bhd,hed->bhe", torch.einsum("bhn,bnd->bhd", weights, x), of_v)
        out: Tensor = self.proj(mixed.flatten(1).unsqueeze(1))
        return out


class MLP(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.relu6(self.fc1(x), inplace=True))
        return out


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out

    def first_row(self, x: Tensor) -> Tensor:
        row = x[:, :1] + self.attn.first_row(self.norm1(x))
        out: Tensor = row + self.mlp(self.norm2(row))
        return out


class ViTFIQA(nn.Module):
    """Embedding and quality of aligned faces.

    Input everywhere: float32 (B, 3, 112, 112), **RGB**, `(pixel / 255 - 0.5) / 0.5`. Quality has no unit;
    higher = more useful for recognition. `embeddings=False` leaves out the embedding head if the score
    does not need it (mode `token`: half of vit_s's weights). `mask_token` only holds the tensor of masked-token
    training.
    """

    def __init__(self, config: ViTConfig, embeddings: bool = True, mask_token: bool = False) -> None:
        super().__init__()
        self.config = config
        width = config.width
        if config.has_token:
            self.qs_token = nn.Parameter(torch.empty(1, 1, width))
        if mask_token:
            self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, config.tokens, width))
        self.patch_embed = (PatchEmbed if config.stem == "patch" else ConvStem)(width, config.patch)
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)
        self.feature: nn.Sequential | None = None
        if embeddings or config.mode != "token":
            self.feature = nn.Sequential(
                nn.Linear(config.feature_inputs, width, bias=False),
                nn.BatchNorm1d(width, eps=HEAD_EPS),
                nn.Linear(width, width, bias=False),
                nn.BatchNorm1d(width, eps=HEAD_EPS),
            )
        self.head_qs = nn.Sequential(nn.BatchNorm1d(width, eps=HEAD_EPS), nn.Linear(width, 1, bias=False))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        if config.has_token:
            nn.init.normal_(self.qs_token, std=1e-6)

    def to_half(self, dtype: torch.dtype) -> None:
        """Keep patch embedding, tokens and blocks in a half-precision type; final norm and heads stay float32."""
        self.patch_embed.to(dtype)
        self.blocks.to(dtype)
        self.pos_embed.data = self.pos_embed.data.to(dtype)
        if self.config.has_token:
            self.qs_token.data = self.qs_token.data.to(dtype)

    def tokens(self, x: Tensor) -> Tensor:
        """Faces -> first block's input (B, N, D), the quality token in front."""
        return self.placed(self.patch_embed(x.to(self.pos_embed.dtype)))

    def placed(self, tokens: Tensor) -> Tensor:
        """Tokens of the patches (B, N, D) with the quality token in front and their places added."""
        if self.config.has_token:
            tokens = torch.cat((self.qs_token.expand(tokens.shape[0], -1, -1), tokens), dim=1)
        embedded: Tensor = tokens + self.pos_embed
        return embedded

    def _final_norm(self, tokens: Tensor) -> Tensor:
        """LayerNorm in float32, whatever autocast would choose."""
        with torch.autocast(tokens.device.type, enabled=False):
            normed: Tensor = self.norm(tokens.float())
        return normed

    def _score(self, features: Tensor) -> Tensor:
        """(B, D) -> (B, 1); float32 even under autocast, where half precision would make near scores
        equal.
        """
        with torch.autocast(features.device.type, enabled=False):
            scores: Tensor = self.head_qs(features.float())
        return scores

    def _embedding(self, tokens: Tensor) -> Tensor:
        """Normed tokens (B, N, D) -> embedding (B, D)."""
        if self.feature is None:
            raise RuntimeError(
                "this network was built with embeddings=False: call quality(x), or build it with embeddings"
            )
        seen = tokens[:, 1:] if self.config.mode == "token" else tokens
        embedding: Tensor = self.feature(seen.flatten(1)).float()
        return embedding

    def _read(self, tokens: Tensor) -> Tensor:
        """The score (B, 1) of a block's output (B, N, D), or of its first row (B, 1, D) in mode `token`."""
        if self.config.mode == "token":
            return self._score(self._final_norm(tokens[:, :1]).squeeze(1))
        return self._score(self._embedding(self._final_norm(tokens)))

    def forward(self, x: Tensor, exits: Exits = LAST) -> tuple[Tensor, Tensor]:
        """Faces -> (embedding (B, D), quality (B, 1)), both float32, the embedding not normalised.

        The embedding is always that of the last block; `exits` says where the quality is read. Raises RuntimeError on a
        network built with `embeddings=False`.
        """
        depth = self.config.depth
        weights = exits.weights(depth)
        tokens = self.tokens(x)
        scores: dict[int, Tensor] = {}
        for number, block in enumerate(self.blocks, start=1):
            tokens = block(tokens)
            if number in weights and number < depth:
                scores[number] = self._read(tokens)
        tokens = self._final_norm(tokens)
        embedding = self._embedding(tokens)
        if depth in weights:
            scores[depth] = self._score(tokens[:, 0] if self.config.mode == "token" else embedding)
        return embedding, _fused(scores, weights)

    def quality(self, x: Tensor, exits: Exits = LAST) -> Tensor:
        """Faces -> quality (B,), float32, higher = better: the score of `forward`, computed without unneeded
        work.

        Blocks after the last exit are not computed. Mode `token` never runs `feature`, and the last block that it
        computes is computed for the quality token only.
        """
        weights = exits.weights(self.config.depth)
        scores = self._scores_after(x, tuple(weights))
        return _fused(scores, weights).squeeze(1)

    def quality_after_each(self, x: Tensor) -> Tensor:
        """Faces -> quality (B, depth), float32: the score at every exit, in one pass."""
        scores = self._scores_after(x, tuple(range(1, self.config.depth + 1)))
        return torch.cat(list(scores.values()), dim=1)

    def _scores_after(self, x: Tensor, read: tuple[int, ...]) -> dict[int, Tensor]:
        """The scores (B, 1) after some blocks, by number from 1."""
        last = max(read)
        tokens = self.tokens(x)
        scores: dict[int, Tensor] = {}
        for number, block in enumerate(self.blocks[:last], start=1):
            # An int8 block has no way to compute one row only.
            if number == last and self.config.mode == "token" and isinstance(block, Block):
                tokens = block.first_row(tokens)
            else:
                tokens = block(tokens)
            if number in read:
                scores[number] = self._read(tokens)
        return scores


def _fused(scores: Mapping[int, Tensor], weights: Mapping[int, float]) -> Tensor:
    """Weighted average of scores (B, 1), in float32; a single score stays as it is."""
    if len(scores) == 1:
        return next(iter(scores.values()))
    parts = [score * weights[number] for number, score in scores.items()]
    return torch.stack(parts).sum(0)
