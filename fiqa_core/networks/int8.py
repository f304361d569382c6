"""8-bit integer arithmetic for a ViT's linear layers on CPUs, by torch's oneDNN kernels.

The four linear layers of every block but the last computed one are quantised; the rest stays float32 (that block
computes one token only). Weights: symmetric, one scale for each output channel, chosen by least squared error.
Activations: one scale for each token, computed for each image. So a score depends on its image only (not on its batch
or on calibration data), and every CPU gives the same integers.

Source of the scheme: Jacob et al., arXiv 1712.05877, section 2 (affine quantisation with integer products);
per-token activation scales as in Yao et al., ZeroQuant, arXiv 2206.01861, section 4.1.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own convention)

from fiqa_core.errors import FiqaError
from fiqa_core.networks.iresnet import IResNet
from fiqa_core.networks.vit_fiqa import Block, ViTFIQA

# CPUs without VNNI add two products in 16 bits and saturate there: 2 x 180 x 91 = 32,760 still fits. The range
# is divided so that activations (with a sign: +-90) and weights (+-91) lose equally; 8 x 7 bits would lose more.
_ACTIVATION_MAX = 90
_ZERO_POINT = 90
_WEIGHT_MAX = 91
_RELU6_MAX = 2 * _ACTIVATION_MAX
_RELU6_STEP = 6 / _RELU6_MAX
_SCALE_CANDIDATES = 26


class Int8UnavailableError(FiqaError, ValueError):
    """int8 cannot be had for this network, device or torch build; the message says what to use."""


def quantise_blocks(network: "ViTFIQA | IResNet", last: int = 0) -> None:
    """Replace, in place, every block of a ViT but the last by its int8 form. CPU, float32, eval mode.

    `last`: the number (from 1) of the last block that will be computed; 0: all will be. It and those after it are left.

    Raises:
        Int8UnavailableError: an IResNet, or a torch build without oneDNN's int8 kernels.
    """
    if not isinstance(network, ViTFIQA):
        raise Int8UnavailableError("precision int8 exists for ViT networks only; score this IResNet with fp32 or bf16")
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not has_onednn or not hasattr(torch.ops.onednn, "qlinear_pointwise"):
        raise Int8UnavailableError(
            f"precision int8 needs a torch build with oneDNN, which torch {torch.__version__} here is not; use fp32"
        )
    for place in range((last or len(network.blocks)) - 1):
        network.blocks[place] = Int8Block(cast(Block, network.blocks[place]))


class Int8Linear:
    """A linear layer with int8 weights, packed for oneDNN."""

    def __init__(self, linear: nn.Linear) -> None:
        weight = linear.weight.detach()
        self.scales = _best_scales(weight)
        whole = torch.round(weight / self.scales[:, None]).clamp_(-_WEIGHT_MAX, _WEIGHT_MAX).to(torch.int8)
        self._packed = torch.ops.onednn.qlinear_prepack(whole, None)
        self._zero_points = torch.zeros(len(weight), dtype=torch.int32)
        self.bias = torch.zeros(len(weight)) if linear.bias is None else linear.bias.detach()

    def products(self, x: Tensor) -> Tensor:
        """uint8 (M, K) -> float32 (M, N): products of x - zero point with the weights; no bias, no token scales."""
        out: Tensor = torch.ops.onednn.qlinear_pointwise(
            x, 1.0, _ZERO_POINT, self._packed, self.scales, self._zero_points, None,
            1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return out

    def of_relu6_added_to(self, x: Tensor, residual: Tensor) -> Tensor:
        """`residual` + the layer's whole output, for x = ReLU6 values in steps of 6/180; overwrites `residual`."""
        out: Tensor = torch.ops.onednn.qlinear_pointwise.binary(
            x, _RELU6_STEP, 0, self._packed, self.scales, self._zero_points, residual, self.bias,
            1.0, 0, torch.float32, 1.0, 0, "sum", 1.0, "none", [], "",
        )  # fmt: skip
        return out


class Int8Block(nn.Module):
    """A transformer block whose four linear layers multiply 8-bit integers; attention itself is float32."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.heads = block.attn.heads
        self.norm1, self.norm2 = block.norm1, block.norm2
        self._qkv, self._proj = Int8Linear(block.attn.qkv), Int8Linear(block.attn.proj)
        self._fc1, self._fc2 = Int8Linear(block.mlp.fc1), Int8Linear(block.mlp.fc2)
        self._fc1_bias = self._fc1.bias / _RELU6_STEP - _ACTIVATION_MAX

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, N, D) -> tokens (B, N, D), float32."""
        batch, tokens, width = x.shape
        # A copy: the code below adds in place, and must not change the caller's tokens.
        rows = x.reshape(-1, width).clone()
        whole, scale = _per_token(self.norm1(rows))
        qkv = self._qkv.products(whole).mul_(scale).view(batch, tokens, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch * tokens, width)
        whole, scale = _per_token(mixed)
        rows.addcmul_(self._proj.products(whole), scale).add_(self._proj.bias)
        whole, scale = _per_token(self.norm2(rows))
        # ReLU6's range is the integers' range: clamping to it is the activation.
        hidden = torch.addcmul(self._fc1_bias, self._fc1.products(whole), scale.div_(_RELU6_STEP))
        whole = _to_uint8(hidden.clamp_(-_ACTIVATION_MAX, _ACTIVATION_MAX))
        return self._fc2.of_relu6_added_to(whole, rows).view(batch, tokens, width)


def _per_token(x: Tensor) -> tuple[Tensor, Tensor]:
    """float32 (M, K) -> uint8 (M, K) around the zero point, and each row's scale (M, 1)."""
    scale = x.abs().amax(-1, keepdim=True).div_(_ACTIVATION_MAX).clamp_min_(torch.finfo(torch.float32).tiny)
    return _to_uint8(x / scale), scale


def _to_uint8(x: Tensor) -> Tensor:
    """Round -90..90 to 0..180; x is overwritten. Through int8: torch's float to uint8 takes six times as long."""
    return x.round_().to(torch.int8).view(torch.uint8).add_(_ZERO_POINT)


def _best_scales(weight: Tensor) -> Tensor:
    """For each output channel (row), the candidate scale with the least squared error."""
    widest = weight.abs().amax(1, keepdim=True).clamp_min_(torch.finfo(torch.float32).tiny) / _WEIGHT_MAX
    best, least = widest, torch.full_like(widest, float("inf"))
    for factor in torch.linspace(1.0, 0.5, _SCALE_CANDIDATES):
        scale = widest * factor
        rounded = torch.round(weight / scale).clamp_(-_WEIGHT_MAX, _WEIGHT_MAX) * scale
        error = (rounded - weight).square_().sum(1, keepdim=True)
        best, least = torch.where(error < least, scale, best), torch.minimum(error, least)
    return best.squeeze(1).contiguous()
