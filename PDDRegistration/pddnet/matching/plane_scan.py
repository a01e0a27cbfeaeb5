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
from ..features.plane_net import PLANE_SPACING, PlaneNet, codes, to_range
from ..tensor.convert import to_tensor
from ..tensor.lattice import resample, sample, to_lps
from ..tensor.pools import block_means
from .discrete import FeatureMap

UNITS_ACROSS = 400.0  # the longer side of the fixed image: in mm that of a CT of the trunk, for which settings are made
FINEST, COARSEST = 1.6, 3.2  # units between the nodes that are compared, as fine as the pixels: up to 250 across
DILATIONS = (2, 3)  # nodes: MIND of both is compared
MIND_IN_PLANE = 4 * len(DILATIONS)  # channels, which come before the learned ones
NOISE = 0.01  # of the range of values: MIND ignores smaller differences
CODE_STRENGTH = 1.0  # of the learned features beside MIND, whose channels reach from 0 to 1


@dataclass(frozen=True)
class PlaneScan:
    """2-D image on its grid in units, and its learned features, if there is a network to compute them.

    Attributes:
        values: (1, H, W), scaled to their range.
        codes: (E, 1, h, w) on `codes_grid`, times CODE_STRENGTH; E is 0 without a network.
    """

    values: Tensor
    grid: Grid
    codes: Tensor
    codes_grid: Grid

    @classmethod
    def of(cls, image: Image, units_per_mm: float, net: PlaneNet | None = None) -> PlaneScan:
        """Scale an image, average it over pixels of up to FINEST units, and compute the features of the network."""
        whole = Image(to_range(image.array), scaled(image.grid, units_per_mm))
        fine = whole.coarsen(FINEST)
        values = to_tensor(fine.array)
        if net is None:
            return cls(values, fine.grid, values.new_zeros(0, *values.shape), fine.grid)
        coarse = whole.coarsen(PLANE_SPACING).canonical()  # as the network saw slices, however this one is stored
        lattice = lattice_over(coarse.grid, PLANE_SPACING)
        seen = resample(to_tensor(coarse.array)[None], coarse.grid, lattice)[0]
        return cls(values, fine.grid, CODE_STRENGTH * codes(net, seen), lattice)

    @property
    def spacing(self) -> float:
        """Return the distance in units between the nodes at which this image is compared."""
        return min(max(FINEST, float(self.grid.spacing[:2].min())), COARSEST)

    def warped(self, lattice: Grid, affine: Affine, field: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Sample the values at affine(x + u(x)) for the nodes x of a lattice, what lies in view, and the codes.

        field: (3, 1, H, W) u on the lattice, along its array axes; None for zero. Outside, the border's value holds.
        Returns (1, H, W), (1, H, W) and (E, 1, H, W).
        """
        points = affine.points(lattice.points() + (0 if field is None else to_lps(field, lattice)))
        where = _indices(self.grid, points)
        size = where.new_tensor(self.grid.shape).view(3, 1, 1, 1)
        view = ((where >= -0.5) & (where <= size - 0.5))[1:].all(0)
        learned = sample(self.codes, _indices(self.codes_grid, points)) if len(self.codes) else self._no_codes(lattice)
        return sample(self.values[None], where)[0], view.float(), learned

    def _no_codes(self, lattice: Grid) -> Tensor:
        return self.values.new_zeros(0, *lattice.shape)


def _indices(grid: Grid, points: np.ndarray) -> Tensor:
    """Return the voxel indices (3, 1, H, W), in the order D, H, W, of points (1, H, W, 3)."""
    return to_tensor(np.moveaxis(grid.point_to_index(points)[..., ::-1], -1, 0))


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


def _features(values: Tensor, view: Tensor, learned: Tensor, lattice: Grid, factor: int) -> FeatureMap:
    """Average over factor x factor nodes, and compute MIND in the plane: with the factor it sees farther.

    The learned features follow those of MIND.
    """
    if factor > 1:
        blocks = [1, factor, factor]
        values, view, learned = (block_means(each, blocks) for each in (values, view, learned))
        start = lattice.index_to_point([(factor - 1) / 2, (factor - 1) / 2, 0])
        d, h, w = values.shape
        lattice = Grid((d, h, w), lattice.spacing * [factor, factor, 1], start, lattice.direction)
    features = [mind(values, dilation=reach, noise=NOISE, axes=IN_PLANE) for reach in DILATIONS]
    return FeatureMap(torch.cat([*features, learned]), view, lattice)


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
