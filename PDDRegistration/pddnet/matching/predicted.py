"""Let a network predict the displacements of two aligned scans, in place of the discrete matching (`predict`)."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ..core.affine import Affine
from ..core.grid import Grid
from ..tensor.lattice import compose, resample
from ..tensor.scan import Scan


class FieldNetwork(Protocol):
    """What the registration needs of a network; those of the room `networks` have it."""

    margin_mm: float  # around the box, of the moving scan

    def displacements(self, fixed: Scan, moving: Scan, box: Grid) -> tuple[Tensor, Grid]:
        """Return a field (3, nD, nH, nW) in mm along the axes of `box`, from fixed to moving, and its control points.

        The scans lie on any grids along the axes of the box.
        """


def predict(network: FieldNetwork, fixed: Scan, moving: Scan, affine: Affine, field: Tensor, lattice: Grid) -> Tensor:
    """Predict the residual displacements of the moving scan under affine(x + u(x)), and add them to u.

    Args:
        affine: fixed to moving points, LPS mm.
        field: (3, D, H, W) u on `lattice`, mm along its array axes, as is the result.
    """
    around = fixed.box.isotropic(float(fixed.grid.spacing.min()), network.margin_mm)
    warped = moving.warped(around, affine, resample(field, lattice, around))
    found, control = network.displacements(fixed, warped, fixed.box)
    return compose(field, resample(found, control, lattice), lattice)
