"""One form of the operations in a process of its own: `operations_run.py library|published FOLDER`.

Prints the seconds of every step and the peak memory as JSON; writes the results to FOLDER for the comparison.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import pddnet
from benchmarks.console import progress
from pddnet.matching.correlation import correlate
from pddnet.matching.inference import DisplacementDistribution, regularise
from pddnet.tensor.lattice import interpolate

from helpers import reference  # isort: skip

VOLUME, CONTROL, CHANNELS, STEPS, RANGE = (78, 56, 95), (32, 32, 32), 16, 15, 0.4
WEIGHTS, INVERSE_TEMPERATURE = (0.5, 1.5), 30.0
Axes = tuple[Tensor, ...]


def main() -> None:
    form, folder = sys.argv[1], Path(sys.argv[2])
    clock: dict[str, float] = {}
    with torch.no_grad():
        {"library": _library, "published": _published}[form](*_inputs(), _Lap(clock), folder)
    print(json.dumps({**clock, "version": pddnet.__version__}))


def _inputs() -> tuple[Tensor, Tensor, Axes, Axes]:
    """Smooth random features, seen by the fixed scan somewhere else and with noise."""
    generator = torch.Generator().manual_seed(7)
    coarse = torch.randn(1, CHANNELS, 13, 10, 16, generator=generator)
    moving = torch.nn.functional.interpolate(coarse, VOLUME, mode="trilinear")[0].contiguous()
    points = tuple((torch.arange(n) + 0.5) * (size / n) - 0.5 for n, size in zip(CONTROL, VOLUME, strict=True))
    offsets = tuple(torch.linspace(-RANGE, RANGE, STEPS) * (size / 2) for size in VOLUME)
    shifts = (4.3, -3.1, 6.7)
    fixed = interpolate(moving, tuple(p + shift for p, shift in zip(points, shifts, strict=True)))
    return fixed + 0.1 * torch.randn(fixed.shape, generator=generator), moving, points, offsets


class _Lap:
    """Seconds per step; what is done between the laps is not counted."""

    def __init__(self, clock: dict[str, float]) -> None:
        self.clock = clock

    def __call__(self, step: str, work: Callable[[], object]) -> object:
        start = time.perf_counter()
        result = work()
        self.clock[step] = time.perf_counter() - start
        self.clock["peak"] = _peak()
        return result


def _library(fixed: Tensor, moving: Tensor, points: Axes, offsets: Axes, lap: _Lap, folder: Path) -> None:
    cost = lap("correlation", lambda: correlate(fixed, moving, points, offsets))
    np.save(folder / "costs.npy", cost.numpy())
    cost = lap("inference", lambda: regularise(cost.mul_(INVERSE_TEMPERATURE), WEIGHTS))
    np.save(folder / "regularised.npy", cost.numpy())
    mean, _ = lap("expectation", DisplacementDistribution(cost, offsets).moments)  # the spread comes along
    np.save(folder / "mean.npy", mean.numpy())


def _published(fixed: Tensor, moving: Tensor, points: Axes, offsets: Axes, lap: _Lap, folder: Path) -> None:
    cost = lap("correlation", lambda: reference.correlate(fixed, moving, points, offsets, _progress()))
    _save(cost, folder / "costs.npy")
    progress("published min-convolutions and mean fields")
    cost = lap("inference", lambda: reference.regularise(cost.mul_(INVERSE_TEMPERATURE), CONTROL, WEIGHTS))
    _save(cost, folder / "regularised.npy")
    mean = lap("expectation", lambda: reference.expectation(cost, offsets))
    np.save(folder / "mean.npy", mean.T.reshape(3, *CONTROL).numpy())


def _save(cost: Tensor, path: Path) -> None:
    """In the library's layout, written through a map of the file: no second copy in memory."""
    cost = reference.as_library(cost, CONTROL).numpy()
    file = np.lib.format.open_memmap(path, "w+", cost.dtype, cost.shape)
    for place, row in zip(file, cost, strict=True):
        place[...] = row


def _progress() -> Callable[[float], None]:
    """Tells every fifth of the way."""
    told = [0]

    def tell(fraction: float) -> None:
        if int(5 * fraction) > told[0]:
            told[0] = int(5 * fraction)
            progress(f"published correlation {100 * fraction:.0f} %")

    return tell


def _peak() -> float:
    """Bytes: the most that this process has held so far; 0 where the system does not tell (it is sampled as well)."""
    try:
        import resource
    except ImportError:
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


if __name__ == "__main__":
    main()
