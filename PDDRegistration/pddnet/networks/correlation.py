"""Correlate two feature maps over displacements, as channels of a network (the correlation layer of FlowNet-C).

Dosovitskiy et al. 2015 (doi:10.1109/ICCV.2015.316), section 3, in 3-D with the squared difference of Heinrich 2019
(doi:10.1007/978-3-030-32226-7_6), section 2, in place of the product. It has no weights.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..core.grid import Grid
from ..matching.cost_volume import cost_volume
from ..tensor.lattice import interpolate, positions

CELLS_AT_ONCE = 1 << 21  # of the cost volume, whose intermediate results are kept at a time in training


def correlation(fixed: Tensor, moving: Tensor, lattice: Grid, control: Grid, steps: Tensor) -> Tensor:
    """Compute the mean squared difference of the features at every control point and every displacement.

    Args:
        fixed, moving: (C, D, H, W) features on `lattice`; beyond it the border value holds.
        control: the control points, along the axes of `lattice`.
        steps: (L) displacements in mm, the same along every axis.

    Returns:
        (L^3, nD, nH, nW): the displacements along D, H, W in C order as channels; computed in rows of control points,
        and again in the backward pass.
    """
    points = positions(control, lattice, fixed.device)
    offsets = tuple(steps / float(mm) for mm in lattice.spacing[::-1])
    n_d, _, n_w = control.shape
    rows = max(1, CELLS_AT_ONCE // (n_d * n_w * len(steps) ** 3))
    query = interpolate(fixed, points)

    def costs(some: Tensor, features: Tensor, along: Tensor) -> Tensor:
        return cost_volume(some, features, (points[0], along, points[2]), offsets)

    parts = [
        checkpoint(costs, some, moving, along, use_reentrant=False, preserve_rng_state=False)
        for some, along in zip(query.split(rows, 2), points[1].split(rows), strict=True)
    ]
    return torch.cat(parts).flatten(2, 4).permute(2, 3, 0, 1)
