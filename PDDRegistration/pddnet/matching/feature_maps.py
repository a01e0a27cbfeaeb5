"""Compute the feature maps that are compared: both scans, warped by the current transform, on one lattice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..core.affine import Affine
from ..core.grid import Grid
from ..features.mind import MIND_CHANNELS
from ..tensor.execution import Work
from ..tensor.lattice import LEAST_SHARE_IN_VIEW, resample
from ..tensor.pools import block_means
from ..tensor.scan import Scan
from .discrete import FeatureMap
from .feature_types import DENSE, MIND, DenseFeatures


def matched_lattice(lattice: Grid, spacing: float) -> tuple[int, Grid]:
    """Return the integer coarsening factor of `lattice` for about `spacing` mm, and the coarsened lattice."""
    factor = max(round(spacing / float(lattice.spacing[0])), 1)
    start = lattice.index_to_point(np.full(3, (factor - 1) / 2))
    d, h, w = (n // factor for n in lattice.shape)
    return factor, Grid((d, h, w), lattice.spacing * factor, start, lattice.direction)


def reached_part(lattice: Grid, spacing: float, fixed: Scan, moving: Scan, affine: Affine, farthest: float) -> Grid:
    """Crop a lattice to the part that either scan reaches, plus a margin, in whole voxels of about `spacing` mm.

    Args:
        affine: fixed to moving points, LPS mm.
        farthest: mm, the largest displacement along an axis before the affine map.
    """
    inverse = np.linalg.inv(affine.matrix)
    fixed_corners = lattice.point_to_index(fixed.grid.corners())
    moving_corners = Affine(inverse, -inverse @ affine.shift).points(moving.grid.corners())
    moving_corners = lattice.point_to_index(moving_corners)
    far = farthest / lattice.spacing
    factor = matched_lattice(lattice, spacing)[0]
    margin = max([factor, *(each.reach for each in DENSE)])
    low = np.minimum(fixed_corners.min(0), moving_corners.min(0) - far) - margin
    high = np.maximum(fixed_corners.max(0), moving_corners.max(0) + far) + margin
    start = (np.clip(np.floor(low), 0, lattice.size - 1).astype(int) // factor) * factor
    size = np.maximum(np.minimum(np.ceil(high).astype(int) + 1, lattice.size) - start, factor)
    size = np.minimum(-(-size // factor) * factor, lattice.size - start)
    return Grid(tuple(size[::-1]), lattice.spacing, lattice.index_to_point(start), lattice.direction)


def describe(
    scan: Scan, carried: Tensor, spacing: float, dense: Sequence[DenseFeatures] = DENSE, *, extended: bool = False
) -> FeatureMap:
    """Compute the features of a scan on the `matched_lattice` of about `spacing` mm.

    Args:
        scan: warped to the lattice.
        carried: (E, D, H, W) the features that the scan carries, on the matched lattice.
        dense: feature types computed from the scan and averaged within the view. MIND if there are neither dense nor
            carried features.
        extended: whether they see the view extended, see `Scan.extended`.
    """
    if not dense and not len(carried):
        dense = (MIND,)
    factor, lattice = matched_lattice(scan.grid, spacing)
    weight = scan.view
    parts = [each.describe(scan.extended(each.reach) if extended else scan) for each in dense]
    if factor > 1:
        sums = [block_means(part * weight, [factor] * 3) for part in parts]
        weight = block_means(weight, [factor] * 3)
        parts = [part / weight.clamp(min=LEAST_SHARE_IN_VIEW) for part in sums]
    if len(carried):
        parts.append(carried)
    if len(parts) == 1 and len(parts[0]) == MIND_CHANNELS:
        return FeatureMap(parts[0], weight, lattice)
    features = torch.cat(parts)
    features *= (len(features) / MIND_CHANNELS) ** 0.5  # costs are means over channels: keep MIND's weight
    return FeatureMap(features, weight, lattice)


@dataclass(frozen=True)
class FeatureMaps:
    """Fixed and moving scan on `lattice`, and their features on its coarsened lattice (see `matched_lattice`)."""

    lattice: Grid
    scans: tuple[Scan, Scan]
    maps: tuple[FeatureMap, FeatureMap]

    @classmethod
    def of(
        cls, fixed: Scan, moving: Scan, lattice: Grid, affine: Affine, field: Tensor | None, field_grid: Grid | None,
        spacing: float, work: Work, *, dense: Sequence[DenseFeatures] = DENSE, extended: bool = False,
    ) -> FeatureMaps:  # fmt: skip
        """Warp the moving scan by affine(x + u(x)), and compute the features of both.

        u is `field` (3, D, H, W) on `field_grid`, mm along its array axes, or zero where there is none. Only
        the part of `lattice` that either scan reaches is computed. spacing, dense, extended: see `describe`.
        """
        farthest = 0.0 if field is None else float(field.abs().max())
        lattice = reached_part(lattice, spacing, fixed, moving, affine, farthest)
        coarse = matched_lattice(lattice, spacing)[1]

        def displacement(target: Grid) -> Tensor | None:
            return None if field is None or field_grid is None else resample(field, field_grid, target)

        identity = Affine.identity()
        work.tick()
        fixed_view = fixed.warped(lattice, identity)
        moving_view = moving.warped(lattice, affine, displacement(lattice))
        work.tick()
        fixed_warped_features = fixed.features_at(coarse, identity)
        moving_warped_features = moving.features_at(coarse, affine, displacement(coarse))
        work.tick()
        maps = (
            describe(fixed_view, fixed_warped_features, spacing, dense, extended=extended),
            describe(moving_view, moving_warped_features, spacing, dense, extended=extended),
        )
        return cls(lattice, (fixed_view, moving_view), maps)

    def near_body(self, side: int) -> FeatureMap:
        """Return the features of one scan (0: fixed, 1: moving), weight 0 more than about a voxel outside the body."""
        features = self.maps[side]
        weight = features.weight * self.scans[side].near_body(features.lattice)
        return FeatureMap(features.features, weight, features.lattice)
