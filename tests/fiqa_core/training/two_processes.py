"""Run under torchrun by test_sharded_softmax: writes each process's loss, certainty ratios and gradients.

It trains by the command too: a whole run into `whole`, and one that goes on from its third step into `cut`, there with
worker processes for the images.
"""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

from fiqa_core.training import feed
from fiqa_core.training.sharded_softmax import MarginSoftmax, process, processes
from pipelines import train_fiqa
from pipelines.jobs import train_job


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


def note_started_processes(folder):
    """From here on, the ids of the worker processes of this process's images go into a file."""
    start = feed._start

    def noted(*given):
        worker = start(*given)
        with (folder / f"workers-{process()}.txt").open("a") as stream:
            stream.write(f"{worker.process.pid}\n")
        return worker

    feed._start = noted


def train_twice(results, config):
    """The command; between its whole run and one that goes on from the third step, the sharded softmax."""
    once = train_job._run

    def twice(settings, device, resume, overwrite):
        assert once(settings, device, resume, overwrite) == 0
        share_results(results)
        if process() == 0:
            third = "checkpoints/step-00000003"
            shutil.copytree(results / "whole" / third, results / "cut" / third)
            shutil.copy(results / "whole" / "settings.json", results / "cut")
        dist.barrier()
        note_started_processes(results)
        cut = replace(settings, run=replace(settings.run, output=str(results / "cut")))
        return once(replace(cut, data=replace(cut.data, workers=1)), device, resume=True, overwrite=False)

    train_job._run = twice  # a process meets the others once
    return train_fiqa.run(["--config", config, "--output", str(results / "whole")])


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(train_twice(Path(sys.argv[1]), sys.argv[2]))
