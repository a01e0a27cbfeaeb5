"""Hold the network that learns, its running average, optimiser and files; take steps and validate (`TrainingRun`)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import __version__
from ..networks import registry
from ..tensor.convert import own_random_numbers
from .checkpoint import read_state, write_state
from .config import TrainingConfig
from .log import TrainingLog
from .scans import AnnotatedScan
from .tasks.network import NetworkTask
from .tasks.pdd import PDDTask
from .tasks.plane import PlaneTask
from .tasks.semantic import SemanticTask
from .tasks.task import Task
from .tasks.velocity import VelocityTask

NETWORK_TASKS: dict[str, Callable[[TrainingConfig], Task[Any]]] = {
    **dict.fromkeys(registry.NETWORKS, NetworkTask),
    "svf-net": VelocityTask,
    "semantic": SemanticTask,
    "plane": PlaneTask,
    "pdd": PDDTask,
}

LEAST_BODY_VOXELS = 3000  # a view with less body teaches nothing
WARM_UP_STEPS = 100  # until the full learning rate: the optimiser's moments are unreliable before
DECAY_POWER = 0.9  # of the polynomial decay of the learning rate to zero (Chen et al. 2018, DeepLab, section 4.1)
LARGEST_GRADIENT_NORM = 1.0  # a few hard views would undo many steps
AVERAGE_DECAY = 0.998  # of the running average of the weights, which is what validation and registration use
AVERAGE_WARM_UP = 20  # steps: the average follows faster at first, or it would keep random weights long


@dataclass
class TrainingRun:
    """State of a training and its files.

    Attributes:
        net: the network that learns.
        average: the running average of its weights, which is validated and saved.
        number: batches drawn so far, also those without a loss.
        best: Dice of the best validation; nan before the first.
        loss_sum, dice_sum, count: sums over the steps since the last row of the log, and their number.
    """

    config: TrainingConfig
    task: Task[Any]
    net: nn.Module
    average: nn.Module
    adam: torch.optim.AdamW
    number: int = 0
    best: float = float("nan")
    loss_sum: float = 0.0
    dice_sum: float = 0.0
    count: int = 0

    @classmethod
    def start(cls, config: TrainingConfig, init: Path | None, device: torch.device) -> TrainingRun:
        """Start from the checkpoint in the folder, else from the weights `init`, else from random weights."""
        task = NETWORK_TASKS[config.network](config)
        with own_random_numbers(config.seed):
            net, average = (task.network().to(device) for _ in range(2))
        if init is not None:
            net.load_state_dict(task.load(init).state_dict())
        average.load_state_dict(net.state_dict())
        groups = [{**group, "factor": group["lr"]} for group in task.parameter_groups(net)]
        run = cls(config, task, net, average, torch.optim.AdamW(groups))
        if run.checkpoint.exists():
            numbers = read_state(run.checkpoint, net, average, run.adam)
            run.number = int(numbers["number"])
            run.best = numbers["best"]
        run.log.drop_after(run.number)
        return run

    @property
    def checkpoint(self) -> Path:
        """Return the path of the checkpoint, from which a stopped training resumes."""
        return self.config.out / "checkpoint.npz"

    @property
    def weights(self) -> Path:
        """Return the path of the best weights."""
        return self.config.out / "best.npz"

    @property
    def log(self) -> TrainingLog:
        """Return the training's log.csv."""
        return TrainingLog(self.config.out)

    @property
    def finished(self) -> bool:
        """Return whether all iterations are done."""
        return self.number >= self.config.iterations

    def learning_rate(self) -> float:
        """Return the learning rate of the next step: a linear warm-up, then polynomial decay."""
        done = self.number / self.config.iterations
        warm_up = min(1.0, (self.number + 1) / WARM_UP_STEPS)
        return self.config.learning_rate * warm_up * (1 - done) ** DECAY_POWER

    def step(self, *batch: Tensor) -> None:
        """Take one optimiser step on a batch of the task's data set."""
        rate = self.learning_rate()
        self.number += 1
        if least_known_voxels(*batch[:2]) < LEAST_BODY_VOXELS:
            return
        for group in self.adam.param_groups:
            group["lr"] = rate * group["factor"]
        device = batch[0].device
        half = self.task.half and _has_bfloat16(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            result = self.task.loss(self.net, *batch)
        if result is None:
            return
        loss, dice = result
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), LARGEST_GRADIENT_NORM)
        if not bool(norm.isfinite()):  # half precision can overflow: one such step would undo all before it
            return
        self.adam.step()
        self._update_average()
        self.loss_sum += float(loss.detach())
        self.dice_sum += dice
        self.count += 1

    def _update_average(self) -> None:
        """Move the running average towards the weights; the layers' integer buffers are copied."""
        keep = min(AVERAGE_DECAY, self.number / (self.number + AVERAGE_WARM_UP))
        means, values = self.average.state_dict(), self.net.state_dict()
        for name, mean in means.items():
            if mean.is_floating_point():
                mean.lerp_(values[name], 1 - keep)
            else:
                mean.copy_(values[name])

    def write_log(self, seconds_left: float) -> str:
        """Write a row of the log with the means since the last one; return the line to show."""
        loss, dice = (total / self.count if self.count else float("nan") for total in (self.loss_sum, self.dice_sum))
        self.loss_sum, self.dice_sum, self.count = 0.0, 0.0, 0
        self.log.add(self.number, loss=loss, dice=dice)
        best = "-" if math.isnan(self.best) else f"{self.best:.3f}"
        return f"{self.number}: loss {loss:.3f}, best validation {best}, {seconds_left / 60:.0f} min left"

    def validate(self, scans: list[AnnotatedScan]) -> None:
        """Measure the averaged network on labelled scans and keep it if it is the best; without any, keep the last."""
        scores = self.task.dice_scores(self.average.eval(), scans)
        mean = sum(scores) / len(scores) if scores else float("nan")
        self.log.add(self.number, validation=mean)
        if scores and mean <= self.best:
            return
        self.best = mean
        self.task.save(self.average, self.weights, self._metadata())

    def _metadata(self) -> dict[str, Any]:
        """Return the metadata of the training for the weights file."""
        settings = {key: _as_text(value) for key, value in vars(self.config).items() if key not in ("out", "data")}
        training = {"version": __version__, "iterations": self.number, "settings": settings}
        return {"data": self.config.data, "training": training, "validation_dice": self.best}

    def write_checkpoint(self) -> None:
        """Write everything that a later call needs to resume."""
        write_state(self.checkpoint, self.net, self.average, self.adam, number=self.number, best=self.best)


def least_known_voxels(values: Tensor, structures: Tensor) -> int:
    """Count the body voxels with a known structure, in the scan of a batch that has the fewest.

    values (..., 3, D, H, W), structures (..., D, H, W), -1 where unknown.
    """
    body = values.select(-4, 1) > 0.5
    known = body & (structures >= 0)
    return int(known.flatten(-3).sum(-1).min())


def _as_text(value: object) -> str:
    """Format a setting for the weights' metadata: of a path only its last part, because weights are given to others."""
    if isinstance(value, tuple):
        return ", ".join(map(_as_text, value))
    if dataclasses.is_dataclass(value):
        return "; ".join(f"{name} {_as_text(part)}" for name, part in vars(value).items())
    return value.name if isinstance(value, Path) else str(value)


def _has_bfloat16(device: torch.device) -> bool:
    """Return whether the device has bfloat16: several times faster in training; registration stays in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return supported is not None and bool(supported())
