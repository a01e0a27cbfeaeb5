"""Cut volumes and label maps along anatomical planes through a patient."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.masks import body_mask

PIXEL_MM = 1.0
SMOOTHING_MM = 1.5  # sigma of outlines: half a voxel of the scans
AIR_MM = 8.0  # shown around the body
# array axes of a picture in the patient's axes x, y, z (LPS): (columns, rows downwards), shown as a radiologist sees it
VIEWS = {
    "axial": ((0, +1), (1, +1), ("R", "L", "A", "P")),
    "coronal": ((0, +1), (2, -1), ("R", "L", "H", "F")),
    "sagittal": ((1, +1), (2, -1), ("A", "P", "H", "F")),
}


def plane(view: str, focus: np.ndarray, axes: np.ndarray, window: tuple[np.ndarray, np.ndarray]) -> Grid:
    """Return the plane of a view through `focus` (LPS mm) as a grid of one slice.

    axes: (3, 3), columns along the scan's x, y, z. window: (low, high) mm from the focus, (3,) each along these.
    """
    (across, right), (along, down), _ = VIEWS[view]
    low, high = window
    first = axes[:, across] * right, axes[:, along] * down
    start = [low[a] if sign > 0 else -high[a] for a, sign in ((across, right), (along, down))]
    size = [max(round((high[a] - low[a]) / PIXEL_MM), 1) for a in (across, along)]
    origin = focus + first[0] * start[0] + first[1] * start[1]
    direction = np.column_stack([*first, np.cross(*first)])
    return Grid((1, size[1], size[0]), np.full(3, PIXEL_MM), origin, direction)


def window_of(image: Image, focus: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (low, high) mm around `focus` along the axes of a canonical image: the body and AIR_MM of air."""
    coarse = image.coarsen(4.0)
    found = ndimage.find_objects(body_mask(coarse).array.astype(np.uint8))
    body = found[0] if found else tuple(slice(0, n) for n in coarse.grid.shape)
    ends = np.array([[part.start, part.stop - 1] for part in body[::-1]], float)
    low, high = (coarse.grid.index_to_point(ends[:, side]) for side in (0, 1))
    half = coarse.grid.spacing / 2 + [AIR_MM, AIR_MM, 0]
    return tuple((np.array([low, high]) - focus) @ image.grid.direction + [-half, half])


def scalar(image: Image, where: Grid, fill: float) -> np.ndarray:
    """Interpolate a volume linearly on a plane: (rows, columns)."""
    return image.resample(where, fill=fill).array[0]


def shares(organs: Image, where: Grid) -> dict[int, np.ndarray]:
    """Return each organ's share 0..1 on a plane, (rows, columns), by number; a contour at 0.5 is its smooth outline."""
    index = np.moveaxis(organs.grid.point_to_index(where.points()[0]), -1, 0)[::-1]
    first = [max(int(i.min()) - 1, 0) for i in index]
    slab = organs.array[tuple(slice(f, max(int(i.max()) + 3, f + 1)) for f, i in zip(first, index, strict=True))]
    if not slab.size:
        return {}
    index = index - np.reshape(first, (3, 1, 1))
    sampled = {n: ndimage.map_coordinates((slab == n).astype(np.float32), index, order=1) for n in np.unique(slab) if n}
    smooth = {int(n): ndimage.gaussian_filter(share, SMOOTHING_MM / PIXEL_MM) for n, share in sampled.items()}
    return {n: share for n, share in smooth.items() if share.max() > 0.5}


def moving_coordinates(field: DisplacementField, axes: np.ndarray, where: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Map a plane's points to the moving scan: (rows, columns, 3) mm along its axes, and where that is known."""
    points = where.points()[0]
    return field.transform_points(points) @ axes, field.grid.contains(points)


def busiest_point(organs: Image) -> np.ndarray:
    """Return the point, LPS mm, whose three planes cut most organs widest. `organs`: a number per organ, else 0."""
    index = [_busiest(organs.array, 2 - axis) for axis in range(3)]
    return organs.grid.index_to_point(np.array(index))


def _busiest(array: np.ndarray, axis: int) -> int:
    score = np.zeros(array.shape[axis])
    for number in np.unique(array[array > 0]):
        area = (array == number).sum(axis=tuple(a for a in range(3) if a != axis)).astype(float)
        score += ndimage.gaussian_filter1d(area / area.max(), 1)
    return int(np.argmax(score))
