"""Run one form of the operations, for section a of the benchmark, which compares both forms.

Usage: PYTHONPATH=Testing python -m benchmarks.operations_run library|published FOLDER

Prints the seconds of every step and the peak memory in bytes as JSON; writes the results to FOLDER.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

import pddnet
from benchmarks.console import progress
from helpers import reference
from pddnet.matching.cost_volume import cost_volume
from pddnet.matching.inference import DisplacementDistribution, regularise
from pddnet.tensor.lattice import interpolate

VOLUME, CONTROL = (78, 56, 95), (32, 32, 32)  # (D, H, W): voxels, control points
CHANNELS, DISPLACEMENTS = 16, 15  # DISPLACEMENTS: per axis
CAPTURE_RANGE = 0.4  # of half the volume, along each axis
SHIFT = (4.3, -3.1, 6.7)  # voxels, of the moving features
WEIGHTS, INVERSE_TEMPERATURE = (0.5, 1.5), 30.0  # WEIGHTS: of the two passes of the inference
Axes = tuple[Tensor, Tensor, Tensor]  # along D, H, W
Result = TypeVar("Result")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("form", choices=FORMS)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    clock: dict[str, float] = {}
    with torch.no_grad():
        FORMS[args.form](*_inputs(), _Lap(clock), args.folder)
    print(json.dumps({**clock, "version": pddnet.__version__}))


def _inputs() -> tuple[Tensor, Tensor, Axes, Axes]:
    """Return fixed and moving features (C, ...), control points and displacements per axis, in voxels.

    The moving features are smooth and random; the fixed ones are theirs, shifted, with noise.
    """
    generator = torch.Generator().manual_seed(7)
    coarse = torch.randn(1, CHANNELS, 13, 10, 16, generator=generator)
    moving = torch.nn.functional.interpolate(coarse, VOLUME, mode="trilinear")[0].contiguous()
    points = _axes((torch.arange(n) + 0.5) * (size / n) - 0.5 for n, size in zip(CONTROL, VOLUME, strict=True))
    offsets = _axes(torch.linspace(-CAPTURE_RANGE, CAPTURE_RANGE, DISPLACEMENTS) * (size / 2) for size in VOLUME)
    fixed = interpolate(moving, _axes(p + shift for p, shift in zip(points, SHIFT, strict=True)))
    return fixed + 0.1 * torch.randn(fixed.shape, generator=generator), moving, points, offsets


def _axes(values: Iterable[Tensor]) -> Axes:
    d, h, w = values
    return d, h, w


class _Lap:
    """Notes the seconds of each step and the peak memory; work between the steps is not counted."""

    def __init__(self, clock: dict[str, float]) -> None:
        self.clock = clock

    def __call__(self, step: str, work: Callable[[], Result]) -> Result:
        start = time.perf_counter()
        result = work()
        self.clock[step] = time.perf_counter() - start
        self.clock["peak"] = _peak()
        return result


def _library(fixed: Tensor, moving: Tensor, points: Axes, offsets: Axes, lap: _Lap, folder: Path) -> None:
    cost = lap("correlation", lambda: cost_volume(fixed, moving, points, offsets))
    np.save(folder / "costs.npy", cost.numpy())
    cost = lap("inference", lambda: regularise(cost.mul_(INVERSE_TEMPERATURE), WEIGHTS))
    np.save(folder / "regularised.npy", cost.numpy())
    mean, _ = lap("expectation", DisplacementDistribution(cost, offsets).moments)  # the spread comes along
    np.save(folder / "mean.npy", mean.numpy())


def _published(fixed: Tensor, moving: Tensor, points: Axes, offsets: Axes, lap: _Lap, folder: Path) -> None:
    cost = lap("correlation", lambda: reference.cost_volume(fixed, moving, points, offsets, _progress()))
    _save(cost, folder / "costs.npy")
    progress("published min-convolutions and mean fields")
    cost = lap("inference", lambda: reference.regularise(cost.mul_(INVERSE_TEMPERATURE), CONTROL, WEIGHTS))
    _save(cost, folder / "regularised.npy")
    mean = lap("expectation", lambda: reference.expectation(cost, offsets))
    np.save(folder / "mean.npy", mean.T.reshape(3, *CONTROL).numpy())


def _save(cost: Tensor, path: Path) -> None:
    """Write costs in the library's layout through a map of the file: no second copy in memory."""
    values = reference.as_library(cost, CONTROL).numpy()
    file = np.lib.format.open_memmap(path, "w+", values.dtype, values.shape)
    for place, row in zip(file, values, strict=True):
        place[...] = row


def _progress() -> Callable[[float], None]:
    """Return a callback that reports every fifth of the work."""
    reported = 0

    def report(fraction: float) -> None:
        nonlocal reported
        if int(5 * fraction) > reported:
            reported = int(5 * fraction)
            progress(f"published correlation {100 * fraction:.0f} %")

    return report


def _peak() -> float:
    """Return the most bytes that this process has held so far; 0 where the system does not tell: `run` samples, too."""
    try:
        import resource
    except ImportError:
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


FORMS = {"library": _library, "published": _published}

if __name__ == "__main__":
    main()
