"""Grid on which two label maps are compared: the fixed map's, or one around both where that map was cropped.

A label map that ends where its scan ends is compared within the scan's view. One that was cropped to its labels cuts
off what the moving labels show beside them, and would flatter the overlap.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..core.field import DisplacementField
from ..core.grid import Grid
from ..core.image import Image

_CROPPED_VOXELS = 3  # a map is cropped if its labels come so near to all its sides
_LARGEST = 50_000_000  # voxels of the grid; a larger one would take gigabytes
_COARSE_MM = 8.0  # spacing at which the transform is inverted
_MOST_COARSE = 200_000  # nodes of that grid
_MARGIN_MM = 8.0  # around where the moving labels land, for what the coarse inverse misses


def grid_around_both(fixed: Image, moving: Image, transform: sitk.Transform) -> Grid:
    """Return the fixed map's grid, in whole voxels wider where the map was cropped and moving labels lie beside it.

    The grid covers the moving labels without and with the transform (fixed to moving points, LPS mm); where that would
    be too large for the memory, as of patients on different tables, with the transform only.
    """
    if not is_cropped(fixed) or not moving.array.any():
        return fixed.grid
    box = _box_of_labels(moving)
    landed = _landed(transform, box, fixed.grid)
    wide = _wider(fixed.grid, np.vstack([box.corners(), landed]))
    return wide or _wider(fixed.grid, landed) or fixed.grid


def _wider(grid: Grid, points: np.ndarray) -> Grid | None:
    """Widen a grid in whole voxels to hold points (N, 3) LPS mm; None where it would be too large."""
    index = grid.point_to_index(points)
    margin = _MARGIN_MM / grid.spacing
    low = np.minimum(np.floor(index.min(axis=0) - margin), 0).astype(int)
    high = np.maximum(np.ceil(index.max(axis=0) + margin), grid.size - 1).astype(int)
    size = high - low + 1
    if np.prod(size.astype(float)) > _LARGEST:
        return None
    if (low == 0).all() and (size == grid.size).all():
        return grid
    return Grid(tuple(size[::-1]), grid.spacing, grid.index_to_point(low), grid.direction)


def is_cropped(labels: Image) -> bool:
    """Tell whether the labels come near to all six sides of their map."""
    if not labels.array.any():
        return False
    for others in ((1, 2), (0, 2), (0, 1)):
        used = np.flatnonzero(labels.array.any(axis=others))
        size = labels.array.shape[({0, 1, 2} - set(others)).pop()]
        if used[0] > _CROPPED_VOXELS or used[-1] < size - 1 - _CROPPED_VOXELS:
            return False
    return True


def _box_of_labels(labels: Image) -> Grid:
    """Return the part of a map's grid that holds its labels."""
    used = [np.flatnonzero(labels.array.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    first = np.array([each[0] for each in used])
    shape = tuple(int(each[-1] - each[0]) + 1 for each in used)
    grid = labels.grid
    return Grid(shape, grid.spacing, grid.index_to_point(first[::-1].astype(float)), grid.direction)


def _landed(transform: sitk.Transform, box: Grid, fixed: Grid) -> np.ndarray:
    """Return where the inverse takes points spread over a box of the moving space: (N, 3) LPS mm."""
    corners = np.vstack([box.corners(), fixed.corners()])
    low, high = corners.min(axis=0), corners.max(axis=0)
    spacing = max(_COARSE_MM, float(((high - low).prod() / _MOST_COARSE) ** (1 / 3)))
    size = np.ceil((high - low) / spacing).astype(int) + 1
    field = DisplacementField.from_transform(transform, Grid(tuple(size[::-1]), np.full(3, spacing), low, np.eye(3)))
    inverse, _ = field.invert(box.isotropic(max(spacing, float(box.extent.max()) / 16), spacing))
    return inverse.transform_points(inverse.grid.points()).reshape(-1, 3)
