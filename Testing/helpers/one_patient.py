"""A virtual patient scanned twice: parts of the body on grids of their own, other noise, and the true transform."""

from __future__ import annotations

from functools import cache

import numpy as np
import SimpleITK as sitk

from helpers.geometry import Waves, rotation, sitk_field, sitk_image
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.masks import body_mask
from pddnet.phantom.phantom import virtual_patient

SEED = 3
NOISE_HU = 15.0
TRUTH = Waves(3.0, 140.0, (8.0, -12.0, 20.0))  # fixed to moving points
PARTS = {  # of the moving scan, LPS mm: corners. Each is cut on all sides
    "slab": ((-140.0, -140.0, -165.0), (90.0, 30.0, -115.0)),
    "lung": ((-140.0, -130.0, -90.0), (-20.0, 10.0, 5.0)),
    "vertebra": ((-70.0, -95.0, -245.0), (45.0, 25.0, -160.0)),
}
MARGIN_MM = 12.0  # painted around a part, for the fixed scan, whose box is turned
_TURN = rotation(3, -4, 5) @ np.diag([-1.0, 1.0, 1.0])


def _grid(low: np.ndarray, high: np.ndarray, spacing: tuple[float, ...], direction: np.ndarray) -> Grid:
    size = np.maximum(np.round((high - low) / spacing).astype(int), 1)
    origin = (low + high) / 2 - direction @ ((size - 1) / 2 * spacing)
    return Grid(tuple(size[::-1]), spacing, origin, direction)


def _noisy(array: np.ndarray, grid: Grid, seed: int) -> Image:
    noise = np.random.default_rng(seed).normal(0, NOISE_HU, array.shape)
    return Image(np.rint(array + noise).clip(-1024, 3000).astype(np.int16), grid)


@cache
def pair(part: str) -> tuple[Image, Image]:
    """The fixed scan, warped by SimpleITK from a finely painted one, oblique and left-handed; and the moving scan.

    Every voxel is the mean of eight samples: a boundary between single ones would stand up to half a voxel aside.
    """
    low, high = (np.array(corner) for corner in PARTS[part])
    painted = _grid(low - MARGIN_MM, high + MARGIN_MM, (1.25, 1.25, 1.5), np.eye(3))
    fine = sitk_image(virtual_patient(SEED, painted, noise=0).image.array.astype(np.float32), painted)
    moving = _grid(low, high, (2.5, 2.5, 3.0), np.eye(3))
    fixed = _grid(low - TRUTH.shift + 4, high - TRUTH.shift - 4, (2.2, 2.4, 3.1), _TURN)
    return _seen(fine, fixed, truth(), 1), _seen(fine, moving, sitk.Transform(), 2)


def _seen(fine: sitk.Image, grid: Grid, transform: sitk.Transform, seed: int) -> Image:
    """Scan what `fine` shows at transform(x) for x on a grid."""
    shape = tuple(2 * n for n in grid.shape)
    eighths = Grid(shape, grid.spacing / 2, grid.index_to_point([-0.25] * 3), grid.direction)
    blank = sitk_image(np.zeros(shape, np.float32), eighths)
    array = sitk.GetArrayFromImage(sitk.Resample(fine, blank, transform, sitk.sitkLinear, -1000.0))
    d, h, w = grid.shape
    return _noisy(array.reshape(d, 2, h, 2, w, 2).mean((1, 3, 5)), grid, seed)


def truth() -> sitk.DisplacementFieldTransform:
    """The true transform for ITK, fixed to moving."""
    return sitk_field(_field())


@cache
def _field() -> DisplacementField:
    return TRUTH.field(Grid((60, 50, 56), (10.0, 10.0, 10.0), (-290, -260, -500), np.eye(3)))


def errors_mm(field: DisplacementField, fixed: Image, moving: Image, margin: float = 2.0) -> np.ndarray:
    """(N,) distances from the truth at the points of the fixed body that both scans show."""
    body = body_mask(fixed.clip(-1024, 2000).coarsen(4.0))
    points = body.grid.points()[body.array]
    points = points[_well_inside(fixed.grid, points, margin)]
    points = points[_well_inside(moving.grid, TRUTH(points), margin)]
    return np.linalg.norm(field.transform_points(points) - TRUTH(points), axis=-1)


def _well_inside(grid: Grid, points: np.ndarray, margin: float) -> np.ndarray:
    index = grid.point_to_index(points)
    return ((index >= margin) & (index <= grid.size - 1 - margin)).all(-1)
