"""Penalise changes of volume, compression and expansion alike, by their Jacobian determinants in each cell."""

from __future__ import annotations

import torch
from torch import Tensor

from ..core.grid import Grid
from .folding import columns, cross, dot

LEAST = 0.15  # below it the penalty goes on as a straight line, also where space folds


def volume_gradient(u: Tensor, lattice: Grid) -> Tensor:
    """Differentiate the mean penalty over all cells by u: both (3, D, H, W), mm along the array axes.

    The penalty is det + 1 / det - 2, and where space expands (det - 1)^2 more: so what tears apart costs more than what
    is pressed together. det is the Jacobian determinant of x + u(x) at each cell's first node, from the differences to
    the next nodes. Without the second part it is the same for a factor and its inverse (of the kind of Burger et al.
    2013, doi:10.1137/110835955, whose penalty grows faster).
    """
    spacing = [float(s) for s in lattice.spacing[::-1]]
    steps = [[_at_cells(component.diff(dim=dim), dim) / spacing[dim] for dim in range(3)] for component in u]
    d, h, w = columns(steps)
    areas = cross(h, w), cross(w, d), cross(d, h)  # of det by each column
    det = dot(d, areas[0])
    slope = 1 - det.clamp(min=LEAST).square().reciprocal() + 2 * (det - 1).clamp(min=0)
    gradient = torch.zeros_like(u)
    for dim, area in enumerate(areas):
        for component, part in enumerate(area):
            force = part * slope / (slope.numel() * spacing[dim])
            _cells(gradient[component], dim, 0).sub_(force)
            _cells(gradient[component], dim, 1).add_(force)
    return gradient


def _at_cells(steps: Tensor, along: int) -> Tensor:
    """Drop the last nodes (D, H, W) of the other two axes: what is left are the cells' first nodes."""
    for dim in range(3):
        steps = steps if dim == along else steps.narrow(dim, 0, steps.shape[dim] - 1)
    return steps


def _cells(x: Tensor, along: int, shift: int) -> Tensor:
    """View the first node of every cell of (D, H, W), or the next one along an axis."""
    for dim in range(3):
        x = x.narrow(dim, shift if dim == along else 0, x.shape[dim] - 1)
    return x
