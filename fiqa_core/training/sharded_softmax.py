"""The margin softmax with class centres divided among the processes, for more identities than one device holds.

Process r of R keeps the centres of C/R classes. Embeddings are gathered, so every process has the cosines of the whole
batch to its own classes; of the others it needs three numbers a sample (the largest logit, the sum of the exponentials,
the own class's cosine), never their centres. With one process it is `losses.recognition_loss`.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fiqa_core.training.errors import TrainingError
from fiqa_core.training.losses import certainty_ratio, cosines


def processes() -> int:
    """How many processes train together; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_initialized() else 1


def process() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def total(value: Tensor, op: Any = None) -> Tensor:
    """The sum (or another reduction) over the processes of a tensor that carries no gradient."""
    out = value.detach().clone()
    if processes() > 1:
        dist.all_reduce(out, op or dist.ReduceOp.SUM)
    return out


class _Gather(torch.autograd.Function):
    """Rows of all processes, in their order; backwards, each process gets the sum of all gradients of its own rows."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        ctx.rows = own.shape[0]
        parts = [torch.empty_like(own) for _ in range(processes())]
        dist.all_gather(parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        start = process() * ctx.rows
        # Data parallelism averages gradients over the processes; this loss is shared by all of them, so it is summed.
        return total(grads[0])[start : start + ctx.rows] * processes()


class _CrossEntropy(torch.autograd.Function):
    """-log softmax at the own class, (N,), of logits (N, C/R) of which each process has its classes' columns."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, own: Tensor) -> Tensor:
        largest = total(logits.amax(1), dist.ReduceOp.MAX if processes() > 1 else None)
        exponentials = (logits - largest[:, None]).exp()
        denominator = total(exponentials.sum(1))
        target = total(torch.where(own, logits, 0).sum(1))
        ctx.save_for_backward(exponentials / denominator[:, None], own)
        return largest + denominator.log() - target

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        softmax, own = ctx.saved_tensors
        return (softmax - own.to(softmax.dtype)) * grads[0][:, None], None


class MarginSoftmax(nn.Module):
    """CosFace over class centres W, and the certainty ratio that the same cosines give.

    `weight`: this process's centres, float32 (classes of it, D). Classes are divided into equal ranges; the last
    process may have fewer, and needs at least one.
    """

    def __init__(self, classes: int, dim: int, s: float = 64.0, m: float = 0.4) -> None:
        super().__init__()
        share = -(-classes // processes())
        self.first = process() * share
        count = min(share, classes - self.first)
        if count < 1:
            raise TrainingError(f"{classes} classes cannot be cut over {processes()} processes; use fewer processes")
        self.s, self.m = s, m
        self.weight = nn.Parameter(torch.empty(count, dim))
        # Drawn as a whole and then divided, so that the centres do not depend on the number of processes.
        generator = torch.Generator().manual_seed(torch.initial_seed() % 2**63)
        start = torch.randn(classes, dim, generator=generator) * 0.01
        self.weight.data.copy_(start[self.first : self.first + count])

    def forward(self, x: Tensor, y: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """(L_FR of the whole batch, CR (B,) of this process's rows) of its embeddings (B, D), classes, weights (B,)."""
        rows = x.shape[0]
        if processes() > 1:
            x, y, w = _Gather.apply(x), _gathered(y), _gathered(w)  # type: ignore[no-untyped-call]
        with torch.autocast(x.device.type, enabled=False):
            cos = cosines(x.float(), self.weight)
            own = (torch.arange(self.weight.shape[0], device=x.device) + self.first) == y[:, None]
            losses = _CrossEntropy.apply(self.s * (cos - self.m * own.to(cos.dtype)), own)  # type: ignore[no-untyped-call]
            loss: Tensor = (losses * w).sum() / w.sum().clamp(min=1e-9)
            start = process() * rows
            return loss, self._certainty_ratio(cos.detach(), own)[start : start + rows]

    def _certainty_ratio(self, cos: Tensor, own: Tensor) -> Tensor:
        ccs = total(torch.where(own, cos, 0).sum(1))
        nearest = cos.masked_fill(own, -torch.inf).amax(1).clamp(min=-1)
        return certainty_ratio(ccs, total(nearest, dist.ReduceOp.MAX if processes() > 1 else None))


def _gathered(own: Tensor) -> Tensor:
    parts = [torch.empty_like(own) for _ in range(processes())]
    dist.all_gather(parts, own.contiguous())
    return torch.cat(parts)
