"""Cut label maps along planes: outlines of organs, and where most of them are seen."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.page.planes import PIXEL_MM

SMOOTHING_MM = 1.5  # sigma of outlines: half a voxel of the scans


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
