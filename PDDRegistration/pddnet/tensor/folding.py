"""Jacobian determinants, and removal of folding: a field is smoothed where it folds, so that it can be inverted."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from ..core.grid import Grid
from .execution import ALONE, Work
from .lattice import along_axes, averages

LEAST_DETERMINANT = 0.1  # to be reached everywhere
MOST_ROUNDS = 80
FIRST_REACH = 2  # nodes around a fold that are averaged at first
ROUNDS_PER_NODE = 8  # after so many the reach grows by one node


def remove_folding(field: Tensor, lattice: Grid, work: Work = ALONE, *, border: bool = True) -> Tensor:
    """The field averaged around its folds, repeatedly and in growing regions, until none is left.

    A node is folded where `least_determinant` is below LEAST_DETERMINANT. The averaging fades towards the border of its
    region: an edge there would be a new fold. A field without folds is returned as it is; after MOST_ROUNDS the field
    is returned with what folds are left.

    Args:
        field: (3, D, H, W) displacements on `lattice`, mm along its array axes.
        border: whether the lattice's outermost nodes may change, too.
    """
    free = field.new_full(lattice.shape, float(border))
    free[1:-1, 1:-1, 1:-1] = 1.0
    folded = least_determinant(field, lattice) < LEAST_DETERMINANT
    if bool(folded.any()):
        field = field.clone()
    for count in range(MOST_ROUNDS):
        work.tick()
        if not bool(folded.any()):
            break
        reach = FIRST_REACH + count // ROUNDS_PER_NODE
        part = _box(folded, 2 * reach + 2)  # what changes, all whose determinant that changes, and one node more
        inner = field[(slice(None), *part)]
        inner += _closeness(folded[part], reach, field.dtype) * free[part] * (_averaged(inner, 1) - inner)
        inside, core = _core(part, folded.shape)
        folded[inside] = (least_determinant(inner, lattice) < LEAST_DETERMINANT)[core]
    return field


def _closeness(folded: Tensor, reach: int, dtype: torch.dtype) -> Tensor:
    """(D, H, W) 1 at the folds, fading to 0 at twice `reach` nodes from them."""
    within_reach = _averaged(folded[None].to(dtype), reach) > 0
    return _averaged(within_reach.to(dtype), reach - 1)[0]


def _core(part: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """A part of an array without its outermost nodes, save where the array ends there; and the same within the part."""
    first = [int(p.start > 0) for p in part]
    last = [int(p.stop < n) for p, n in zip(part, shape, strict=True)]
    within = [slice(f, p.stop - p.start - g) for p, f, g in zip(part, first, last, strict=True)]
    return tuple(slice(p.start + w.start, p.start + w.stop) for p, w in zip(part, within, strict=True)), tuple(within)


def determinant(field: Tensor, lattice: Grid) -> Tensor:
    """(D, H, W) Jacobian determinants of x + u(x), by central differences; u (3, D, H, W) in mm along the axes."""
    spacing = [float(s) for s in lattice.spacing[::-1]]
    d, h, w = _columns([torch.gradient(component, spacing=spacing) for component in field])
    return _dot(d, _cross(h, w))


def least_determinant(field: Tensor, lattice: Grid) -> Tensor:
    """(D, H, W) the least Jacobian determinant at each node among the eight cells around it.

    Between nodes the field is linear along each axis. Central differences average over two cells; a fold within one
    cell, where no inverse would converge, shows in the determinants at its corners.
    """
    towards: list[list[list[Tensor]]] = [[], []]  # the lower and the upper node, by component and axis
    for component in field:
        steps = [component.diff(dim=dim) / float(spacing) for dim, spacing in enumerate(lattice.spacing[::-1])]
        for slopes, end in zip(towards, (0, -1), strict=True):
            slopes.append([_held(step, dim, end) for dim, step in enumerate(steps)])
    d, h, w = zip(*(_columns(slopes) for slopes in towards), strict=True)
    areas = [_cross(*sides) for sides in itertools.product(h, w)]
    return functools.reduce(torch.minimum, (_dot(side, area) for side, area in itertools.product(d, areas)))


def _held(steps: Tensor, dim: int, end: int) -> Tensor:
    """Differences between nodes, the first (end 0) or last (end -1) repeated, so that there is one per node."""
    at = steps.narrow(dim, 0 if end == 0 else steps.shape[dim] - 1, 1)
    return torch.cat([at, steps] if end == 0 else [steps, at], dim)


def _columns(slopes: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
    """The columns of the identity plus the slopes: from [component][axis] to [axis][component]."""
    return [[slopes[c][axis] + (c == axis) for c in range(3)] for axis in range(3)]


def _cross(a: Sequence[Tensor], b: Sequence[Tensor]) -> list[Tensor]:
    following = ((1, 2), (2, 0), (0, 1))
    return [(a[i] * b[j]).addcmul_(a[j], b[i], value=-1) for i, j in following]


def _dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    return (a[0] * b[0]).addcmul_(a[1], b[1]).addcmul_(a[2], b[2])


def _averaged(x: Tensor, radius: int) -> Tensor:
    """(C, D, H, W) averaged over (2 radius + 1)^3 nodes, the border repeated."""
    return along_axes(x, [averages(n, radius, x) for n in x.shape[1:]])  # products: torch's pools are slow on a CPU


def _box(mask: Tensor, margin: int) -> tuple[slice, ...]:
    """The part of the lattice that holds the mask, and `margin` nodes around it."""
    across = mask.any(2), mask.any(0)
    slices = []
    for along, size in zip((across[0].any(1), across[0].any(0), across[1].any(0)), mask.shape, strict=True):
        where = along.nonzero()
        slices.append(slice(max(int(where[0]) - margin, 0), min(int(where[-1]) + margin + 1, size)))
    return tuple(slices)
