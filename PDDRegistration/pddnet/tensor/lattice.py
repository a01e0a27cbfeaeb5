"""Tensors on grids that share their axes: interpolation between them, warping, vectors in mm along the array axes.

Every lattice of one run is a `Grid` with the directions of the fixed scan's canonical axes, so that going from one to
another is a shift and a scale per axis. Displacements are (3, D, H, W) tensors in mm, components along the array axes
(D, H, W), that is along k, j, i.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from ..core.grid import Grid
from .convert import to_array, to_tensor

HALF = 0.499  # share of a voxel, from which on it counts: a voxel half in view must not depend on rounding
LEAST_SHARE_IN_VIEW = 0.05  # averages within a view are divided by at least this: below it a voxel hardly counts
LEAST_SHARED = 1 << 12  # points: fewer are sampled sooner by one thread


def spatial_shape(x: Tensor) -> tuple[int, int, int]:
    """(..., D, H, W) -> (D, H, W), as `Grid` takes it."""
    d, h, w = x.shape[-3:]
    return d, h, w


def positions(points: Grid, lattice: Grid, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    """The nodes of `points` along D, H, W, in voxel indices of `lattice` (both along the same axes)."""
    start = lattice.point_to_index(points.origin)
    scale = points.spacing / lattice.spacing
    d, h, w = (to_tensor(start[axis] + np.arange(points.size[axis]) * scale[axis], device) for axis in (2, 1, 0))
    return d, h, w


def linear_weights(points: Tensor, size: int, *, zeros: bool = False) -> Tensor:
    """(n, size) linear interpolation of `size` values at points (n), in their indices; border value or zero outside."""
    at = points if zeros else points.clamp(0, size - 1)
    return (1 - (at[:, None] - torch.arange(size, device=points.device)).abs()).clamp(min=0)


def interpolate(x: Tensor, where: tuple[Tensor, ...], *, zeros: bool = False) -> Tensor:
    """(C, D, H, W) sampled linearly at the tensor product of three index vectors; border value (or zero) outside."""
    weights = [linear_weights(at, n, zeros=zeros).to(x.dtype) for at, n in zip(where, x.shape[1:], strict=True)]
    return along_axes(x, weights)


def along_axes(x: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """(C, D, H, W) times a matrix along each axis, (new size, size): one pass over memory per axis."""
    x = matrices[1] @ (x @ matrices[2].T)
    return (matrices[0] @ x.flatten(2)).unflatten(2, x.shape[2:])


def averages(n: int, radius: int, like: Tensor) -> Tensor:
    """(n, n) moving averages of 2 radius + 1 of n values, the first and the last repeated beyond the ends."""
    node, matrix = torch.arange(n, device=like.device), like.new_zeros(n, n)
    for offset in range(-radius, radius + 1):
        matrix[node, (node + offset).clamp(0, n - 1)] += 1 / (2 * radius + 1)
    return matrix


def resample(x: Tensor, source: Grid, target: Grid) -> Tensor:
    """(C, D, H, W) on `source`, sampled linearly at the nodes of `target`."""
    return interpolate(x, positions(target, source, x.device))


def mesh(lattice: Grid, device: torch.device | str = "cpu") -> Tensor:
    """(3, D, H, W) positions of the nodes in mm along D, H, W, from the lattice's first node."""
    spacing = lattice.spacing[::-1]
    steps = [torch.arange(n, device=device) * float(mm) for n, mm in zip(lattice.shape, spacing, strict=True)]
    return torch.stack(torch.meshgrid(*steps, indexing="ij"))


def sample(x: Tensor, index: Tensor, *, zeros: bool = False) -> Tensor:
    """(C, D, H, W) sampled linearly at indices (3, ...) in the order D, H, W; border value (or zero) outside."""
    shape = index.shape[1:]
    size = torch.tensor(x.shape[1:], device=x.device, dtype=x.dtype).view(3, *[1] * len(shape))
    unit = (2 * index + 1) / size - 1  # grid_sample's coordinates with align_corners=False
    unit, count = unit.flip(0).flatten(1), unit[0].numel()
    # grid_sample's threads share a batch but not one volume: as many batches as threads, each a part of the points
    parts = torch.get_num_threads() if x.device.type == "cpu" and count >= LEAST_SHARED else 1
    unit = functional.pad(unit, (0, -count % parts)).T.reshape(parts, 1, 1, -1, 3)
    padding, batch = "zeros" if zeros else "border", x.expand(parts, *x.shape)
    out = functional.grid_sample(batch, unit, mode="bilinear", padding_mode=padding, align_corners=False)
    return out.transpose(0, 1).flatten(1)[:, :count].reshape(len(x), *shape).contiguous()


def warped(x: Tensor, displacement: Tensor, lattice: Grid) -> Tensor:
    """(C, D, H, W) warped by a displacement: sampled at x + u(x); u (3, D, H, W) in mm, both on `lattice`."""
    spacing = to_tensor(lattice.spacing[::-1], displacement.device).view(3, 1, 1, 1)
    return sample(x, (mesh(lattice, displacement.device) + displacement) / spacing)


def compose(outer: Tensor, inner: Tensor, lattice: Grid) -> Tensor:
    """Displacement of x -> outer(inner(x)), both (3, D, H, W) in mm on `lattice`."""
    return inner + warped(outer, inner, lattice)


def to_lps(displacement: Tensor, lattice: Grid) -> np.ndarray:
    """(3, D, H, W) along the array axes to (D, H, W, 3) LPS mm."""
    return np.moveaxis(to_array(displacement), 0, -1)[..., ::-1] @ lattice.direction.T.astype(np.float32)


def from_lps(displacement: np.ndarray, lattice: Grid, device: torch.device | str = "cpu") -> Tensor:
    """(D, H, W, 3) LPS mm to (3, D, H, W) along the array axes."""
    along = np.einsum("...j,ji->...i", displacement, lattice.direction)[..., ::-1]
    return to_tensor(np.moveaxis(along, -1, 0), device)
