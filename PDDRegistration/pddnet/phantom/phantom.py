"""Virtual patients: whole CT scans with labels and landmarks, from a seed. For training, tests and the sample pair.

A patient is a set of continuous functions in physical space, so that any grid shows the same patient.
No scan of a real person goes into them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.grid import Grid
from ..core.image import Image
from . import bowel, organs, skeleton, torso
from . import painter as parts
from .body import Body, rotation
from .canvas import Canvas, Tissue

LABELS: dict[int, str] = {
    parts.SPLEEN: "spleen",
    parts.RIGHT_KIDNEY: "right_kidney",
    parts.LEFT_KIDNEY: "left_kidney",
    parts.GALLBLADDER: "gallbladder",
    parts.OESOPHAGUS: "oesophagus",
    parts.LIVER: "liver",
    parts.STOMACH: "stomach",
    parts.AORTA: "aorta",
    parts.CAVA: "inferior_vena_cava",
    parts.PORTAL: "portal_and_splenic_vein",
    parts.PANCREAS: "pancreas",
    parts.BLADDER: "bladder",
    parts.RIGHT_PSOAS: "right_psoas",
    parts.LEFT_PSOAS: "left_psoas",
    parts.LUNGS: "lungs",
    parts.COLON: "colon",
    parts.SMALL_BOWEL: "small_bowel",
    parts.HEART: "heart",
    skeleton.RIBS: "ribs",
    skeleton.SACRUM: "sacrum",
    skeleton.HIPS[0]: "right_hip_bone",
    skeleton.HIPS[1]: "left_hip_bone",
    skeleton.DISCS: "discs",
    **{skeleton.FIRST_VERTEBRA_LABEL + n: f"vertebra_{name}" for n, name in enumerate(skeleton.VERTEBRAE)},
}


@dataclass(frozen=True)
class Patient:
    """A virtual scan: HU (int16), label map (uint8, see `LABELS`) on one grid, and landmarks (3,) in LPS mm."""

    image: Image
    labels: Image
    landmarks: dict[str, np.ndarray]


def virtual_patient(seed: int, grid: Grid | None = None, *, noise: float = 12.0) -> Patient:
    """The patient of this seed as a scan on `grid` (default: `full_view`) with `noise` HU of noise.

    Landmarks are those of the whole patient, also where the grid does not reach them.
    """
    body = Body(seed)
    grid = grid or full_view(seed)
    canvas = Canvas(body, grid)
    _paint_table(canvas)
    _paint_soft_tissues(parts.Painter(canvas))
    skeleton.paint_skeleton(canvas)
    hu = canvas.finish(np.random.default_rng([seed, 3]), noise)
    return Patient(Image(hu, grid), Image(canvas.labels, grid), _landmarks(body))


def full_view(seed: int, spacing: float = 2.5) -> Grid:
    """The default view: the patient from the middle of the chest to the hips, isotropic, along LPS."""
    return _view(Body(seed), (440, 350, 460), (spacing,) * 3, (0, -8, -4), np.eye(3))


def random_view(seed: int, *, patient: int, spacing: float | None = None) -> Grid:
    """A scan of patient `patient` as some scanner might have taken it.

    Random field of view (at least from the liver to the lower kidneys), slices of 1-2.5 times the pixel size, a tilt of
    up to 12 degrees, axes stored in another order or direction. `spacing`: in-plane mm; default 1.6-3.
    """
    rng = np.random.default_rng([seed, 5])
    pixel = spacing or rng.uniform(1.6, 3.0)
    top, bottom = rng.uniform(130, 225), rng.uniform(-225, -90)
    extent = (rng.uniform(370, 460), rng.uniform(300, 370), top - bottom)
    tilt = rotation(rng.uniform(-12, 12, 3) * (rng.random() < 0.6))
    centre = (rng.uniform(-15, 15), rng.uniform(-15, 5), (top + bottom) / 2)
    view = _view(Body(patient), extent, (pixel, pixel, pixel * rng.uniform(1, 2.5)), centre, tilt)
    order = rng.permutation(3) if rng.random() < 0.3 else np.arange(3)
    return _stored(view, order, rng.random(3) < 0.4)


def _view(body: Body, extent: tuple, spacing: tuple, centre: tuple, direction: np.ndarray) -> Grid:
    """A grid of `extent` mm along its axes, centred at a point of the common frame (mm)."""
    size = np.maximum(np.round(np.divide(extent, spacing)).astype(int), 1)
    origin = body.to_table(np.array(centre, float)) - direction @ ((size - 1) / 2 * spacing)
    return Grid(tuple(size[::-1]), np.array(spacing), origin, direction)


def _stored(grid: Grid, order: np.ndarray, flips: np.ndarray) -> Grid:
    """The same voxels with their axes i, j, k taken in another order and some of them reversed."""
    origin = grid.index_to_point(np.where(flips, grid.size - 1, 0))
    direction = (grid.direction * np.where(flips, -1, 1))[:, order]
    return Grid(tuple(grid.size[order][::-1]), grid.spacing[order], origin, direction)


def _paint_soft_tissues(painter: parts.Painter) -> None:
    """Everything soft, from the skin inwards; a later organ lies over an earlier one."""
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
    organs.paint_kidney(painter, -1, parts.RIGHT_KIDNEY)
    organs.paint_kidney(painter, 1, parts.LEFT_KIDNEY)


def _paint_table(canvas: Canvas) -> None:
    """The scanner's table under the patient's back: two thin shells with foam between, in the table's own frame."""
    heights = np.linspace(-220, 240, 24)
    back = canvas.body.profile("muscle_back", heights) + canvas.body.profile("fat", heights) * 0.85
    spine = canvas.body.to_table(np.column_stack([0 * heights, back, heights]))
    middle, top = spine[:, 0].mean(), spine[:, 1].max() + 3
    across, depth = np.abs(_component(canvas.grid, 0) - middle), _component(canvas.grid, 1) - top
    upper = depth + 0.0005 * across**2 - 1.5
    lower = depth - 32 + 30 * np.clip((across - 110) / 100, 0, 1)
    board = across < 215
    canvas.paint(canvas.whole, board & (upper > 1.5) & (lower < -1.5), Tissue(-965, 4))
    canvas.paint(canvas.whole, board & ((np.abs(upper) < 1.8) | (np.abs(lower) < 1.5)) & (upper > -2), Tissue(90, 30))


def _component(grid: Grid, axis: int) -> np.ndarray:
    """(D, H, W) LPS mm: x, y or z of every voxel; the others are not computed."""
    i, j, k = (np.arange(n) * step for n, step in zip(grid.size, grid.axes[axis], strict=True))
    return (grid.origin[axis] + k[:, None, None] + j[:, None] + i).astype(np.float32)


def _landmarks(body: Body) -> dict[str, np.ndarray]:
    """All landmarks in LPS mm on the table."""
    points = skeleton.landmarks() | organs.landmarks(body)
    return {name: body.to_table(point) for name, point in points.items()}
