"""The training loop: draws scans, takes steps, keeps a checkpoint, a log, a plot and the best weights.

What differs from network to network is a `Task`.
"""

from __future__ import annotations

import csv
import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .. import __version__
from ..errors import InputError
from ..io.volumes import read_labels, read_volume
from ..phantom import phantom as cohort
from ..synthesis.anatomy import Anatomy, read_anatomy
from ..synthesis.patient import Source
from ..tensor.convert import own_random_numbers
from ..tensor.device import choose_device
from ..tensor.scan import Scan
from .checkpoint import read_state, write_state
from .config import LabelledScan, TrainingConfig, labelled_scans
from .datasets import SampleSource
from .plot import course
from .scans import ScanSource, prepared, unlabelled
from .tasks.pdd import PDDTask
from .tasks.semantic import SemanticTask
from .tasks.task import LabelledScans, Task

VIRTUAL_SEED, VIRTUAL_SPACING = 500, 3.0  # first seed, and mm of the label maps of virtual patients
LEAST_BODY = 3000  # voxels; a view with less teaches nothing
WARM_UP = 100  # steps until the full learning rate
AVERAGED = 0.998  # of the running average of the weights, which is what validation and registration use
LOG_EVERY = 50
TASKS: dict[str, Callable[[TrainingConfig], Task]] = {"semantic": SemanticTask, "pdd": PDDTask}
Report = Callable[[float, str], None]  # the share done, and what to show


@dataclass(frozen=True)
class Outcome:
    """How a training ended: after how many iterations, with which weights, and the best validation."""

    iterations: int
    weights: Path
    dice: float
    finished: bool


def train(
    config: TrainingConfig, *, init: Path | None = None, minutes: float | None = None, device: str = "auto",
    report: Report = lambda share, text: None, warn: Callable[[str], None] = lambda text: None,
) -> Outcome:  # fmt: skip
    """Train, or go on with a training that was stopped.

    Args:
        init: weights to start from instead of random ones; a checkpoint in `config.out` goes before them.
        minutes: stop after so many; the next call goes on from there.
        report, warn: told of the progress, and of every file that was left out.

    Raises:
        InputError: nothing is left to learn from, or a checkpoint or weights file cannot be used.
    """
    place = choose_device(device)
    config.out.mkdir(parents=True, exist_ok=True)
    run = _Run.started(config, init, place)
    learned = _Learned.of(config, warn)
    validation = _validation(config, warn)
    begun = saved = time.monotonic()
    first = run.number
    for batch in _moved(learned.drawn(run), place):
        if run.number >= config.iterations:
            break
        run.step(*batch)
        if run.number % LOG_EVERY == 0 or run.number == config.iterations:
            pace = (time.monotonic() - begun) / (run.number - first)
            report(run.number / config.iterations, run.log(pace * (config.iterations - run.number)))
        if run.number % config.validate_every == 0 or run.number == config.iterations:
            run.validate(validation)
        over = minutes is not None and time.monotonic() - begun > 60 * minutes
        if over or time.monotonic() - saved > config.seconds_kept or run.number == config.iterations:
            run.write()
            saved = time.monotonic()
        if over or run.number == config.iterations:  # before more is drawn, or guessed
            break
    run.draw_plot()
    return Outcome(run.number, run.weights, run.best, run.number >= config.iterations)


Batch = tuple[Tensor, ...]


