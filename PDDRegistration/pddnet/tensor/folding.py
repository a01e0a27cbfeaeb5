"""Compute Jacobian determinants, and bound them: smooth a field where it folds, or stretches more than tissue does."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..core.grid import Grid
from .execution import ALONE, Work
from .lattice import along_axes, averages

LEAST_DETERMINANT = 0.1  # Jacobian determinants below it count as folds
MOST_DETERMINANT = 6.0  # 1.8 times along every axis; more is rarely anatomy, but two matches that do not fit together
MOST_ROUNDS = 80
FIRST_REACH = 2  # nodes around a fold that are averaged in the first rounds
ROUNDS_PER_NODE = 8  # rounds after which the reach grows by one node


def remove_folding(
    field: Tensor, lattice: Grid, work: Work = ALONE, *, border: bool = True, most: float = math.inf
) -> Tensor:
    """Average a field around its folds, repeatedly and in growing regions, until none is left.

    A node is folded where the smallest of its determinants (see `determinant_range`) is below LEAST_DETERMINANT; one
    whose largest is above `most` is treated alike. The averaging fades towards the border of its region: an edge there
    would be a new fold. A field without folds is returned unchanged; after MOST_ROUNDS the field is returned with the
    remaining folds.

    Args:
        field: (3, D, H, W) displacements on `lattice`, mm along its array axes.
        border: whether the lattice's outermost nodes may change, too.
        most: largest determinant that stays, such as MOST_DETERMINANT.
    """

    def out_of_bounds(u: Tensor) -> Tensor:
        least, greatest = determinant_range(u, lattice)
        return (least < LEAST_DETERMINANT) | (greatest > most)

    free = field.new_full(lattice.shape, float(border))
    free[tuple(slice(1, -1) if n > 1 else slice(None) for n in lattice.shape)] = 1.0
    folded = out_of_bounds(field)
    if bool(folded.any()):
        field = field.clone()
    for count in range(MOST_ROUNDS):
        work.tick()
        if not bool(folded.any()):
            break
        reach = FIRST_REACH + count // ROUNDS_PER_NODE
        part = _box(folded, 2 * reach + 2)  # the nodes that change, those whose determinant changes, one more
        inner = field[(slice(None), *part)]
        inner += closeness(folded[part], reach, field.dtype) * free[part] * (averaged(inner, 1) - inner)
        inside, core = _core(part, folded.shape)
        folded[inside] = out_of_bounds(inner)[core]
    return field


def closeness(folded: Tensor, reach: int, dtype: torch.dtype) -> Tensor:
    """Return weights (D, H, W): 1 at the folds, fading to 0 at twice `reach` nodes from them."""
    within_reach = averaged(folded[None].to(dtype), reach) > 0
    return averaged(within_reach.to(dtype), reach - 1)[0]


def _core(part: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Drop a part's outermost nodes, save where the array ends; return the slices in the array, and in the part."""
    first = [int(p.start > 0) for p in part]
    last = [int(p.stop < n) for p, n in zip(part, shape, strict=True)]
    within = [slice(f, p.stop - p.start - g) for p, f, g in zip(part, first, last, strict=True)]
    return tuple(slice(p.start + w.start, p.start + w.stop) for p, w in zip(part, within, strict=True)), tuple(within)


def determinant(field: Tensor, lattice: Grid) -> Tensor:
    """Compute the Jacobian determinants (D, H, W) of x + u(x) by central differences; u (3, D, H, W), mm along axes."""
    spacing = [float(s) for s in lattice.spacing[::-1]]
    d, h, w = columns([[_slope(component, dim, mm) for dim, mm in enumerate(spacing)] for component in field])
    return dot(d, cross(h, w))


def _slope(x: Tensor, dim: int, spacing: float) -> Tensor:
    """Differentiate (D, H, W) along one axis by central differences; zero along an axis of one node."""
    if x.shape[dim] == 1:
        return torch.zeros_like(x)
    (slope,) = torch.gradient(x, spacing=(spacing,), dim=(dim,))
    return slope


def least_determinant(field: Tensor, lattice: Grid) -> Tensor:
    """Return the smallest Jacobian determinant at each node, see `determinant_range`: (D, H, W)."""
    return determinant_range(field, lattice)[0]


def determinant_range(field: Tensor, lattice: Grid) -> tuple[Tensor, Tensor]:
    """Compute the smallest and largest Jacobian determinant at each node in the eight cells around it: (D, H, W) each.

    Between nodes the field is linear along each axis. Central differences average over two cells, and miss a fold
    within one cell, where no inverse would converge; the determinants at the corners of the cell show it.
    """
    towards: list[list[list[Tensor]]] = [[], []]  # the lower and the upper node, by component and axis
    for component in field:
        steps = [component.diff(dim=dim) / float(spacing) for dim, spacing in enumerate(lattice.spacing[::-1])]
        for slopes, end in zip(towards, (0, -1), strict=True):
            slopes.append([_held(step, dim, end) for dim, step in enumerate(steps)])
    d, h, w = zip(*(columns(slopes) for slopes in towards), strict=True)
    areas = [cross(*sides) for sides in itertools.product(h, w)]
    corners = [dot(side, area) for side, area in itertools.product(d, areas)]
    return functools.reduce(torch.minimum, corners), functools.reduce(torch.maximum, corners)


def _held(steps: Tensor, dim: int, end: int) -> Tensor:
    """Repeat the first (end 0) or last (end -1) of the differences between nodes, so that there is one per node."""
    if not steps.shape[dim]:  # an axis of one node
        return steps.new_zeros([n if at != dim else 1 for at, n in enumerate(steps.shape)])
    at = steps.narrow(dim, 0 if end == 0 else steps.shape[dim] - 1, 1)
    return torch.cat([at, steps] if end == 0 else [steps, at], dim)


def columns(slopes: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
    """Return the columns of identity plus slopes: from [component][axis] to [axis][component]."""
    return [[slopes[c][axis] + (c == axis) for c in range(3)] for axis in range(3)]


def cross(a: Sequence[Tensor], b: Sequence[Tensor]) -> list[Tensor]:
    """Return the cross products of vectors that are given by their three components."""
    following = ((1, 2), (2, 0), (0, 1))
    return [(a[i] * b[j]).addcmul_(a[j], b[i], value=-1) for i, j in following]


def dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Return the scalar products of vectors that are given by their three components."""
    return (a[0] * b[0]).addcmul_(a[1], b[1]).addcmul_(a[2], b[2])


def averaged(x: Tensor, radius: int) -> Tensor:
    """Average x (C, D, H, W) over (2 radius + 1)^3 nodes, the border repeated."""
    return along_axes(x, [averages(n, radius, x) for n in x.shape[1:]])  # products: torch's pools are slow on a CPU


def _box(mask: Tensor, margin: int) -> tuple[slice, ...]:
    """Return the slices of the mask's bounding box, with `margin` nodes around it."""
    across = mask.any(2), mask.any(0)
    slices = []
    for along, size in zip((across[0].any(1), across[0].any(0), across[1].any(0)), mask.shape, strict=True):
        where = along.nonzero()
        slices.append(slice(max(int(where[0]) - margin, 0), min(int(where[-1]) + margin + 1, size)))
    return tuple(slices)
