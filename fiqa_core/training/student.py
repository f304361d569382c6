"""What is trained: the network, with a map to the teacher's embedding size if the two differ."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from fiqa_core.training.data import Batch, network_input
from fiqa_core.training.losses import distillation_loss, quality_loss, rank_loss
from fiqa_core.training.network import TrainingNetwork
from fiqa_core.training.settings import LossSettings, TeacherOptions
from fiqa_core.training.sharded_softmax import MarginSoftmax, processes, total


class Losses(NamedTuple):
    """The sum that is minimised, and its parts before their factors (None if a run has no such part)."""

    total: Tensor
    quality: Tensor
    recognition: Tensor | None
    distillation: Tensor | None
    rank: Tensor | None = None


class Student(nn.Module):
    """Faces -> (embedding (B, D), the embedding as the teacher's (B, E) or None, quality (B,))."""

    def __init__(self, network: TrainingNetwork, teacher_dim: int) -> None:
        super().__init__()
        self.network = network
        width = network.network.config.width
        self.to_teacher: nn.Module | None = None
        if teacher_dim:
            self.to_teacher = nn.Identity() if teacher_dim == width else nn.Linear(width, teacher_dim, bias=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """As the class says; float32."""
        embedding, quality = self.network(images)
        return embedding, None if self.to_teacher is None else self.to_teacher(embedding).float(), quality


def losses_of(
    student: nn.Module, softmax: MarginSoftmax | None, batch: Batch, loss: LossSettings, teacher: TeacherOptions | None
) -> Losses:
    """All losses of this process's batch, so that their mean over the processes is that of the whole batch."""
    embedding, as_teacher, quality = student(network_input(batch.images))
    w = batch.weights
    # Processes can have different sums of weights; each one's mean counts by its share of the total.
    share = w.sum() * processes() / total(w.sum()).clamp(min=1e-9)
    recognition = distillation = rank = None
    certainty = batch.certainty
    if softmax is not None:
        recognition, ratio = softmax(embedding, batch.classes, w)
        certainty = ratio if certainty is None else certainty
    if certainty is None:
        raise RuntimeError("neither class centres nor a teacher give a certainty ratio")
    fiq = quality_loss(quality, certainty, loss.beta, w) * share
    sum_of_all: Tensor = loss.alpha * fiq
    if loss.rank and batch.natural is not None:
        rank = rank_loss(quality, certainty, batch.natural)
        sum_of_all = sum_of_all + loss.rank * rank
    if recognition is not None:
        sum_of_all = sum_of_all + recognition
    if teacher is not None and as_teacher is not None and batch.embeddings is not None:
        distillation = distillation_loss(as_teacher, batch.embeddings, teacher.loss, w) * share
        sum_of_all = sum_of_all + teacher.weight * distillation
    return Losses(sum_of_all, fiq, recognition, distillation, rank)


@torch.no_grad()
def move_towards(mean: nn.Module, network: nn.Module, decay: float) -> None:
    """Exponential running mean of the weights; buffers (BatchNorm's statistics) are copied."""
    for kept, new in zip(mean.parameters(), network.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
    for buffer, current in zip(mean.buffers(), network.buffers(), strict=True):
        buffer.copy_(current)
