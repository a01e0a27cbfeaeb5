"""Paint virtual patients from a seed: CT scans with labels and landmarks, for training, tests and the sample pair.

A patient is a set of continuous functions in physical space, so that any grid shows the same patient.
No scan of a real person goes into them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..core.grid import Grid
from ..core.image import Image
from . import bowel, organs, skeleton, torso
from .body import Body, rotation
from .canvas import Canvas
from .labels import LABELS, LEFT_KIDNEY, RIGHT_KIDNEY
from .painter import Painter
from .table import paint_table

__all__ = ["LABELS", "Patient", "full_view", "random_view", "rotation", "virtual_patient"]

NOISE_STREAM, VIEW_STREAM = 3, 5  # of random numbers: the scan's noise and the view do not change the patient

FULL_EXTENT_MM, FULL_CENTRE = (440, 350, 460), (0, -8, -4)  # from the middle of the chest to the hips

TOP_MM, BOTTOM_MM = (
    (130.0, 225.0),
    (-225.0, -90.0),
)  # of a random view, common frame: it shows the liver and the kidneys
WIDTH_MM, DEPTH_MM = (370.0, 460.0), (300.0, 370.0)
PIXEL_MM = (1.6, 3.0)
SLICE_THICKNESS = (1.0, 2.5)  # in pixels
TILT_DEGREES = 12.0
TILTED, REORDERED, FLIPPED = 0.6, 0.3, 0.4  # shares of scans; FLIPPED: of axes


@dataclass(frozen=True)
class Patient:
    """Virtual scan: HU (int16) and label map (uint8, see `LABELS`), (D, H, W) on one grid; landmarks (3,) LPS mm."""

    image: Image
    labels: Image
    landmarks: dict[str, np.ndarray]


def virtual_patient(seed: int, grid: Grid | None = None, *, noise: float = 12.0) -> Patient:
    """Paint the patient of this seed as a scan on `grid` (default: `full_view`) with `noise` HU of noise.

    The landmarks are those of the whole patient, including those outside the grid.
    """
    body = Body(seed)
    grid = grid or full_view(seed)
    canvas = Canvas(body, grid)
    paint_table(canvas)
    _paint_soft_tissues(Painter(canvas))
    skeleton.paint_skeleton(canvas)
    hu = canvas.finish(np.random.default_rng([seed, NOISE_STREAM]), noise)
    return Patient(Image(hu, grid), Image(canvas.labels, grid), _landmarks(body))


def full_view(seed: int, spacing: float = 2.5) -> Grid:
    """Return the default grid, voxels of `spacing` mm along LPS: from the middle of the chest to the hips."""
    return _view(Body(seed), FULL_EXTENT_MM, (spacing,) * 3, FULL_CENTRE, np.eye(3))


def random_view(seed: int, *, patient: int, spacing: float | None = None) -> Grid:
    """Draw the grid of a scan of patient `patient` as some scanner might have taken it.

    It has a random field of view (at least from the liver to the lower kidneys), slices of 1-2.5 times the pixel size,
    a tilt of up to 12 degrees, axes stored in another order or direction. `spacing`: in-plane mm; default 1.6-3.
    """
    rng = np.random.default_rng([seed, VIEW_STREAM])
    pixel = spacing or rng.uniform(*PIXEL_MM)
    top, bottom = rng.uniform(*TOP_MM), rng.uniform(*BOTTOM_MM)
    extent = (rng.uniform(*WIDTH_MM), rng.uniform(*DEPTH_MM), top - bottom)
    tilt = rotation(rng.uniform(-TILT_DEGREES, TILT_DEGREES, 3) * (rng.random() < TILTED))
    centre = (rng.uniform(-15, 15), rng.uniform(-15, 5), (top + bottom) / 2)
    view = _view(Body(patient), extent, (pixel, pixel, pixel * rng.uniform(*SLICE_THICKNESS)), centre, tilt)
    order = rng.permutation(3) if rng.random() < REORDERED else np.arange(3)
    return _reorder_axes(view, order, rng.random(3) < FLIPPED)


def _view(
    body: Body, extent: npt.ArrayLike, spacing: npt.ArrayLike, centre: npt.ArrayLike, direction: np.ndarray
) -> Grid:
    """Return a grid of `extent` mm along its axes, centred at a point of the common frame (mm)."""
    size = np.maximum(np.round(np.divide(extent, spacing)).astype(int), 1)
    spacing = np.array(spacing, float)
    origin = body.to_table(np.array(centre, float)) - direction @ ((size - 1) / 2 * spacing)
    i, j, k = size.tolist()
    return Grid((k, j, i), spacing, origin, direction)


def _reorder_axes(grid: Grid, order: np.ndarray, flips: np.ndarray) -> Grid:
    """Return the same voxels with their axes i, j, k stored in another order, and some of them reversed."""
    origin = grid.index_to_point(np.where(flips, grid.size - 1, 0))
    direction = (grid.direction * np.where(flips, -1, 1))[:, order]
    i, j, k = grid.size[order].tolist()
    return Grid((k, j, i), grid.spacing[order], origin, direction)


def _paint_soft_tissues(painter: Painter) -> None:
    """Paint all soft tissues, from the skin inwards; a later organ is painted over an earlier one."""
    torso.paint_torso(painter)
    torso.paint_chest(painter)
    torso.paint_muscles(painter)
    bowel.paint_small_bowel(painter)
    bowel.paint_colon(painter)
    bowel.paint_bladder(painter)
    organs.paint_vessels(painter)
    organs.paint_pancreas(painter)
    bowel.paint_stomach(painter)
    organs.paint_spleen(painter)
    organs.paint_liver(painter)
    organs.paint_kidney(painter, -1, RIGHT_KIDNEY)
    organs.paint_kidney(painter, 1, LEFT_KIDNEY)


def _landmarks(body: Body) -> dict[str, np.ndarray]:
    """Return all landmarks, (3,) LPS mm on the table."""
    points = skeleton.landmarks() | organs.landmarks(body)
    return {name: body.to_table(point) for name, point in points.items()}
