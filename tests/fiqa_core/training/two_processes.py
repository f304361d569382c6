"""Run under torchrun by test_sharded_softmax: writes each process's loss, certainty ratios and gradients.

Given a configuration too, it trains by the command as well: whole into `whole`, and from its third step into `cut`.
"""

import shutil
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from fiqa_core.training.sharded_softmax import MarginSoftmax, process, processes


def case():
    """Embeddings (8, 6), classes and weights of a batch, and centres (7, 6); the same in every process."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(8, 6, generator=generator)
    return x, torch.tensor([0, 1, 2, 3, 4, 5, 6, 3]), torch.linspace(0.1, 1, 8), torch.randn(7, 6, generator=generator)


def step(x, y, w, centres):
    """Loss, certainty ratio, and gradients of the embeddings and of this process's centres."""
    softmax = MarginSoftmax(7, 6)
    softmax.weight.data.copy_(centres[softmax.first : softmax.first + len(softmax.weight)])
    x = x.clone().requires_grad_()
    loss, certainty = softmax(x, y, w)
    loss.backward()
    return {"loss": loss.detach(), "certainty": certainty, "x": x.grad, "centres": softmax.weight.grad}


def share_results(folder):
    """This process's part of the sharded softmax."""
    x, y, w, centres = case()
    mine = slice(process() * 4, process() * 4 + 4)
    found = step(x[mine], y[mine], w[mine], centres)
    found["x"] = found["x"] / processes()  # data parallelism takes the mean over the processes
    torch.save(found, folder / f"{process()}.pt")


def train(config, output, *more):
    """The command, in this process."""
    from pipelines import train_fiqa

    assert train_fiqa.run(["--config", config, "--output", str(output), *more]) == 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    results = Path(sys.argv[1])
    train(sys.argv[2], results / "whole")
    dist.init_process_group("gloo")
    share_results(results)
    if process() == 0:
        third = "checkpoints/step-00000003"
        shutil.copytree(results / "whole" / third, results / "cut" / third)
    dist.barrier()
    dist.destroy_process_group()
    train(sys.argv[2], results / "cut", "--resume")
