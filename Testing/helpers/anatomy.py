"""One anatomy, given by formulas, in scans that an affine map each takes it to: what their mean is, is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from helpers.fake_placer import tell, tell_mean
from helpers.samples import centred, direction, save
from pddnet.core.grid import Grid
from pddnet.core.image import Image

SCALES = np.array([[0.9, 1.0, 1.1], [1.1, 1.0, 0.9], [1.15, 1.0, 1.15]])  # of the scans, along x, y, z
SHIFTS = np.array([[7.0, -13.0, 29.0], [-11.0, 5.0, 2.0], [10.0, 2.0, -4.0]])  # mm
MEAN_SCALE, MEAN_SHIFT = SCALES.mean(0), SHIFTS.mean(0)
_SHAPES, _SPACINGS = ((30, 40, 26), (34, 30, 36), (36, 40, 30)), ((3.1, 2.2, 3.0), (2.6, 3.0, 2.7), (3.0, 2.4, 2.6))
RADIUS_MM = 32.0


def hu(points: np.ndarray) -> np.ndarray:
    """Values (...) at points (..., 3) of the anatomy: a ball of soft tissue that varies slowly, in air."""
    inside = 1 / (1 + np.exp((np.linalg.norm(points, axis=-1) - RADIUS_MM) / 1.5))
    tissue = 40.0 + points @ [1.0, 1.5, -2.0] + 30 * np.sin(points[..., 0] / 9)
    return np.asarray(-1000.0 + inside * (1000.0 + tissue))


def label(points: np.ndarray) -> np.ndarray:
    """Label 2 in a ball beside the centre of the anatomy."""
    return (np.linalg.norm(points - [6.0, -5.0, 8.0], axis=-1) < 14).astype(np.uint8) * 2


def scan_grid(number: int) -> Grid:
    """The grid of a scan: oblique, anisotropic, the second one left-handed."""
    axes = direction(number + 3, flipped=number == 1)
    return centred(_SHAPES[number], _SPACINGS[number], SHIFTS[number] + [1, -2, 1], axes)


def anatomy_points(number: int) -> np.ndarray:
    """The anatomy's points at the voxels of a scan."""
    return np.asarray((scan_grid(number).points() - SHIFTS[number]) / SCALES[number])


def write_scans(folder: Path, **more: dict) -> list[Path]:
    """Write the scans s0, s1, s2 and what the stand-in is told of them; more: by their names."""
    paths = []
    for number in range(len(SCALES)):
        points, name = anatomy_points(number), f"s{number}"
        noise = np.random.default_rng(number).normal(0, 3, points.shape[:-1])  # air that is measured, no padding
        image = Image((hu(points) + noise).astype(np.float32), scan_grid(number))
        paths.append(save(image, folder / f"{name}.nii.gz"))
        save(Image(label(points), image.grid), folder / f"{name}_labels.nii.gz")
        tell(paths[-1], np.diag(SCALES[number]), SHIFTS[number], **more.get(name, {}))
    tell_mean(folder, np.diag(MEAN_SCALE), MEAN_SHIFT)
    return paths


def mean_points(grid: Grid) -> np.ndarray:
    """The anatomy's points at the voxels of a grid of the mean: each lies at the mean of its places in the scans."""
    return np.asarray((grid.points() - MEAN_SHIFT) / MEAN_SCALE)
