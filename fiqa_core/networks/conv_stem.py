"""A convolutional stem in place of the patch projection: MobileFaceNet's layers down to a grid of 14x14 or 7x7.

MobileFaceNet (arXiv 1804.07573) without its BatchNorms, which its trained files have folded into the convolutions.
So there are no statistics, and a batch does not change an image's features.

Convolutions with stride 2 are those of TensorFlow: on an even side they pad one row below and one column on the right.
torch would copy every map for that. The stem therefore works on the face turned by 180 degrees, where the same padding
is above and on the left, as torch's `padding=1` has it: `start_weights` turns the kernels. The grid of tokens is turned
back at the end.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

PATCHES = (8, 16)  # sides in pixels of what one place of the grid stands for
FIRST = 64
# Faces at a time. Alone, a thread is fastest with maps that stay in its core's cache. Several wait for each other after
# every layer, which is slow where other programs have a core, so that they get more work between two waits.
_FACES_ALONE = 4
_FACES_A_THREAD = 16


class Bottleneck(NamedTuple):
    """Channels in, between and out of an inverted residual block; its stride; whether its input is added."""

    inside: int
    middle: int
    out: int
    stride: int
    residual: bool


_TO_14 = (
    Bottleneck(64, 128, 64, 2, False),
    *[Bottleneck(64, 128, 64, 1, True)] * 4,
    Bottleneck(64, 256, 128, 2, False),
    *[Bottleneck(128, 256, 128, 1, True)] * 6,
)
_TO_7 = (Bottleneck(128, 512, 128, 2, False), *[Bottleneck(128, 256, 128, 1, True)] * 2)


def bottlenecks(patch: int) -> tuple[Bottleneck, ...]:
    """The blocks down to patches of 8 or 16 pixels; ValueError for another number."""
    if patch not in PATCHES:
        raise ValueError(
            f"patch is {patch} pixels; a convolutional stem has patches of {' or '.join(map(str, PATCHES))}"
        )
    return _TO_14 if patch == PATCHES[0] else _TO_14 + _TO_7


def layer_count(patch: int) -> int:
    """Numbered layers of a stem: two convolutions, and the blocks."""
    return 2 + len(bottlenecks(patch))


class ConvPReLU(nn.Module):
    """Convolution with a bias, then PReLU with a slope for each channel."""

    def __init__(self, inside: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, out, kernel, stride, kernel // 2, groups=groups)
        self.act = nn.PReLU(out)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.conv(x))
        return out


class InvertedResidual(nn.Module):
    """Widened by a 1x1 convolution, filtered channel by channel, and narrowed again."""

    def __init__(self, shape: Bottleneck) -> None:
        super().__init__()
        self.widen = ConvPReLU(shape.inside, shape.middle, 1)
        self.filter = ConvPReLU(shape.middle, shape.middle, 3, shape.stride, shape.middle)
        self.narrow = nn.Conv2d(shape.middle, shape.out, 1)
        self.residual = shape.residual

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.narrow(self.filter(self.widen(x)))
        return out + x if self.residual else out


class ConvStem(nn.Module):
    """Faces (B, 3, 112, 112) -> tokens (B, N, D), row by row as those of a patch projection.

    `stem` is what has pretrained weights; `proj` maps its channels to the tokens' width.
    """

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        blocks = bottlenecks(patch)
        self.stem = nn.Sequential(
            ConvPReLU(3, FIRST, 3, 2),
            ConvPReLU(FIRST, FIRST, 3, 1, FIRST),
            *(InvertedResidual(shape) for shape in blocks),
        )
        self.proj = nn.Conv2d(blocks[-1].out, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or torch.is_grad_enabled() or torch.onnx.is_in_onnx_export():
            return self.after(0, self.before(0, x))
        threads = torch.get_num_threads()
        at_once = _FACES_ALONE if threads == 1 else _FACES_A_THREAD * threads
        return torch.cat([self.after(0, self.before(0, faces)) for faces in torch.split(x, at_once)])

    def before(self, layers: int, x: Tensor) -> Tensor:
        """What the first layers make of faces, (B, channels, side, side), turned by 180 degrees."""
        turned = x.flip(2, 3).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.stem[:layers](turned)
        return features

    def after(self, layers: int, features: Tensor) -> Tensor:
        """The tokens of what `before` gives for the same number of layers."""
        grid: Tensor = self.proj(self.stem[layers:](features))
        return grid.flatten(2).flip(2).transpose(1, 2)
