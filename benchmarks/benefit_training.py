"""A small face recognition network and its training: four convolutions, 128 numbers, CosFace, a minute or less.

Every training takes the same number of steps, however many images are left: fewer images are then seen more often, and
a condition is not worse only because it was trained for a shorter time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fiqa_core.training.losses import cosines, recognition_loss
from fiqa_core.training.schedule import rate_factor

DIM = 128
STAGES = 4
_AT_ONCE = 256


@dataclass(frozen=True)
class Recipe:
    """Settings of a training; chosen on train identities that were held out, with right labels.

    Attributes:
        side: pixels of the square input. width: channels of the first stage; each next one has twice as many.
        s, m: scale and margin of CosFace.
        shift: largest random shift in pixels. warmup: share of the steps in which the rate rises.
    """

    side: int = 48
    width: int = 16
    epochs: int = 8
    batch: int = 64
    rate: float = 4e-3
    decay: float = 1e-2
    s: float = 20.0
    m: float = 0.2
    shift: int = 4
    warmup: float = 0.15


class SmallNetwork(nn.Module):
    """Faces float32 (B, 3, side, side) in [-1, 1] to embeddings (B, 128), not normalised."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        channels, side = 3, recipe.side
        for width in (recipe.width << stage for stage in range(STAGES)):
            stages += [nn.Conv2d(channels, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width)]
            channels, side = width, (side + 1) // 2
        self.stages = nn.Sequential(*stages)
        self.embedding = nn.Linear(channels * side * side, DIM, bias=False)
        self.norm = nn.BatchNorm1d(DIM)

    def forward(self, faces: Tensor) -> Tensor:
        """See the class."""
        return torch.as_tensor(self.norm(self.embedding(self.stages(faces).flatten(1))))


def steps_of(recipe: Recipe, images: int) -> int:
    """Steps of a training: the recipe's epochs over so many images."""
    return recipe.epochs * max(1, images // recipe.batch)


def train(
    pixels: np.ndarray, classes: np.ndarray, weights: np.ndarray | None, steps: int, recipe: Recipe, seed: int
) -> SmallNetwork:
    """A trained network; the same arguments on the same machine, with the same number of threads, give the same.

    Args:
        pixels: uint8 (N, side, side, 3). classes: int (N,), 0 .. C - 1. weights: float (N,), of each image's loss;
            None: all alike.
    """
    torch.manual_seed(seed)
    network = SmallNetwork(recipe)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    centres = nn.Parameter(0.05 * torch.randn(int(classes.max()) + 1, DIM))
    optimiser = torch.optim.AdamW([*network.parameters(), centres], lr=recipe.rate, weight_decay=recipe.decay)
    warmup = max(1, round(recipe.warmup * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate_factor(step, warmup, steps))
    y = torch.from_numpy(classes.astype(np.int64))
    w = None if weights is None else torch.from_numpy(weights.astype(np.float32))
    for _, (rows, faces) in zip(range(steps), _batches(pixels, recipe, seed), strict=False):
        of_rows = None if w is None else w[rows]
        loss = recognition_loss(cosines(network(_input(faces)), centres), y[rows], recipe.s, recipe.m, of_rows)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    network.eval()
    return network


def embed(network: SmallNetwork, pixels: np.ndarray) -> np.ndarray:
    """Embeddings at unit length, float32 (N, 128), of faces uint8 (N, side, side, 3): sums with the mirrored face's."""
    with torch.no_grad():
        parts = [
            network(_input(some)) + network(_input(some[:, :, ::-1]))
            for some in (pixels[start : start + _AT_ONCE] for start in range(0, len(pixels), _AT_ONCE))
        ]
    return np.asarray(nn.functional.normalize(torch.cat(parts)).numpy())


def _batches(pixels: np.ndarray, recipe: Recipe, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and their faces, shifted and mirrored at random, without end; each image once before any comes again."""
    random = np.random.default_rng(seed)
    shift, side = recipe.shift, recipe.side
    wide = np.pad(pixels, ((0, 0), (shift, shift), (shift, shift), (0, 0)), "edge")
    size = min(recipe.batch, len(pixels))
    while True:
        order = random.permutation(len(pixels))
        for start in range(0, len(order) - size + 1, size):
            rows = order[start : start + size]
            left, top = random.integers(0, 2 * shift + 1, 2).tolist()
            faces = wide[rows, top : top + side, left : left + side]
            mirrored = random.random(size) < 0.5
            faces[mirrored] = faces[mirrored, :, ::-1]
            yield rows, faces


def _input(faces: np.ndarray) -> Tensor:
    planes = torch.from_numpy(np.ascontiguousarray(faces)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
    return planes.contiguous(memory_format=torch.channels_last)
