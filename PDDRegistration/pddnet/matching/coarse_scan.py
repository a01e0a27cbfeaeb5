"""Coarsen scans for the alignment: average their features within the view on a lattice of 8 mm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..core.affine import Affine
from ..core.grid import Grid
from ..tensor.lattice import HALF, LEAST_SHARE_IN_VIEW
from ..tensor.pools import block_means
from ..tensor.scan import Scan

COARSE_SPACING_MM = 8.0
LEAST_SHARE_OF_BODY = 0.2  # a cell belongs to the body if more of it than this is body


@dataclass(frozen=True)
class CoarseScan:
    """Coarse features and masks of a scan on an isotropic grid of COARSE_SPACING_MM."""

    features: Tensor  # (C, D, H, W)
    weight: Tensor  # (D, H, W) share of each cell within the view
    body: Tensor  # (D, H, W) share of each cell that is body within the view
    grid: Grid

    @property
    def in_body(self) -> Tensor:
        """Return the cells that belong to the body and lie within the view: (D, H, W) bool."""
        return (self.weight > HALF) & (self.body > LEAST_SHARE_OF_BODY)


def coarsen(scan: Scan, axes: np.ndarray, describe: Callable[[Tensor], Tensor]) -> CoarseScan:
    """Average the features of a scan within its view, on a lattice of COARSE_SPACING_MM along the given axes.

    Args:
        axes: (3, 3), the lattice's unit vectors along i, j, k as columns, in LPS.
        describe: computes features (C, D, H, W) from `Scan.values` (3, D, H, W).
    """
    fine = _covering_grid(scan.grid, axes, COARSE_SPACING_MM / 2)
    view = scan.warped(fine, Affine.identity())
    features = block_means(describe(view.values) * view.view, (2, 2, 2))
    body, weight = block_means(view.values[1:], (2, 2, 2))
    first = fine.index_to_point(np.full(3, 0.5))
    grid = Grid(weight.shape, fine.spacing * 2, first, fine.direction)
    return CoarseScan(features / weight.clamp(min=LEAST_SHARE_IN_VIEW), weight, body * weight, grid)


def _covering_grid(grid: Grid, axes: np.ndarray, spacing: float) -> Grid:
    """Make a grid along `axes` that covers all of `grid`, with an even number of nodes per axis; spacing in mm."""
    corners = grid.corners() @ axes
    low, high = corners.min(0), corners.max(0)
    size = np.ceil((high - low) / spacing / 2).astype(int) * 2
    origin = axes @ ((low + high) / 2 - (size - 1) / 2 * spacing)
    return Grid(tuple(size[::-1]), np.full(3, spacing), origin, axes)
