"""Folds of a displacement field smoothed away, so that the transform can be inverted everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .grid import Grid
from .work import ALONE, Work

if TYPE_CHECKING:
    from torch import Tensor

LEAST = 0.05  # Jacobian determinant to reach
ROUNDS = 24
SAME_WIDTH = 3  # rounds before the averages become wider


def unfold(field: Tensor, lattice: Grid, work: Work = ALONE) -> Tensor:
    """The field averaged around its folds, again and again and more and more widely, until none is left.

    Where nothing folds it is returned as it is; after ROUNDS with what is left.

    Args:
        field: (3, D, H, W) displacements on `lattice`, mm along its array axes.
    """
    import torch.nn.functional as functional

    for count in range(ROUNDS):
        work.tick()
        folded = determinant(field, lattice) < LEAST
        if not bool(folded.any()):
            break
        radius = 1 + count // SAME_WIDTH
        near = _by_axes(functional.max_pool3d, folded[None].to(field.dtype), radius + 1, pad=True)[0]
        part = _box(near > 0, radius)  # the average reads so many nodes around what it changes
        inner = field[(slice(None), *part)]
        smooth = functional.pad(inner[None], (radius,) * 6, mode="replicate")
        smooth = _by_axes(functional.avg_pool3d, smooth, radius)[0]
        field = field.clone()
        field[(slice(None), *part)] += near[part] * (smooth - inner)
    return field


def determinant(field: Tensor, lattice: Grid) -> Tensor:
    """(D, H, W) Jacobian determinants of x + u(x), by central differences; u (3, D, H, W) in mm along the axes."""
    import torch

    spacing = [float(s) for s in lattice.spacing[::-1]]
    rows = [torch.stack(torch.gradient(field[c], spacing=spacing)) for c in range(3)]
    for c in range(3):
        rows[c][c] += 1.0
    a, b, c = rows
    return (a * torch.linalg.cross(b, c, dim=0)).sum(0)


def _by_axes(pool: Callable[..., Tensor], x: Tensor, radius: int, *, pad: bool = False) -> Tensor:
    """A pool over (2 radius + 1)^3 voxels as three over one axis each."""
    for axis in range(3):
        width = [2 * radius + 1 if a == axis else 1 for a in range(3)]
        x = pool(x, width, 1, [w // 2 if pad else 0 for w in width])
    return x


def _box(mask: Tensor, margin: int) -> tuple[slice, ...]:
    """The part of the lattice that holds the mask, and `margin` nodes around it."""
    slices = []
    for dim, size in enumerate(mask.shape):
        others = tuple(d for d in range(3) if d != dim)
        where = mask.amax(others).nonzero()
        slices.append(slice(max(int(where[0]) - margin, 0), min(int(where[-1]) + margin + 1, size)))
    return tuple(slices)
