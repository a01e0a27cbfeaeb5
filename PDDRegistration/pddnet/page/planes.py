"""Cut volumes along anatomical planes through a patient, as a radiologist sees them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..core.field import DisplacementField
from ..core.grid import Grid
from ..core.image import Image

PIXEL_MM = 1.0
AIR_MM = 8.0  # shown around the body
# array axes of a picture in the patient's axes x, y, z (LPS): (columns, rows downwards), shown as a radiologist sees it
VIEWS = {
    "axial": ((0, +1), (1, +1), ("R", "L", "A", "P")),
    "coronal": ((0, +1), (2, -1), ("R", "L", "H", "F")),
    "sagittal": ((1, +1), (2, -1), ("A", "P", "H", "F")),
}


def plane(
    view: str, focus: np.ndarray, axes: np.ndarray, window: tuple[np.ndarray, np.ndarray], pixel_mm: float = PIXEL_MM
) -> Grid:
    """Return the plane of a view through `focus` (LPS mm) as a grid of one slice.

    axes: (3, 3), columns along the scan's x, y, z. window: (low, high) mm from the focus, (3,) each along these.
    """
    (across, right), (along, down), _ = VIEWS[view]
    low, high = window
    first = axes[:, across] * right, axes[:, along] * down
    start = [low[a] if sign > 0 else -high[a] for a, sign in ((across, right), (along, down))]
    size = [max(round((high[a] - low[a]) / pixel_mm), 1) for a in (across, along)]
    origin = focus + first[0] * start[0] + first[1] * start[1]
    direction = np.column_stack([*first, np.cross(*first)])
    return Grid((1, size[1], size[0]), np.full(3, pixel_mm), origin, direction)


def window_of(body: Image, focus: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (low, high) mm around `focus` along the axes of a grid that runs along the patient's: the body and AIR_MM.

    body: mask, above zero inside; where it is empty, its whole grid counts.
    """
    found = ndimage.find_objects((body.array > 0).astype(np.uint8))
    box = found[0] if found else tuple(slice(0, n) for n in body.grid.shape)
    ends = np.array([[part.start, part.stop - 1] for part in box[::-1]], float)
    low, high = ((body.grid.index_to_point(ends[:, side]) - focus) @ body.grid.direction for side in (0, 1))
    half = body.grid.spacing / 2 + [AIR_MM, AIR_MM, 0]
    return low - half, high + half


def scalar(image: Image, where: Grid, fill: float) -> np.ndarray:
    """Interpolate a volume linearly on a plane: (rows, columns)."""
    return image.resample(where, fill=fill).array[0]


def moving_coordinates(field: DisplacementField, axes: np.ndarray, where: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Map a plane's points to the moving scan: (rows, columns, 3) mm along its axes, and where that is known."""
    points = where.points()[0]
    return field.transform_points(points) @ axes, field.grid.contains(points)
