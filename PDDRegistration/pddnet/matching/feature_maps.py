"""`FeatureMaps`: both scans under the map so far, as the features that are compared, on one lattice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..core.affine import Affine
from ..core.grid import Grid
from ..features.mind import CHANNELS, REACH, mind
from ..tensor.execution import Work
from ..tensor.lattice import resample
from ..tensor.pools import block_means, dilated
from ..tensor.scan import Scan
from .discrete import FeatureMap

NOISE = 20.0  # HU: differences below it mean nothing


def matched_lattice(lattice: Grid, spacing: float) -> tuple[int, Grid]:
    """How many voxels of `lattice` along each axis make one of about `spacing` mm, and the lattice of those."""
    factor = max(round(spacing / float(lattice.spacing[0])), 1)
    start = lattice.index_to_point(np.full(3, (factor - 1) / 2))
    shape = tuple(n // factor for n in lattice.shape)
    return factor, Grid(shape, lattice.spacing * factor, start, lattice.direction)


def shown(lattice: Grid, spacing: float, fixed: Scan, moving: Scan, affine: Affine, farthest: float) -> Grid:
    """The part of a lattice that either scan reaches, in whole voxels of about `spacing` mm, with as much around.

    farthest: mm, the longest displacement along an axis before the affine map (fixed to moving points).
    """
    inverse = np.linalg.inv(affine.matrix)
    theirs = Affine(inverse, -inverse @ affine.shift).points(moving.grid.corners())
    ours, theirs = (lattice.point_to_index(points) for points in (fixed.grid.corners(), theirs))
    far = farthest / lattice.spacing
    factor = matched_lattice(lattice, spacing)[0]
    around = max(factor, REACH)
    low = np.minimum(ours.min(0), theirs.min(0) - far) - around
    high = np.maximum(ours.max(0), theirs.max(0) + far) + around
    start = (np.clip(np.floor(low), 0, lattice.size - 1).astype(int) // factor) * factor
    size = np.maximum(np.minimum(np.ceil(high).astype(int) + 1, lattice.size) - start, factor)
    size = np.minimum(-(-size // factor) * factor, lattice.size - start)
    return Grid(tuple(size[::-1]), lattice.spacing, lattice.index_to_point(start), lattice.direction)


def describe(scan: Scan, codes: Tensor, spacing: float, *, similarity: bool = True) -> FeatureMap:
    """MIND of a scan, averaged within the view to about `spacing` mm, beside the codes on the `matched_lattice`.

    similarity: whether MIND takes part where there are codes.
    """

    factor, lattice = matched_lattice(scan.grid, spacing)
    features, weight = mind(scan.hu, noise=NOISE), scan.view
    if factor > 1:
        features, weight = (block_means(x, [factor] * 3) for x in (features * weight, weight))
        features = features / weight.clamp(min=0.05)
    if len(codes):
        features = torch.cat([features, codes] if similarity else [codes])
        features *= (len(features) / CHANNELS) ** 0.5  # costs are means: MIND weighs the same beside others
    return FeatureMap(features, weight, lattice)


def near_body(scan: Scan, lattice: Grid, target: Grid) -> Tensor:
    """(D, H, W) on `target`: 1 within the body and about one voxel around it."""
    return dilated(resample(scan.values[1:2], lattice, target)[0])


@dataclass(frozen=True)
class FeatureMaps:
    """Fixed and moving scan on `lattice`, and their features on the coarser lattice that goes with it."""

    lattice: Grid
    scans: tuple[Scan, Scan]
    maps: tuple[FeatureMap, FeatureMap]

    @classmethod
    def of(
        cls, fixed: Scan, moving: Scan, lattice: Grid, affine: Affine, field: Tensor | None, field_grid: Grid | None,
        spacing: float, work: Work, *, similarity: bool = True,
    ) -> FeatureMaps:  # fmt: skip
        """The scans under affine(x + u(x)); u is `field` (3, D, H, W) on `field_grid`, mm along its axes, or zero.

        Only the part of `lattice` that either scan reaches is computed. spacing, similarity: see `describe`.
        """
        lattice = shown(lattice, spacing, fixed, moving, affine, 0.0 if field is None else float(field.abs().max()))
        coarse = matched_lattice(lattice, spacing)[1]

        def moved(target: Grid) -> Tensor | None:
            return None if field is None else resample(field, field_grid, target)

        work.tick()
        scans = fixed.warped(lattice, Affine.identity()), moving.warped(lattice, affine, moved(lattice))
        work.tick()
        codes = fixed.codes_at(coarse, Affine.identity()), moving.codes_at(coarse, affine, moved(coarse))
        work.tick()
        maps = tuple(
            describe(scan, code, spacing, similarity=similarity) for scan, code in zip(scans, codes, strict=True)
        )
        return cls(lattice, scans, maps)

    def near_body(self, side: int) -> FeatureMap:
        """The features of one scan (0: fixed, 1: moving), which count within the body and about a voxel around it."""
        seen = self.maps[side]
        weight = seen.weight * near_body(self.scans[side], self.lattice, seen.lattice)
        return FeatureMap(seen.features, weight, seen.lattice)
