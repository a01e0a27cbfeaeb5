"""A transform as an affine map after a displacement, x -> affine(x + u(x)): from any ITK transform, to one field."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .field import DisplacementField
from .grid import Grid
from .lattice import from_lps, mesh, resample, to_lps
from .scan import Affine
from .tensors import to_tensor

if TYPE_CHECKING:
    import SimpleITK as sitk
    import torch
    from torch import Tensor


def split(transform: sitk.Transform, lattice: Grid, device: torch.device) -> tuple[Affine, Tensor]:
    """A transform (fixed to moving, LPS mm) as its best affine map and the displacement u before it.

    Returns:
        the map, and u (3, D, H, W) on `lattice`, mm along the array axes; zero for a linear transform.
    """
    sampled = DisplacementField.from_transform(transform, lattice)
    affine = Affine(*sampled.affine())
    points = lattice.points()
    moved = (points + sampled.array).reshape(-1, 3)
    back = np.linalg.inv(affine.matrix)
    remainder = ((moved - affine.shift) @ back.T).reshape(points.shape) - points
    return affine, from_lps(remainder, lattice, device)


def join(affine: Affine, field: Tensor, lattice: Grid, grid: Grid, margin: float) -> DisplacementField:
    """The whole transform x -> affine(x + u(x)) as one field on `grid`, which has the lattice's axes.

    u (3, D, H, W) on `lattice` keeps its border value outside it, and fades to zero over the outermost `margin` mm of
    the grid: at the grid's border the transform is the affine map alone.
    """
    import torch

    inner = resample(field, lattice, grid)
    for dim, (n, spacing) in enumerate(zip(grid.shape, grid.spacing[::-1], strict=True), start=1):
        to_border = np.minimum(np.arange(n), np.arange(n)[::-1]) * spacing
        fade = np.clip(to_border / max(margin - spacing / 2, spacing), 0.0, 1.0)
        inner = inner * to_tensor(fade, field.device).view([-1 if d == dim else 1 for d in range(4)])
    axes = grid.direction[:, ::-1]  # of D, H, W
    matrix = to_tensor(axes.T @ affine.matrix @ axes, field.device)
    shift = to_tensor(axes.T @ (affine.points(grid.origin) - grid.origin), field.device).view(3, 1, 1, 1)
    nodes = mesh(grid, field.device)
    whole = torch.einsum("ij,jdhw->idhw", matrix, nodes + inner) - nodes + shift
    return DisplacementField(to_lps(whole, grid), grid)
