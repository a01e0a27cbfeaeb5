"""The operations as published: grid_sample at every displaced control point, 3-D pooling. Slow; the judge of the tests.

Paper 2019, section 2, and its public code: cost = mean squared feature difference; min-convolution = replicate-pad 3,
min-pool 3, average-pool 3 twice over the displacements; mean field = replicate-pad 2, average-pool 3 twice over the
control points; softmax and expectation. Here costs are (K, LD, LH, LW), K = nD * nH * nW control points in that order.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as functional
from torch import Tensor

Axes = tuple[Tensor, Tensor, Tensor]


def cost_volume(
    fixed: Tensor, moving: Tensor, points: Axes, offsets: Axes, progress: Callable[[float], None] | None = None
) -> Tensor:
    """(K, LD, LH, LW), a row of control points at a time; arguments as of `pddnet.matching.cost_volume.correlate`."""
    channels = fixed.shape[0]
    shape = [len(o) for o in offsets]
    where = _mesh(points)
    shifts = _mesh(offsets)
    size = where.new_tensor(moving.shape[1:])
    row = len(points[2])
    query = fixed.reshape(channels, -1, 1)
    rows = []
    for start in range(0, len(where), row):
        index = where[start : start + row, None] + shifts[None]
        unit = ((2 * index + 1) / size - 1).flip(-1)  # x first; align_corners=False
        sampled = functional.grid_sample(moving[None], unit[None, None], padding_mode="border", align_corners=False)
        difference = sampled[0, :, 0] - query[:, start : start + row]  # (C, row, L)
        rows.append(difference.square().mean(0))
        if progress:
            progress(start / len(where))
    return torch.cat(rows).view(-1, *shape)


def min_convolution(cost: Tensor) -> Tensor:
    """(K, LD, LH, LW), over the displacements."""
    padded = functional.pad(cost[None], (3,) * 6, mode="replicate")
    smallest = -functional.max_pool3d(-padded, 3, stride=1)
    return _average_twice(smallest)[0]


def mean_field(cost: Tensor, control: tuple[int, int, int]) -> Tensor:
    """(K, LD, LH, LW), over the control points (nD, nH, nW) = `control`."""
    volumes = cost.flatten(1).T.reshape(1, -1, *control)
    padded = functional.pad(volumes, (2,) * 6, mode="replicate")
    return _average_twice(padded)[0].flatten(1).T.reshape(cost.shape)


def regularise(cost: Tensor, control: tuple[int, int, int], weights: tuple[float, float]) -> Tensor:
    """Min-convolution, mean field; weights[0] * cost + weights[1] * that; min-convolution, mean field."""
    average = mean_field(min_convolution(cost), control)
    return mean_field(min_convolution(weights[0] * cost + weights[1] * average), control)


def expectation(cost: Tensor, offsets: Axes) -> Tensor:
    """(K, 3): the mean displacement under softmax(-cost)."""
    return torch.softmax(-cost.flatten(1), 1) @ _mesh(offsets)


def moments(cost: Tensor, offsets: Axes) -> tuple[Tensor, Tensor]:
    """Expectation (K, 3) and standard deviation (K) of the displacement under softmax(-cost)."""
    mean = expectation(cost, offsets)
    distance = (_mesh(offsets)[None] - mean[:, None]).square().sum(2)
    return mean, (distance * torch.softmax(-cost.flatten(1), 1)).sum(1).sqrt()


def as_library(cost: Tensor, control: tuple[int, int, int]) -> Tensor:
    """(K, LD, LH, LW) in the library's layout (nH, nW, LD, LH, LW, nD)."""
    return cost.view(*control, *cost.shape[1:]).permute(1, 2, 3, 4, 5, 0)


def from_library(cost: Tensor) -> Tensor:
    """The library's (nH, nW, LD, LH, LW, nD) as (K, LD, LH, LW)."""
    return cost.permute(5, 0, 1, 2, 3, 4).reshape(-1, *cost.shape[2:5])


def _mesh(axes: Axes) -> Tensor:
    """(N, 3): every combination, the last axis fastest."""
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)


def _average_twice(x: Tensor) -> Tensor:
    return functional.avg_pool3d(functional.avg_pool3d(x, 3, stride=1), 3, stride=1)