def _moved(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    for batch in batches:
        yield tuple(tensor.to(device) for tensor in batch)


@dataclass(frozen=True)
class _Learned:
    """What can be drawn from, by kind as in KINDS; unlabelled scans become sources when there is a network to guess."""

    config: TrainingConfig
    known: tuple[list[SampleSource], list[SampleSource], list[SampleSource]]
    unlabelled: list[Scan]

    @classmethod
    def of(cls, config: TrainingConfig, warn: Callable[[str], None]) -> _Learned:
        """Whatever is bad is named and left out."""
        scans, problems = unlabelled(config.unlabelled) if config.unlabelled else ([], [])
        for problem in problems:
            warn(problem)
        return cls(config, _sources(config, warn), scans)

    def drawn(self, run: _Run) -> Iterator[Batch]:
        """Endless; what the network guesses is guessed anew whenever it has been validated."""
        while True:
            guessed = [ScanSource.guessed(scan, run.average.eval()) for scan in self.unlabelled]
            sources, shares = _shared((*self.known, [source for source in guessed if source]), self.config.shares)
            drawn = run.task.dataset(sources, shares, run.number)
            for batch in DataLoader(drawn, batch_size=None, num_workers=_drawing()):
                yield batch
                if self.unlabelled and run.number % self.config.validate_every == 0:
                    break


def _drawing() -> int:
    """How many processes draw: all cores but the one that trains."""
    return max(1, (os.cpu_count() or 2) - 1)


def _shared(kinds: Sequence[list[SampleSource]], shares: Sequence[float]) -> tuple[list[SampleSource], list[float]]:
    """All sources, and how often each is drawn."""
    each = [share / len(kind) for share, kind in zip(shares, kinds, strict=True) for _ in kind]
    return [source for kind in kinds for source in kind], each


def _sources(
    config: TrainingConfig, warn: Callable[[str], None]
) -> tuple[list[SampleSource], list[SampleSource], list[SampleSource]]:
    """Anatomies, virtual patients and labelled scans."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        maps, donors = (_readable(pool, paths, warn) for paths in (config.anatomies, config.donors))
        virtual = list(map(Source, pool.map(virtual_anatomy, range(VIRTUAL_SEED, VIRTUAL_SEED + config.virtual))))
    for source in maps + virtual:
        source.others = [other for other in maps + virtual + donors if other is not source]
    scans = [] if config.scans is None else [ScanSource.read(case) for case in _usable(config.scans, warn)]
    drawn = list(maps), list(virtual), list(scans)
    if not any(drawn):
        raise InputError("nothing is left to learn from; correct the files named above")
    if not sum(share for share, kind in zip(config.shares, drawn, strict=False) if kind):
        raise InputError("'shares' are zero for all that is left to learn from; correct them or the files named above")
    return drawn


def _readable(pool: Executor, paths: tuple[Path, ...], warn: Callable[[str], None]) -> list[Source]:
    sources = []
    for found in [pool.submit(read_anatomy, path) for path in paths]:
        try:
            sources.append(Source(found.result()))
        except InputError as error:
            warn(f"{error}; the anatomy is left out")
    return sources


def virtual_anatomy(seed: int) -> Anatomy:
    """The label map of a virtual patient, to synthesise scans from."""
    labels = cohort.virtual_patient(seed, cohort.full_view(seed, VIRTUAL_SPACING)).labels
    return Anatomy.of(f"virtual patient {seed}", labels, cohort.LABELS)


def _usable(folder: Path, warn: Callable[[str], None]) -> list[LabelledScan]:
    """The cases of a folder that can be read."""
    cases, problems = labelled_scans(folder)
    good = []
    for case in cases:
        try:
            image = read_volume(case.image)[0]
            if prepared(image, read_labels(case.labels, image.grid)[0], case)[2]:
                good.append(case)
            else:
                problems.append(f"{case.labels}: none of its labels means a structure of the common table")
        except InputError as error:
            problems.append(str(error))
    for problem in problems:
        warn(problem)
    return good


def _validation(config: TrainingConfig, warn: Callable[[str], None]) -> LabelledScans:
    if config.validation is None:
        return []
    scans = []
    for case in _usable(config.validation, warn):
        image = read_volume(case.image)[0]
        scans.append(prepared(image, read_labels(case.labels, image.grid)[0], case))
    return scans


@dataclass
class _Run:
    """The network, its optimiser and its files."""

    config: TrainingConfig
    task: Task
    net: nn.Module
    average: nn.Module
    adam: torch.optim.AdamW
    number: int = 0  # scans drawn so far
    best: float = float("nan")
    recent: tuple[float, float] = (0.0, 0.0)  # sums of loss and Dice since the last line of the log
    count: int = 0

    @classmethod
    def started(cls, config: TrainingConfig, init: Path | None, device: torch.device) -> _Run:
        """From the checkpoint in the folder, else from `init`, else from random weights."""
        task = TASKS[config.network](config)
        with own_random_numbers(config.seed):
            net, average = (task.network().to(device) for _ in range(2))
        if init is not None:
            net.load_state_dict(task.load(init).state_dict())
        average.load_state_dict(net.state_dict())
        groups = [{**group, "factor": group["lr"]} for group in task.groups(net)]
        run = cls(config, task, net, average, torch.optim.AdamW(groups))
        if run.checkpoint.exists():
            numbers = read_state(run.checkpoint, net, average, run.adam)
            run.number, run.best = int(numbers["number"]), numbers["best"]
        run._forget_later()
        return run

    @property
    def checkpoint(self) -> Path:
        return self.config.out / "checkpoint.npz"

    @property
    def weights(self) -> Path:
        return self.config.out / "best.npz"

    @property
    def log_file(self) -> Path:
        return self.config.out / "log.csv"

    def step(self, *batch: Tensor) -> None:
        """Learn from one batch, as the task draws them."""
        share = self.number / self.config.iterations
        rate = self.config.learning_rate * min(1.0, (self.number + 1) / WARM_UP) * (1 - share) ** 0.9
        self.number += 1
        if _least_known(*batch[:2]) < LEAST_BODY:
            return
        for group in self.adam.param_groups:
            group["lr"] = rate * group["factor"]
        device = batch[0].device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.task.half and _has_bfloat16(device)):
            found = self.task.loss(self.net, *batch)
        if found is None:
            return
        loss, overlap = found
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        if not bool(norm.isfinite()):  # half precision can overflow: one such step would undo all before it
            return
        self.adam.step()
        self._average()
        self.recent = (self.recent[0] + float(loss.detach()), self.recent[1] + overlap)
        self.count += 1

    def _average(self) -> None:
        """The running average follows, what its layers count of their inputs too."""
        keep = min(AVERAGED, self.number / (self.number + 20))
        means, values = self.average.state_dict(), self.net.state_dict()
        for name, mean in means.items():
            if mean.is_floating_point():
                mean.lerp_(values[name], 1 - keep)
            else:
                mean.copy_(values[name])

    def log(self, seconds_left: float) -> str:
        """Write a line of the log; returns what to show."""
        loss, overlap = (value / self.count if self.count else float("nan") for value in self.recent)
        self.recent, self.count = (0.0, 0.0), 0
        self._add_row(loss, overlap, float("nan"))
        return f"{self.number}: loss {loss:.3f}, best validation {self.best:.3f}, {seconds_left / 60:.0f} min left"

    def validate(self, scans: LabelledScans) -> None:
        """Measure the averaged network on labelled scans and keep it if it is the best; without any, keep the last."""
        overlaps = self.task.overlaps(self.average.eval(), scans)
        mean = sum(overlaps) / len(overlaps) if overlaps else float("nan")
        self._add_row(float("nan"), float("nan"), mean)
        if overlaps and mean <= self.best:
            return
        self.best = mean
        settings = {key: _shown(value) for key, value in vars(self.config).items() if key not in ("out", "data")}
        training = {"version": __version__, "iterations": self.number, "settings": settings}
        self.task.save(
            self.average, self.weights, {"data": self.config.data, "training": training, "validation_dice": mean}
        )

    def write(self) -> None:
        """The checkpoint."""
        write_state(self.checkpoint, self.net, self.average, self.adam, number=self.number, best=self.best)

    def draw_plot(self) -> None:
        """log.csv as a picture beside it."""
        curves: dict[str, list[tuple[float, float]]] = {"loss": [], "dice": [], "validation": []}
        for row in self._rows():
            for name, points in curves.items():
                points.append((float(row["iteration"]), float(row[name])))
        (self.config.out / "log.svg").write_text(course(curves, "Training: loss, Dice, Dice on validation scans"))

    def _add_row(self, loss: float, overlap: float, validation: float) -> None:
        new = not self.log_file.exists()
        with self.log_file.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["iteration", "loss", "dice", "validation"])
            writer.writerow([self.number, f"{loss:.4f}", f"{overlap:.4f}", f"{validation:.4f}"])

    def _rows(self) -> list[dict[str, str]]:
        if not self.log_file.exists():
            return []
        with self.log_file.open(newline="") as file:
            return list(csv.DictReader(file))

    def _forget_later(self) -> None:
        """Drop the lines of the log that a kill made untrue: those after the checkpoint, all where there is none."""
        rows = [row for row in self._rows() if int(row["iteration"]) <= self.number]
        with self.log_file.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["iteration", "loss", "dice", "validation"])
            writer.writeheader()
            writer.writerows(rows)


def _least_known(values: Tensor, structures: Tensor) -> int:
    """Voxels of the body of which something is known, in the scan of a batch that has the fewest."""
    known = (values.select(-4, 1) > 0.5) & (structures >= 0)
    return int(known.flatten(-3).sum(-1).min())


def _shown(value: object) -> str:
    """A setting for the weights' metadata: of a path its last part alone, because weights are given to others."""
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value))
    if dataclasses.is_dataclass(value):
        return "; ".join(f"{name} {_shown(part)}" for name, part in vars(value).items())
    return value.name if isinstance(value, Path) else str(value)


def _has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16: several times faster in training; registration stays in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return supported is not None and bool(supported())
