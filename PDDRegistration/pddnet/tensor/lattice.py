"""Interpolate and warp tensors on grids that share their axes, with vectors in mm along the array axes.

Every lattice of one run is a `Grid` with the directions of the fixed scan's canonical axes, so that converting indices
of one to another is a shift and a scale per axis. Displacements are (3, D, H, W) tensors in mm, components along the
array axes (D, H, W), that is along k, j, i.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from ..core.grid import Grid
from .convert import to_array, to_tensor

HALF = 0.499  # share above which a voxel counts: below 0.5, so that for a voxel half in view rounding does not matter
LEAST_SHARE_IN_VIEW = 0.05  # least divisor of averages within a view: voxels of a smaller share hardly count
LEAST_SHARED = 1 << 12  # points: fewer are sampled faster by one thread


def spatial_shape(x: Tensor) -> tuple[int, int, int]:
    """Return the last three dimensions (D, H, W) of a tensor, as `Grid` takes them."""
    d, h, w = x.shape[-3:]
    return d, h, w


def positions(points: Grid, lattice: Grid, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    """Return the nodes of `points` along D, H, W in voxel indices of `lattice`; both grids have the same axes."""
    start = lattice.point_to_index(points.origin)
    scale = points.spacing / lattice.spacing
    d, h, w = (to_tensor(start[axis] + np.arange(points.size[axis]) * scale[axis], device) for axis in (2, 1, 0))
    return d, h, w


def linear_weights(points: Tensor, size: int, *, zeros: bool = False) -> Tensor:
    """Return weights (n, size) that interpolate `size` values at indices (n) linearly; border value or zero outside."""
    at = points if zeros else points.clamp(0, size - 1)
    return (1 - (at[:, None] - torch.arange(size, device=points.device)).abs()).clamp(min=0)


def interpolate(x: Tensor, where: tuple[Tensor, ...], *, zeros: bool = False) -> Tensor:
    """Sample (C, D, H, W) linearly at the tensor product of three index vectors; border value (or zero) outside."""
    weights = [linear_weights(at, n, zeros=zeros).to(x.dtype) for at, n in zip(where, x.shape[1:], strict=True)]
    return along_axes(x, weights)


def along_axes(x: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Multiply (C, D, H, W) by a matrix (new size, size) along each axis: one pass over memory per axis."""
    x = matrices[1] @ (x @ matrices[2].T)
    return (matrices[0] @ x.flatten(2)).unflatten(2, x.shape[2:])


def averages(n: int, radius: int, like: Tensor) -> Tensor:
    """Return the matrix (n, n) of moving averages over 2 radius + 1 of n values, the end values repeated beyond."""
    node, matrix = torch.arange(n, device=like.device), like.new_zeros(n, n)
    for offset in range(-radius, radius + 1):
        matrix[node, (node + offset).clamp(0, n - 1)] += 1 / (2 * radius + 1)
    return matrix


def resample(x: Tensor, source: Grid, target: Grid) -> Tensor:
    """Resample (C, D, H, W) from the grid `source` linearly at the nodes of `target`."""
    return interpolate(x, positions(target, source, x.device))


def nearest(x: Tensor, source: Grid, target: Grid) -> Tensor:
    """Take the nearest voxel of (C, D, H, W) on the grid `source` for every node of `target`; the border outside."""
    for dim, at in enumerate(positions(target, source, x.device), 1):
        x = x.index_select(dim, at.round().long().clamp(0, x.shape[dim] - 1))
    return x


def mesh(lattice: Grid, device: torch.device | str = "cpu") -> Tensor:
    """Return the positions of the nodes (3, D, H, W), in mm along D, H, W from the lattice's first node."""
    spacing = lattice.spacing[::-1]
    steps = [torch.arange(n, device=device) * float(mm) for n, mm in zip(lattice.shape, spacing, strict=True)]
    return torch.stack(torch.meshgrid(*steps, indexing="ij"))


def sample(x: Tensor, index: Tensor, *, zeros: bool = False) -> Tensor:
    """Sample (C, D, H, W) linearly at indices (3, ...) in the order D, H, W; border value (or zero) outside."""
    shape = index.shape[1:]
    size = torch.tensor(x.shape[1:], device=x.device, dtype=x.dtype).view(3, *[1] * len(shape))
    unit = (2 * index + 1) / size - 1  # grid_sample's coordinates with align_corners=False
    unit, count = unit.flip(0).flatten(1), unit[0].numel()
    # grid_sample uses one thread per volume of a batch: make as many volumes as threads, each with a part of the points
    parts = torch.get_num_threads() if x.device.type == "cpu" and count >= LEAST_SHARED else 1
    unit = functional.pad(unit, (0, -count % parts)).T.reshape(parts, 1, 1, -1, 3)
    padding, batch = "zeros" if zeros else "border", x.expand(parts, *x.shape)
    out = functional.grid_sample(batch, unit, mode="bilinear", padding_mode=padding, align_corners=False)
    return out.transpose(0, 1).flatten(1)[:, :count].reshape(len(x), *shape).contiguous()


def warped(x: Tensor, displacement: Tensor, lattice: Grid) -> Tensor:
    """Warp (C, D, H, W) by a displacement: sample at x + u(x); u (3, D, H, W) in mm, both on `lattice`."""
    spacing = to_tensor(lattice.spacing[::-1], displacement.device).view(3, 1, 1, 1)
    return sample(x, (mesh(lattice, displacement.device) + displacement) / spacing)


def compose(outer: Tensor, inner: Tensor, lattice: Grid) -> Tensor:
    """Compose two displacements, x -> outer(inner(x)); both (3, D, H, W) in mm on `lattice`, as is the result."""
    return inner + warped(outer, inner, lattice)


def to_lps(displacement: Tensor, lattice: Grid) -> np.ndarray:
    """Convert displacements (3, D, H, W) in mm along the array axes to (D, H, W, 3) in LPS mm."""
    return np.moveaxis(to_array(displacement), 0, -1)[..., ::-1] @ lattice.direction.T.astype(np.float32)


def from_lps(displacement: np.ndarray, lattice: Grid, device: torch.device | str = "cpu") -> Tensor:
    """Convert displacements (D, H, W, 3) in LPS mm to (3, D, H, W) in mm along the array axes."""
    along = np.einsum("...j,ji->...i", displacement, lattice.direction)[..., ::-1]
    return to_tensor(np.moveaxis(along, -1, 0), device)
