"""Prepare 2-D images for the matching: scale, warp, and compute their features.

Lengths are in units of the matching, see `UNITS_ACROSS`. A lattice of an image is one voxel deep.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..core.affine import Affine
from ..core.grid import Grid
from ..core.image import Image
from ..features.mind import IN_PLANE, mind
from ..tensor.convert import to_tensor
from ..tensor.lattice import resample, sample, to_lps
from ..tensor.pools import block_means
from .discrete import FeatureMap

UNITS_ACROSS = 400.0  # the longer side of the fixed image: in mm that of a CT of the trunk, for which settings are made
FINEST, COARSEST = 1.6, 3.2  # units between the nodes that are compared, as fine as the pixels: up to 250 across
DILATIONS = (2, 3)  # nodes: MIND of both is compared
NOISE = 0.01  # of the range of values: MIND ignores smaller differences
LOWEST, HIGHEST = 0.01, 0.99  # quantiles of the values that make up their range


@dataclass(frozen=True)
class PlaneScan:
    """2-D image, its values (1, H, W) scaled to their range, on its grid in units."""

    values: Tensor
    grid: Grid

    @classmethod
    def of(cls, image: Image, units_per_mm: float, spacing: float) -> PlaneScan:
        """Scale an image, and average it over pixels of up to `spacing` units."""
        values = image.array.astype(np.float32)
        low, high = np.quantile(values, (LOWEST, HIGHEST))
        if high <= low:
            low, high = values.min(), values.max()
        values = np.clip((values - low) / max(high - low, 1e-12), -0.5, 1.5)
        image = Image(values, scaled(image.grid, units_per_mm)).coarsen(spacing)
        return cls(to_tensor(image.array), image.grid)

    @property
    def spacing(self) -> float:
        """Return the distance in units between the nodes at which this image is compared."""
        return min(max(FINEST, float(self.grid.spacing[:2].min())), COARSEST)

    def warped(self, lattice: Grid, affine: Affine, field: Tensor | None) -> tuple[Tensor, Tensor]:
        """Sample the values at affine(x + u(x)) for the nodes x of a lattice, and what lies in view: (1, H, W) each.

        field: (3, 1, H, W) u on the lattice, along its array axes; None for zero. Outside, the border's value holds.
        """
        points = lattice.points() + (0 if field is None else to_lps(field, lattice))
        index = self.grid.point_to_index(affine.points(points))[..., ::-1]
        where = to_tensor(np.moveaxis(index, -1, 0))
        size = where.new_tensor(self.grid.shape).view(3, 1, 1, 1)
        view = ((where >= -0.5) & (where <= size - 0.5))[1:].all(0)
        return sample(self.values[None], where)[0], view.float()


@dataclass(frozen=True)
class PlanePair:
    """Features of the fixed image and of the warped moving one on one lattice."""

    maps: tuple[FeatureMap, FeatureMap]
    values: tuple[Tensor, Tensor]  # (1, H, W) each, before the features are averaged
    both_views: Tensor  # (1, H, W)

    def near_body(self, side: int) -> FeatureMap:
        """Return the features of one image: all of it counts."""
        return self.maps[side]

    @classmethod
    def of(
        cls, scans: tuple[PlaneScan, PlaneScan], lattice: Grid, affine: Affine, factor: int,
        field: Tensor | None = None, field_lattice: Grid | None = None,
    ) -> PlanePair:  # fmt: skip
        """Compute the features on `lattice`, and average them over factor x factor nodes.

        field: (3, 1, H, W) on `field_lattice`, applied before the affine map; None for zero.
        """
        on_lattice = None if field is None or field_lattice is None else resample(field, field_lattice, lattice)
        fixed = scans[0].warped(lattice, Affine.identity(), None)
        moving = scans[1].warped(lattice, affine, on_lattice)
        maps = _features(*fixed, lattice, factor), _features(*moving, lattice, factor)
        return cls(maps, (fixed[0], moving[0]), fixed[1] * moving[1])


def _features(values: Tensor, view: Tensor, lattice: Grid, factor: int) -> FeatureMap:
    """Average values over factor x factor nodes, and compute MIND in the plane: with the factor it sees farther."""
    if factor > 1:
        blocks = [1, factor, factor]
        values, view = block_means(values, blocks), block_means(view, blocks)
        start = lattice.index_to_point([(factor - 1) / 2, (factor - 1) / 2, 0])
        d, h, w = values.shape
        lattice = Grid((d, h, w), lattice.spacing * [factor, factor, 1], start, lattice.direction)
    features = [mind(values, dilation=reach, noise=NOISE, axes=IN_PLANE) for reach in DILATIONS]
    return FeatureMap(torch.cat(features), view, lattice)


def scaled(grid: Grid, factor: float) -> Grid:
    """Scale the lengths of a grid at z = 0 in its plane."""
    stretch = np.array([factor, factor, 1.0])
    return Grid(grid.shape, grid.spacing * stretch, grid.origin * stretch, grid.direction)


def lattice_over(grid: Grid, spacing: float, margin: float = 0.0, whole: int = 1) -> Grid:
    """Make a lattice of equal spacing over a grid at z = 0, wider by `margin` on each side, of whole x whole blocks."""
    size = np.ceil((grid.extent[:2] + 2 * margin) / spacing - 1e-6).astype(int)
    size = np.maximum(-(-size // whole) * whole, whole)
    middle = np.array([*((size - 1) / 2 * spacing), 0.0])
    return Grid((1, size[1], size[0]), [spacing, spacing, 1.0], grid.centre - grid.direction @ middle, grid.direction)
