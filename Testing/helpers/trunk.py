"""A small trunk as a label map on an oblique, anisotropic, left-handed grid: every organ a ball at a known place."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from helpers.geometry import rotation
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.synthesis import anatomy as anatomies
from pddnet.synthesis.anatomy import Anatomy

MIDDLE = np.array([12.0, -150.0, -600.0])  # LPS mm
NAMES = {
    2: "liver",
    3: "spleen",
    5: "kidney_left",
    6: "vertebrae_L1",
    9: "lung_lower_lobe_left",
    11: "a nameless thing",
}
ORGANS = {  # label: middle from MIDDLE in LPS mm, radius
    2: ((-38.0, -12.0, 6.0), 36.0),
    3: ((45.0, 5.0, 20.0), 24.0),
    5: ((30.0, 48.0, -24.0), 21.0),
    6: ((-8.0, 52.0, 10.0), 18.0),
    9: ((20.0, -45.0, 40.0), 26.0),
    11: ((-10.0, -50.0, -45.0), 10.0),
}


def place(label: int) -> np.ndarray:
    """LPS mm of an organ's middle."""
    return MIDDLE + ORGANS[label][0]


def oblique_grid(shape: tuple[int, int, int] = (46, 60, 62)) -> Grid:
    """Around MIDDLE; axes in another order, two of them reversed, turned by some degrees."""
    direction = (rotation(6, -5, 8) @ np.diag([-1.0, 1.0, -1.0]))[:, [2, 0, 1]]
    spacing = np.array([3.0, 3.5, 4.5])  # mm along i, j, k: nearly z, x, y
    return Grid(shape, spacing, MIDDLE - direction @ ((np.array(shape[::-1]) - 1) / 2 * spacing), direction)


def label_at(points: np.ndarray, edge: float = 0.0) -> np.ndarray:
    """The label at LPS points (..., 3); -1 nearer than `edge` mm to an organ's surface."""
    labels = np.zeros(points.shape[:-1], int)
    for label in ORGANS:
        away = np.linalg.norm(points - place(label), axis=-1) - ORGANS[label][1]
        labels[away < 0] = label
    for label in ORGANS:
        away = np.linalg.norm(points - place(label), axis=-1) - ORGANS[label][1]
        labels[np.abs(away) < edge] = -1
    return labels


def label_map(grid: Grid | None = None) -> Image:
    """The trunk's labels on a grid (default: `oblique_grid`)."""
    grid = grid or oblique_grid()
    return Image(label_at(grid.points()).astype(np.uint8), grid)


def anatomy() -> Anatomy:
    return _anatomy(anatomies.HULL_SPACING_MM)  # which some tests set to a coarser one


@cache
def _anatomy(hull_spacing: float) -> Anatomy:
    return Anatomy.of("trunk", label_map(), NAMES)


def write_anatomy(folder: Path, name: str = "trunk") -> Path:
    """NAME.nii.gz and NAME.json."""
    path = folder / f"{name}.nii.gz"
    sitk.WriteImage(label_map().to_sitk(), str(path), True)
    (folder / f"{name}.json").write_text(json.dumps(NAMES))
    return path


def ct(grid: Grid, seed: int = 0) -> Image:
    """A scan of the trunk in air: organs 40 HU apart in fat within a large ball, a little noise; int16."""
    points = grid.points()
    labels = label_at(points)
    hu = np.where(labels > 0, 40.0 * labels, -90.0) + np.random.default_rng(seed).normal(0, 8, grid.shape)
    away = np.linalg.norm((points - MIDDLE) / [1.0, 0.9, 1.3], axis=-1)
    return Image(np.where(away < 95, hu, -1000).astype(np.int16), grid)


def write_case(folder: Path, name: str, seed: int = 0, grid: Grid | None = None) -> Path:
    """FOLDER/NAME with ct.nii.gz and labels.nii.gz; FOLDER/labels.json."""
    case = folder / name
    case.mkdir(parents=True)
    grid = grid or oblique_grid()
    sitk.WriteImage(ct(grid, seed).to_sitk(), str(case / "ct.nii.gz"), True)
    sitk.WriteImage(label_map(grid).to_sitk(), str(case / "labels.nii.gz"), True)
    (folder / "labels.json").write_text(json.dumps(NAMES))
    return case
