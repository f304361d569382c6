"""The same network written down straightforwardly, as a script would run it: the yardstick of `network.py`.

All of `forward` for every batch: attention as two matrix products around a softmax, every token through every
layer, embedding and quality both computed. Tensor names are the checkpoints'.
"""

import torch
from torch import Tensor, nn


class PlainAttention(nn.Module):
    """softmax(q k' / sqrt(d)) v, term by term."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        weights = (q @ k.transpose(-2, -1)) * (width // self.heads) ** -0.5
        mixed = (weights.softmax(dim=-1) @ v).transpose(1, 2).reshape(batch, tokens, width)
        out: Tensor = self.proj(mixed)
        return out


class PlainMLP(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, 4 * width), nn.ReLU6(), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


class PlainBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), PlainAttention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width), PlainMLP(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PlainPatches(nn.Module):
    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.proj(x)
        return out.flatten(2).transpose(1, 2)


class PlainViT(nn.Module):
    """Mode `token`; faces (B, 3, 112, 112) -> (embedding (B, D), quality (B, 1))."""

    def __init__(self, width: int = 512, depth: int = 12, heads: int = 8, patch: int = 9) -> None:
        super().__init__()
        patches = (112 // patch) ** 2
        self.patch_embed = PlainPatches(width, patch)
        self.qs_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, patches + 1, width))
        self.blocks = nn.ModuleList(PlainBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.feature = nn.Sequential(
            nn.Linear(patches * width, width, bias=False),
            nn.BatchNorm1d(width, eps=2e-5),
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width, eps=2e-5),
        )
        self.head_qs = nn.Sequential(nn.BatchNorm1d(width, eps=2e-5), nn.Linear(width, 1, bias=False))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.patch_embed(x)
        x = torch.cat((self.qs_token.expand(x.shape[0], -1, -1), x), dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return self.feature(x[:, 1:].flatten(1)), self.head_qs(x[:, 0])
