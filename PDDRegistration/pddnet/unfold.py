"""Folds of a displacement field smoothed away, so that the transform can be inverted everywhere."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .grid import Grid
from .work import ALONE, Work

if TYPE_CHECKING:
    from torch import Tensor

LEAST = 0.1  # Jacobian determinant to reach
ROUNDS = 80
NEAR = 2  # nodes around a fold that are averaged at first
WIDER = 8  # rounds before it is one node more
SLABS = 4  # make up what is worked on at once: several tensors of the size of each are in use


def unfold(field: Tensor, lattice: Grid, work: Work = ALONE, *, border: bool = True) -> Tensor:
    """The field averaged around its folds, again and again and more and more widely, until none is left.

    Folded is where `least_determinant` is below LEAST. Less so towards the border of what is averaged: an edge there
    would be a new fold. Where nothing folds the field is returned as it is; after ROUNDS with what is left.

    Args:
        field: (3, D, H, W) displacements on `lattice`, mm along its array axes.
        border: whether the lattice's outermost nodes may change, too.
    """
    import torch.nn.functional as functional

    free = field.new_full(lattice.shape, float(border))
    free[1:-1, 1:-1, 1:-1] = 1.0
    folded = _folded(field, lattice, work)
    if bool(folded.any()):
        field = field.clone()
    for count in range(ROUNDS):
        work.tick()
        if not bool(folded.any()):
            break
        reach = NEAR + count // WIDER
        part = _box(folded, 2 * reach + 2)  # what changes, all whose determinant that changes, and one node more
        near = _by_axes(functional.max_pool3d, folded[part][None].to(field.dtype), reach, pad=True)
        near = _averaged(near, reach - 1)[0] * free[part]
        inner = field[(slice(None), *part)]
        inner += near * (_averaged(inner, 1) - inner)
        inside, core = _core(part, folded.shape)
        folded[inside] = _folded(inner, lattice, work)[core]
    return field


def _folded(field: Tensor, lattice: Grid, work: Work) -> Tensor:
    """(D, H, W) bool: where `least_determinant` is below LEAST; slab by slab, because it takes many small steps."""
    import torch

    depth = field.shape[1]
    thick = max(work.at_once(field.device) // (SLABS * max(field[0, 0].numel(), 1)), 1)
    found = torch.empty(field.shape[1:], dtype=torch.bool, device=field.device)

    def look(start: int) -> None:
        stop, below, above = min(start + thick, depth), max(start - 1, 0), min(start + thick + 1, depth)
        least = least_determinant(field[:, below:above], lattice)
        found[start:stop] = least[start - below : stop - below] < LEAST

    work.each(look, ((start,) for start in range(0, depth, thick)), field.device)
    return found


def _core(part: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """A part of an array without its outermost nodes, save where the array ends there; and the same within the part."""
    first = [int(p.start > 0) for p in part]
    last = [int(p.stop < n) for p, n in zip(part, shape, strict=True)]
    within = [slice(f, p.stop - p.start - g) for p, f, g in zip(part, first, last, strict=True)]
    return tuple(slice(p.start + w.start, p.start + w.stop) for p, w in zip(part, within, strict=True)), tuple(within)


def determinant(field: Tensor, lattice: Grid) -> Tensor:
    """(D, H, W) Jacobian determinants of x + u(x), by central differences; u (3, D, H, W) in mm along the axes."""
    import torch

    spacing = [float(s) for s in lattice.spacing[::-1]]
    return _determinant([torch.gradient(component, spacing=spacing) for component in field])


def least_determinant(field: Tensor, lattice: Grid) -> Tensor:
    """(D, H, W) the least Jacobian determinant at each node among the eight cells around it.

    Between nodes the field is linear along each axis. Central differences see what it does on average over two cells; a
    fold within one, where no inverse would converge, is seen at its corners.
    """
    import torch

    sides: list[list[tuple[Tensor, Tensor]]] = [[], [], []]  # by component and axis: towards the lower and upper node
    for slopes, component in zip(sides, field, strict=True):
        for dim, spacing in enumerate(lattice.spacing[::-1]):
            step, last = component.diff(dim=dim) / float(spacing), component.shape[dim] - 2
            ends = step.narrow(dim, 0, 1), step.narrow(dim, last, 1)
            slopes.append((torch.cat([ends[0], step], dim), torch.cat([step, ends[1]], dim)))
    least = None
    for cell in itertools.product((0, 1), repeat=3):
        found = _determinant([[slopes[dim][cell[dim]] for dim in range(3)] for slopes in sides])
        least = found if least is None else torch.minimum(least, found)
    return least


def _determinant(slopes: Sequence[Sequence[Tensor]]) -> Tensor:
    """Of one plus the slopes, by component and axis."""
    (a, b, c), (d, e, f), (g, h, i) = slopes
    a, e, i = a + 1, e + 1, i + 1
    return (e * i - f * h).mul_(a).sub_((d * i - f * g).mul_(b)).add_((d * h - e * g).mul_(c))


def _averaged(x: Tensor, radius: int) -> Tensor:
    """(C, D, H, W) averaged over (2 radius + 1)^3 nodes, the border repeated."""
    import torch.nn.functional as functional

    return _by_axes(functional.avg_pool3d, functional.pad(x[None], (radius,) * 6, mode="replicate")[0], radius)


def _by_axes(pool: Callable[..., Tensor], x: Tensor, radius: int, *, pad: bool = False) -> Tensor:
    """A pool over (2 radius + 1)^3 voxels as three over one axis each."""
    for axis in range(3):
        width = [2 * radius + 1 if a == axis else 1 for a in range(3)]
        x = pool(x, width, 1, [w // 2 if pad else 0 for w in width])
    return x


def _box(mask: Tensor, margin: int) -> tuple[slice, ...]:
    """The part of the lattice that holds the mask, and `margin` nodes around it."""
    across = mask.any(2), mask.any(0)
    slices = []
    for along, size in zip((across[0].any(1), across[0].any(0), across[1].any(0)), mask.shape, strict=True):
        where = along.nonzero()
        slices.append(slice(max(int(where[0]) - margin, 0), min(int(where[-1]) + margin + 1, size)))
    return tuple(slices)
