"""Compute the deformation between two drawn views of one anatomy, which is known, and its velocity.

Every voxel of a drawn view shows a known point of the anatomy (`Sample.points`). So the point of the moving view that
shows the same is the truth, without any matching; in place of the shapes of Rohé et al. 2017, section 2
(doi:10.1007/978-3-319-66182-7_31), of which `pddnet reference` makes it between two people.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..core.grid import Grid
from ..tensor.convert import to_array, to_tensor
from ..tensor.lattice import from_lps, resample, sample
from ..tensor.velocity import logarithm

Points = Tensor | Sequence[Tensor]
"""Of the fixed and the moving view: (3, D, H, W) each."""

ROUNDS = 20  # of the inversion, each of which halves the error or better
CLOSE_MM = 1.0  # in the anatomy: what is not as close after them is not known


def known_velocity(fixed: Grid, moving: Grid, points: Points, control: Grid) -> tuple[Tensor, Tensor]:
    """Return the velocity (3, nD, nH, nW) of the true deformation, and where it is known (nD, nH, nW), 0 or 1.

    Args:
        fixed, moving: the grids of both views.
        points: (3, D, H, W) of each, LPS mm in the anatomy, that their voxels show.
        control: the nodes, along the axes of the fixed view. The velocity is in mm per unit of time along them.
    """
    displacement, known = known_displacement(fixed, moving, points, control)
    return logarithm(from_lps(displacement, control, points[0].device), control), known


def known_displacement(fixed: Grid, moving: Grid, points: Points, control: Grid) -> tuple[np.ndarray, Tensor]:
    """Return the displacement (nD, nH, nW, 3) in LPS mm from fixed to moving points that show the same, and where it is
    known; see `known_velocity`.

    The moving scan's map is inverted as its best affine map and a remainder, which is looked up again and again; beyond
    its view it goes on with the remainder at the border.
    """
    wanted = resample(points[0], fixed, control).flatten(1)
    matrix, shift = _affine_fit(points[1])
    nodes = torch.stack(torch.meshgrid(*(torch.arange(n) for n in moving.shape), indexing="ij")).to(wanted)
    remainder = points[1] - (matrix @ nodes.flatten(1) + shift).view_as(points[1])
    back = torch.linalg.inv(matrix)
    index = back @ (wanted - shift)
    for _ in range(ROUNDS):
        index = back @ (wanted - shift - sample(remainder, index))
    left = (matrix @ index + shift + sample(remainder, index) - wanted).norm(dim=0)
    size = index.new_tensor(moving.shape)[:, None]
    known = ((index >= 0) & (index <= size - 1)).all(0) & (left < CLOSE_MM)
    ends = moving.index_to_point(to_array(index.flip(0)).T.astype(np.float64)).reshape(*control.shape, 3)
    return (ends - control.points()).astype(np.float32), known.view(control.shape).to(wanted.dtype)


def _affine_fit(points: Tensor) -> tuple[Tensor, Tensor]:
    """Fit matrix (3, 3) and shift (3, 1) from indices (d, h, w) to the points (3, D, H, W) of a view."""
    index = np.indices(points.shape[1:]).reshape(3, -1).T
    design = np.concatenate([index, np.ones((len(index), 1))], 1)[::7]  # every seventh: they are smooth
    solution = np.linalg.lstsq(design, to_array(points).reshape(3, -1).T[::7].astype(np.float64), rcond=None)[0]
    return to_tensor(solution[:3].T, points.device), to_tensor(solution[3][:, None], points.device)
