"""Run the training loop: draw batches, take steps, validate, keep a checkpoint, a log, a plot and the best weights.

A `tasks.task.Task` holds what differs between the networks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..tensor.device import choose_device
from .config import TrainingConfig
from .run import TrainingRun
from .sources import TrainingSources, Warn, read_validation

LOG_EVERY = 50  # iterations
Report = Callable[[float, str], None]
"""Told of the share done, and what to show."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of a training: the number of iterations, the weights file, and the best validation."""

    iterations: int
    weights: Path
    dice: float
    finished: bool


def train(
    config: TrainingConfig, *, init: Path | None = None, minutes: float | None = None, device: str = "auto",
    report: Report = lambda share, text: None, warn: Warn = lambda text: None,
) -> Outcome:  # fmt: skip
    """Train a network, or resume a training that was stopped.

    Args:
        init: weights to start from instead of random ones; a checkpoint in `config.out` takes precedence.
        minutes: stop after so many minutes; the next call resumes from there.
        report, warn: called with the progress, and with a sentence on every file that was left out.

    Raises:
        InputError: nothing is left to learn from, or a checkpoint or weights file cannot be used.
    """
    place = choose_device(device)
    config.out.mkdir(parents=True, exist_ok=True)
    run = TrainingRun.start(config, init, place)
    sources = TrainingSources.read(config, warn)
    validation = read_validation(config, warn)
    begun = saved = time.monotonic()
    first = run.number
    for batch in _draw_batches(sources, run, place):
        if run.finished:
            break
        run.step(*batch)
        now = time.monotonic()
        if run.number % LOG_EVERY == 0 or run.finished:
            seconds_per_step = (now - begun) / (run.number - first)
            line = run.write_log(seconds_per_step * (config.iterations - run.number))
            report(run.number / config.iterations, line)
        if run.number % config.validate_every == 0 or run.finished:
            run.validate(validation)
        now = time.monotonic()
        out_of_time = minutes is not None and now - begun > 60 * minutes
        if out_of_time or run.finished or now - saved > config.seconds_kept:
            run.write_checkpoint()
            saved = time.monotonic()
        if out_of_time or run.finished:  # before more is drawn, or guessed
            break
    run.log.draw()
    return Outcome(run.number, run.weights, run.best, run.finished)


def _draw_batches(sources: TrainingSources, run: TrainingRun, device: torch.device) -> Iterator[tuple[Tensor, ...]]:
    """Draw endless batches on the device, from `run.number` on.

    The network's predictions for unlabelled scans are renewed after each validation.
    """
    while True:
        drawn, shares = sources.guess(run.average.eval())
        dataset = run.task.dataset(drawn, shares, run.number)
        for batch in DataLoader(dataset, batch_size=None, num_workers=_worker_processes()):
            yield tuple(tensor.to(device) for tensor in batch)
            if sources.unlabelled and run.number % run.config.validate_every == 0:
                break


def _worker_processes() -> int:
    """Return how many processes draw scans: one for each core but the one that trains."""
    return max(1, (os.cpu_count() or 2) - 1)
