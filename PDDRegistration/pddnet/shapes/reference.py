"""Make the reference deformation between two segmented patients from the shapes of their labels (`reference`).

Rohé et al. 2017, section 2 (doi:10.1007/978-3-319-66182-7_31): surfaces are matched, a spline carries the
correspondences to a grid, and its logarithm is a stationary velocity, whose exponential folds nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..core.field import DisplacementField
from ..core.grid import Grid
from ..core.result import InverseParts, Progress
from ..tensor.affine_field import fade, join, margin
from ..tensor.lattice import from_lps, to_lps
from ..tensor.velocity import both_ways_of, logarithm
from .alignment import Surfaces, align
from .correspondences import Correspondences, match
from .spline import Spline
from .surfaces import pulled_back

BORDER_MM = 8.0  # around the fixed volume, also covered by the spline
SPACING_MM = 4.0  # of the field, as in the preset `default`
_MATCHED, _CARRIED = 0.5, 0.7  # shares of the time


@dataclass(frozen=True, eq=False)
class Reference:
    """Reference deformation x -> affine(exp(v)(x)), fixed to moving points, LPS mm.

    Attributes:
        field: the deformation as displacements.
        parts: its inverse y -> exp(-v)(affine^-1(y)).
        velocity: v, mm per unit of time along LPS, on the grid of `field`.
        points: what the surfaces were matched by; `moving` already without the affine map.
    """

    field: DisplacementField
    parts: InverseParts
    velocity: DisplacementField
    points: Correspondences

    def inverse(self, moving: Grid) -> tuple[DisplacementField, float]:
        """Sample the inverse over a moving grid; and return its largest residual in mm, see `residual_of`."""
        inverse = self.parts.sampled(moving.isotropic(float(self.field.grid.spacing[0])))
        return inverse, self.field.residual_of(inverse)

    def inverse_consistency(self) -> np.ndarray:
        """Return how far from where it was every matched point ends, there and back, (N,) mm."""
        there = self.field.transform_points(self.points.fixed)
        back = self.parts.back.transform_points(self.parts.affine.inverse.points(there))
        return np.linalg.norm(back - self.points.fixed, axis=-1)


def reference(
    fixed: Surfaces, moving: Surfaces, grid: Grid, progress: Progress = lambda fraction, stage: None,
    spacing_mm: float = SPACING_MM,
) -> Reference:  # fmt: skip
    """Match the surfaces of two patients, and make the deformation of space from it.

    Args:
        fixed, moving: surfaces of the same labels.
        grid: canonical grid of the fixed label map, see `Image.canonical`.
        spacing_mm: of the field.

    Raises:
        InputError: the axes of the scans differ, see `align`, or too little is whole, see `Spline`.
        Cancelled: by `progress`.
    """
    progress(0.0, "align")
    affine = align(fixed, moving)
    back = affine.inverse
    near = {label: pulled_back(surface, back) for label, surface in moving.items()}
    points = match(fixed, near, lambda share: progress(0.1 + (_MATCHED - 0.1) * share, "match"))
    progress(_MATCHED, "spline")
    lattice = grid.isotropic(spacing_mm, BORDER_MM)
    u = Spline(points.fixed, points.moving - points.fixed)(lattice.points())
    progress(_CARRIED, "velocity")
    v, there, back_again, around = _diffeomorphic(from_lps(u.astype(np.float32), lattice), lattice, grid)
    parts = InverseParts(affine, DisplacementField(to_lps(back_again, around), around))
    velocity = DisplacementField(to_lps(v, around), around)
    return Reference(join(affine, there, around), parts, velocity, points)


@torch.no_grad()
def _diffeomorphic(u: Tensor, lattice: Grid, grid: Grid) -> tuple[Tensor, Tensor, Tensor, Grid]:
    """Return v, exp(v) and exp(-v), (3, D, H, W) mm along the axes, on a grid wide enough for u to fade out in."""
    around = grid.isotropic(float(lattice.spacing[0]), BORDER_MM + margin(u))
    v = logarithm(fade(u, lattice, around), around)
    v, there, back = both_ways_of(v, around)
    return v, there, back, around
