"""Split a transform into an affine map after a displacement, x -> affine(x + u(x)), and join them to one field."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from ..core.affine import Affine
from ..core.field import DisplacementField
from ..core.grid import Grid
from .convert import to_tensor
from .folding import remove_folding
from .lattice import from_lps, mesh, resample, to_lps

LEAST_MARGIN_MM, MOST_MARGIN_MM = 24.0, 72.0
SLOPE_OF_FADING = 1.25  # mm of margin per mm of displacement: with less than 1, fading to zero would fold space


def split(transform: sitk.Transform, lattice: Grid, scan: Grid, device: torch.device) -> tuple[Affine, Tensor]:
    """Split a transform (fixed to moving, LPS mm) into its best affine map and the displacement u before it.

    Args:
        scan: the fixed scan's grid. A displacement field or spline may end with it, and is zero for ITK beyond, so
            nodes outside take the u of the nearest node inside, unless the transform is linear.

    Returns:
        the map, and u (3, D, H, W) on `lattice`, mm along the array axes; zero for a linear transform.
    """
    part = np.s_[:, :, :] if transform.IsLinear() else _inside(lattice, scan)
    first = [along.start or 0 for along in part[::-1]]
    array = DisplacementField.from_transform(transform, lattice).array[part]
    inner = Grid(array.shape[:3], lattice.spacing, lattice.index_to_point(first), lattice.direction)
    affine = Affine(*DisplacementField(array, inner).affine())
    points = inner.points()
    moved = (points + array).reshape(-1, 3)
    back = np.linalg.inv(affine.matrix)
    remainder = ((moved - affine.shift) @ back.T).reshape(points.shape) - points
    wide = [(start, n - start - m) for start, n, m in zip(first[::-1], lattice.shape, inner.shape, strict=True)]
    return affine, from_lps(np.pad(remainder, [*wide, (0, 0)], mode="edge"), lattice, device)


def _inside(lattice: Grid, scan: Grid) -> tuple[slice, ...]:
    """Return the array slices (k, j, i) of the nodes that lie in a scan; all where none does. Their axes are alike."""
    inside = scan.contains(lattice.points())
    if not inside.any():
        return np.s_[:, :, :]
    used = [np.flatnonzero(inside.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    return tuple(slice(int(each[0]), int(each[-1]) + 1) for each in used)


def margin(field: Tensor) -> float:
    """Return the margin in mm needed to fade u to zero without folding.

    It exceeds the largest displacement across the border, and is limited to LEAST_MARGIN_MM..MOST_MARGIN_MM.
    """
    ends = [field[dim].movedim(dim, 0)[[0, -1]].abs().max() for dim in range(3)]
    return min(max(LEAST_MARGIN_MM, SLOPE_OF_FADING * float(max(ends))), MOST_MARGIN_MM)


def fade(field: Tensor, lattice: Grid, grid: Grid) -> Tensor:
    """Continue u (3, D, H, W) from `lattice` to `grid`, which has the same axes and covers it; mm along these axes.

    Outside the lattice u keeps its border value while it fades to zero towards the grid's border. Folds that this
    causes are smoothed away: they occur beyond parts of the lattice's border where the field compresses space.
    """
    return remove_folding(resample(field, lattice, grid) * _fade(lattice, grid, field.device), grid, border=False)


def join(affine: Affine, field: Tensor, grid: Grid) -> DisplacementField:
    """Join x -> affine(x + u(x)) to one displacement field on `grid`; u (3, D, H, W) on it, mm along its array axes.

    Where u has faded to zero the transform is the affine map alone.
    """
    axes = grid.direction[:, ::-1]  # of D, H, W
    matrix = to_tensor(axes.T @ affine.matrix @ axes, field.device)
    shift = to_tensor(axes.T @ (affine.points(grid.origin) - grid.origin), field.device).view(3, 1, 1, 1)
    nodes = mesh(grid, field.device)
    joined = torch.einsum("ij,jdhw->idhw", matrix, nodes + field) - nodes + shift
    return DisplacementField(to_lps(joined, grid), grid)


def _fade(lattice: Grid, grid: Grid, device: torch.device) -> Tensor:
    """Return weights (D, H, W) on `grid`: 1 within the lattice, falling linearly to 0 at the grid's border."""
    start = grid.point_to_index(lattice.origin)
    stop = start + (lattice.size - 1) * lattice.spacing / grid.spacing
    fade = torch.ones((), device=device)
    for dim, (n, first, last) in enumerate(zip(grid.shape, start[::-1], stop[::-1], strict=True)):
        if n == 1:  # of a 2-D image, which has no border along this axis
            continue
        index = np.arange(n)
        before, behind = index / max(first, 1.0), (n - 1 - index) / max(n - 1 - last, 1.0)
        along = to_tensor(np.minimum(before, behind).clip(0.0, 1.0), device)
        along = along.view([-1 if d == dim else 1 for d in range(3)])
        fade = torch.minimum(fade, along)  # their product would be steeper at edges and corners
    return fade
