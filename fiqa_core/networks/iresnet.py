"""The ArcFace IResNet, with CR-FIQA's quality head if a checkpoint has one (arXiv 2112.06592, section 3).

Tensor names are those of the InsightFace and CR-FIQA checkpoints. BN eps is 1e-5 throughout (torch's
default).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512)
EMBEDDING = 512
# 112 pixels halved by each of the four stages.
LAST_MAP = 7 * 7

Stages = tuple[int, int, int, int]


@dataclass(frozen=True)
class IResNetConfig:
    """Number of blocks in each of the four stages, and whether it has the quality head `qs`."""

    stages: Stages
    has_quality: bool = True


ARCHITECTURES: dict[str, IResNetConfig] = {
    "iresnet50": IResNetConfig((3, 4, 14, 3)),
    "iresnet100": IResNetConfig((3, 13, 30, 3)),
}


class Block(nn.Module):
    """BN, 3x3 conv, BN, PReLU, 3x3 conv (stride), BN; plus the identity, projected where the shape
    changes.
    """

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        out: Tensor = self.bn3(self.conv2(y)) + (x if self.downsample is None else self.downsample(x))
        return out


def stage(inputs: int, width: int, blocks: int) -> nn.Sequential:
    first = Block(inputs, width, stride=2)
    return nn.Sequential(first, *(Block(width, width, stride=1) for _ in range(blocks - 1)))


class IResNet(nn.Module):
    """Embedding and, with a `qs` head, quality of aligned faces.

    Input everywhere: float32 (B, 3, 112, 112), **RGB**, `(pixel / 255 - 0.5) / 0.5`. Quality has no unit;
    higher = more useful for recognition.
    """

    def __init__(self, config: IResNetConfig) -> None:
        super().__init__()
        self.config = config
        one, two, three, four = config.stages
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.prelu = nn.PReLU(WIDTHS[0])
        self.layer1 = stage(WIDTHS[0], WIDTHS[0], one)
        self.layer2 = stage(WIDTHS[0], WIDTHS[1], two)
        self.layer3 = stage(WIDTHS[1], WIDTHS[2], three)
        self.layer4 = stage(WIDTHS[2], WIDTHS[3], four)
        self.bn2 = nn.BatchNorm2d(WIDTHS[3])
        self.fc = nn.Linear(WIDTHS[3] * LAST_MAP, EMBEDDING)
        self.features = nn.BatchNorm1d(EMBEDDING)
        self.qs = nn.Linear(EMBEDDING, 1) if config.has_quality else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Faces -> (embedding (B, 512), quality (B, 1) or None without a `qs` head), both float32, not
        normalised.
        """
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.bn2(self.layer4(self.layer3(self.layer2(self.layer1(x)))))
        # The last layers stay in float32 under autocast: half precision would make near scores equal.
        with torch.autocast(x.device.type, enabled=False):
            embedding: Tensor = self.features(self.fc(x.float().flatten(1)))
            return embedding, None if self.qs is None else self.qs(embedding)

    def quality(self, x: Tensor) -> Tensor:
        """Faces -> quality (B,), float32, higher = better; RuntimeError on a network without a `qs` head."""
        if self.qs is None:
            raise RuntimeError(
                "this IResNet has no quality head (no tensor `qs.weight` in its checkpoint): it gives embeddings only"
            )
        scores: Tensor = self(x)[1]
        return scores.squeeze(1)
