"""The training loop: steps, logs, checkpoints, and continuing exactly where a run stopped."""

import copy
import json
import logging
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

from fiqa_core.networks.conv_stem import ConvStem
from fiqa_core.networks.start_weights import start_from
from fiqa_core.runs.differences import as_written, changed, flat, refuse_differences
from fiqa_core.training import checkpoint
from fiqa_core.training.data import Batch, Batches
from fiqa_core.training.errors import TrainingError
from fiqa_core.training.metrics import Metrics, Step
from fiqa_core.training.network import TrainingNetwork, new_network, start_quality_at
from fiqa_core.training.schedule import rate_factor
from fiqa_core.training.settings import TrainingSettings
from fiqa_core.training.sharded_softmax import MarginSoftmax, process, processes, total
from fiqa_core.training.student import Losses, Student, losses_of, move_towards

_log = logging.getLogger(__name__)
_AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Trainer:
    """One process's part of a training run."""

    def __init__(self, settings: TrainingSettings, batches: Batches, device: torch.device) -> None:
        """Draw initial weights from the run's seed.

        Raises:
            TrainingError: a precision that the device does not have.
        """
        self.settings, self.batches, self.device = settings, batches, device
        optimiser = settings.optimiser
        refuse_precision(settings, device)
        self.output, self.step = Path(settings.run.output), 0
        self._saved: tuple[int, Path] | None = None
        self.steps = max(1, round(optimiser.epochs * batches.steps_per_epoch))
        self.warmup = round(optimiser.warmup_epochs * batches.steps_per_epoch)
        torch.manual_seed(settings.run.seed)
        config = settings.network.config()
        # If the share is so small that no patch is masked, a mask token would have no gradient, for which several
        # processes would wait.
        network = new_network(config, round(config.patches * settings.network.mask_ratio) > 0)
        if settings.network.start and isinstance(network.patch_embed, ConvStem):
            start_from(network.patch_embed, settings.network.start)
        if batches.mean_certainty is not None:
            start_quality_at(network, batches.mean_certainty)
        width = network.config.width
        training = TrainingNetwork(
            network, settings.network.mask_ratio, settings.network.drop_path, settings.network.frozen
        )
        self.student = Student(training, batches.teacher_dim).to(device)
        self.softmax: MarginSoftmax | None = None
        if settings.teacher is None or settings.teacher.margin_softmax:
            self.softmax = MarginSoftmax(batches.class_count, width, settings.loss.scale, settings.loss.margin).to(
                device
            )
        self.mean = copy.deepcopy(network).to(device).requires_grad_(False) if optimiser.ema else None
        self.optimisers = [self._adamw(self.student)] + ([self._adamw(self.softmax)] if self.softmax else [])
        self.scaler = _scaler(device, optimiser.precision)
        self.parallel: nn.Module = self.student
        if processes() > 1:
            ids = [device.index] if device.type == "cuda" else None
            self.parallel = nn.parallel.DistributedDataParallel(self.student, device_ids=ids)
        # From here on each process draws its own masks.
        torch.manual_seed((settings.run.seed + 1) * 1_000_003 + process())

    @property
    def result(self) -> nn.Module:
        """The network to keep: the running mean of the weights if there is one."""
        return self.mean if self.mean is not None else self.student.network.network

    def run(self, report: Callable[[str], None] = _log.info) -> bool:
        """Train to the end from the current step; False if a signal asked to stop before that."""
        stop = _StopSignals()
        metrics = Metrics(self.output, self.step) if process() == 0 else None
        began, begun_at, saved = time.monotonic(), self.step, time.monotonic()
        with closing(self.batches), stop:
            while self.step < self.steps:
                epoch, skip = divmod(self.step, self.batches.steps_per_epoch)
                for batch in self.batches.epoch(epoch, skip):
                    found = self.train_step(batch.to(self.device))
                    if metrics and (self.step % self.settings.run.log_steps == 0 or self.step == self.steps):
                        speed = (self.step - begun_at) / (time.monotonic() - began)
                        report(metrics.add(self._done(), found, speed, self.settings.optimiser.batch))
                    asked = bool(total(torch.tensor(float(stop.asked), device=self.device)))
                    late = time.monotonic() - saved > 60 * self.settings.run.checkpoint_minutes
                    if asked or bool(total(torch.tensor(float(late and process() == 0), device=self.device))):
                        self.save()
                        saved = time.monotonic()
                    if asked:
                        return False
                    if self.step == self.steps:
                        break
        self.save()
        return True

    def train_step(self, batch: Batch) -> Losses:
        """One step of the optimisers; returns the losses before it.

        Raises:
            TrainingError: a loss that is not a number.
        """
        settings = self.settings.optimiser
        factor = rate_factor(self.step, self.warmup, self.steps, settings.power)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = settings.lr * factor * group["share"]
            optimiser.zero_grad(set_to_none=True)
        self.parallel.train()
        with self._precision():
            found = losses_of(self.parallel, self.softmax, batch, self.settings.loss, self.settings.teacher)
        if not bool(torch.isfinite(found.total)):
            raise TrainingError(
                f"step {self.step}: the loss is {float(found.total)}; training diverged. Use a smaller optimiser.lr, "
                "more warmup_epochs, or precision bf16 or fp32; checkpoints before this step are kept"
            )
        self.scaler.scale(found.total).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimisers[0])
        nn.utils.clip_grad_norm_([p for p in self.student.parameters() if p.requires_grad], settings.clip)
        for optimiser in self.optimisers:
            self.scaler.step(optimiser)
        self.scaler.update()
        if self.mean is not None:
            # The mean follows faster at the start, or it would stay near the random weights.
            decay = min(settings.ema, (1 + self.step) / (10 + self.step))
            move_towards(self.mean, self.student.network.network, decay)
        self.step += 1
        return found

    def save(self) -> Path:
        """Write a checkpoint (every process calls it), unless this step has one already."""
        if self._saved is not None and self._saved[0] == self.step:
            return self._saved[1]
        shared = {
            "step": self.step,
            "settings": json.dumps(self.settings.that_shape_weights(), sort_keys=True),
            "student": self.student.state_dict(),
            "mean": self.mean.state_dict() if self.mean is not None else None,
            "optimiser": self.optimisers[0].state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        own = {
            "softmax": self.softmax.state_dict() if self.softmax else None,
            "softmax_optimiser": self.optimisers[1].state_dict() if self.softmax else None,
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }
        folder = checkpoint.save(self.output, self.step, shared, own, self.settings.run.keep)
        self._saved = self.step, folder
        return folder

    def resume(self, folder: Path) -> None:
        """Continue from a checkpoint.

        Raises:
            OutputError: it belongs to a run of other settings (each named). TrainingError: it cannot be read.
        """
        shared, own = checkpoint.load(folder)
        then, now = json.loads(shared["settings"]), as_written(self.settings.that_shape_weights())
        refuse_differences(str(self.output), changed(flat(then), flat(now)))
        self.student.load_state_dict(shared["student"])
        if self.mean is not None:
            self.mean.load_state_dict(shared["mean"])
        self.optimisers[0].load_state_dict(shared["optimiser"])
        self.scaler.load_state_dict(shared["scaler"])
        if self.softmax:
            self.softmax.load_state_dict(own["softmax"])
            self.optimisers[1].load_state_dict(own["softmax_optimiser"])
        torch.set_rng_state(own["random"])
        if own["random_cuda"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(own["random_cuda"], self.device)
        self.step = int(shared["step"])
        self._saved = self.step, folder

    def _done(self) -> Step:
        """The step that was just done."""
        epoch = self.step / self.batches.steps_per_epoch
        return Step(self.step, self.steps, epoch, float(self.optimisers[0].param_groups[0]["lr"]))

    def _adamw(self, module: nn.Module) -> torch.optim.Optimizer:
        settings = self.settings.optimiser
        stem: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                (stem if ".patch_embed.stem." in f".{name}" else others).append(parameter)
        groups: list[dict[str, Any]] = [{"params": others, "share": 1.0}]
        groups += [{"params": stem, "share": settings.stem_lr}] if stem else []
        return torch.optim.AdamW(groups, lr=settings.lr, weight_decay=settings.weight_decay)

    def _precision(self) -> AbstractContextManager[Any]:
        dtype = _AUTOCAST[self.settings.optimiser.precision]
        return nullcontext() if dtype is None else torch.autocast(self.device.type, dtype=dtype)


def refuse_precision(settings: TrainingSettings, device: torch.device) -> None:
    """Raises TrainingError for a precision that the device does not train in."""
    if settings.optimiser.precision == "fp16" and device.type != "cuda":
        raise TrainingError("optimiser.precision fp16 trains on a GPU only; use fp32 or bf16 on a CPU")


def _scaler(device: torch.device, precision: str) -> torch.amp.GradScaler:
    """Scaler of the fp16 loss; all processes skip a step together and have one scale, or their networks would
    diverge."""
    if precision == "fp16" and processes() > 1:
        from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler  # slow to import

        return ShardedGradScaler(device.type)
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


class _StopSignals:
    """Notes SIGINT and SIGTERM, so that a run stops between two steps with a checkpoint; a second one ends it."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread: the caller stops it in another way
                return

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        _log.warning("stopping after this step; once more to stop at once")
