"""Average shapes: the place of a point in the mean is the mean of its places in all scans (`mean_shape`).

Guimond, Meunier, Thirion 2000, doi:10.1006/cviu.1999.0815, section 2: the scan to which all others were registered is
moved by the mean of the displacements, so that the choice of this scan leaves no trace in the mean. Displacements from
the mean to the scans then have the mean 0 at every point: that is what unbiased means here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..core.field import DisplacementField
from ..core.grid import Grid
from ..core.image import Image

MARGIN_MM = 24.0  # around the fixed scan; the transforms of `pddnet register` reach farther
FIELD_MM = 4.0  # spacing of displacements, as of all presets


@dataclass(frozen=True, eq=False)
class MeanShape:
    """Where the mean lies, as found by one round.

    Attributes:
        grid: voxels of the new mean.
        back: from points of the new mean to those of the scan that was fixed; LPS mm.
        residual_mm: how far the new mean lies from the fixed scan, mean over the fixed body.
        least_determinant: of the map from the fixed scan to the new mean; at most 0 where it folds.
    """

    grid: Grid
    back: DisplacementField
    residual_mm: float
    least_determinant: float


def lattice_over(grid: Grid) -> Grid:
    """Make the lattice over a fixed scan on which displacements are averaged."""
    return grid.isotropic(FIELD_MM, MARGIN_MM)


def mean_shape(fields: Iterable[DisplacementField], fixed: Grid, body: Image, spacing_mm: float) -> MeanShape:
    """Find the mean shape of scans that were registered to one.

    Args:
        fields: from fixed points to those of each scan, LPS mm, all on `lattice_over(fixed)`; read one by one.
        fixed: grid of the scan to which they were registered.
        body: bool, where the fixed scan shows the patient, on any grid.
        spacing_mm: voxels of the new mean, equal along all axes; its axes are the fixed scan's.

    Raises:
        ValueError: there is no field.
    """
    mean = mean_field(fields)
    grid = moved_box(fixed, *mean.affine(), spacing_mm)
    back, _ = mean.invert(grid.isotropic(FIELD_MM, FIELD_MM))
    determinant = mean.jacobian_determinant()
    return MeanShape(grid, back, mean_length_mm(mean, body), float(determinant.min()))


def mean_field(fields: Iterable[DisplacementField]) -> DisplacementField:
    """Average displacements on one grid. Raises ValueError where there are none."""
    total, count, grid = np.zeros(0), 0, None
    for field in fields:
        total = field.array.astype(np.float64) if grid is None else total + field.array
        count, grid = count + 1, field.grid
    if grid is None:
        raise ValueError("there are no displacements to average")
    return DisplacementField((total / count).astype(np.float32), grid)


def mean_length_mm(field: DisplacementField, body: Image) -> float:
    """Return the mean length of the displacements over a body, mm."""
    lengths = np.linalg.norm(field.sample(body.grid.points()[body.array > 0]), axis=-1)
    return float(lengths.mean()) if lengths.size else 0.0


def moved_box(grid: Grid, matrix: np.ndarray, shift: np.ndarray, spacing_mm: float) -> Grid:
    """Make a grid of equal spacing along the same axes that covers where an affine map takes a grid."""
    along = (grid.corners() @ matrix.T + shift) @ grid.direction  # mm along i, j, k
    low, high = along.min(0), along.max(0)
    size = np.maximum(np.rint((high - low) / spacing_mm), 1).astype(int)
    first = (low + high) / 2 - (size - 1) / 2 * spacing_mm
    i, j, k = size.tolist()
    return Grid((k, j, i), np.full(3, spacing_mm), grid.direction @ first, grid.direction)


def from_mean(field: DisplacementField, back: DisplacementField) -> DisplacementField:
    """Join the way back from the mean to the fixed scan with the way on to another scan, on the grid of the former.

    Beyond its grid `field` keeps the displacement of its border.
    """
    points = back.grid.points() + back.array
    index = np.clip(field.grid.point_to_index(points), 0, field.grid.size - 1)
    onwards = field.sample(field.grid.index_to_point(index))
    return DisplacementField((back.array + onwards).astype(np.float32), back.grid)


def log_jacobian(field: DisplacementField, least: float = 1e-2) -> Image:
    """Compute the logarithm of the Jacobian determinant, on the field's grid: above 0 where the scan is larger.

    least: smaller determinants, and folds, count as this one.
    """
    determinant = field.jacobian_determinant()
    return Image(np.log(np.maximum(determinant, least)).astype(np.float32), field.grid)
