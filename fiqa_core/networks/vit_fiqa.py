"""ViT-FIQA: a face-recognition vision transformer with a quality token (arXiv 2508.13957, section 3).

Tensor names are those of the original checkpoints, so their state dicts load unchanged.
"""

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own convention)

Mode = Literal["token", "full", "crfiqa"]
MODES: tuple[Mode, ...] = ("token", "full", "crfiqa")
MLP_RATIO = 4
HEADS = 8
HEAD_EPS = 2e-5


@dataclass(frozen=True)
class ViTConfig:
    """Size and quality mode of one network; `image` and `patch` in pixels.

    `token`: the quality token's last state is scored. `full`: the embedding is scored and is made of all
    tokens, the quality token among them. `crfiqa`: no quality token, the embedding is scored.
    """

    width: int
    depth: int
    heads: int = HEADS
    patch: int = 9
    image: int = 112
    mode: Mode = "token"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode is {self.mode!r}; expected one of {', '.join(MODES)}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} does not divide into {self.heads} attention heads")
        if not 0 < self.patch <= self.image:
            raise ValueError(f"patch is {self.patch} pixels; expected 1..{self.image}")

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
        self.patch_embed = PatchEmbed(width, config.patch)
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
        tokens = self.patch_embed(x.to(self.pos_embed.dtype))
        if self.config.has_token:
            tokens = torch.cat((self.qs_token.expand(x.shape[0], -1, -1), tokens), dim=1)
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

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Faces -> (embedding (B, D), quality (B, 1)), both float32, the embedding not normalised.

        Raises RuntimeError on a network built with `embeddings=False`.
        """
        if self.feature is None:
            raise RuntimeError(
                "this network was built with embeddings=False: call quality(x), or build it with embeddings"
            )
        tokens = self.tokens(x)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self._final_norm(tokens)
        seen = tokens[:, 1:] if self.config.mode == "token" else tokens
        embedding: Tensor = self.feature(seen.flatten(1)).float()
        return embedding, self._score(tokens[:, 0] if self.config.mode == "token" else embedding)

    def quality(self, x: Tensor) -> Tensor:
        """Faces -> quality (B,), float32, higher = better: the score of `forward`, computed without unneeded
        work.

        Mode `token` never runs `feature`, and its last block computes the quality token only.
        """
        if self.config.mode != "token":
            scores: Tensor = self(x)[1]
            return scores.squeeze(1)
        tokens = self.tokens(x)
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        row = cast(Block, self.blocks[-1]).first_row(tokens)
        return self._score(self._final_norm(row).squeeze(1)).squeeze(1)
