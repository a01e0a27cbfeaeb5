"""The refinement by local contrast finds what is known by formula, to a fraction of a voxel, in every geometry."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from helpers.geometry import rotation
from pddnet.core.affine import Affine
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.presets import PRESETS
from pddnet.errors import Cancelled
from pddnet.matching.contrast_refinement import refine_by_contrast
from pddnet.tensor.execution import Work
from pddnet.tensor.lattice import from_lps, to_lps
from pddnet.tensor.scan import Scan, prepare, prepare_finer

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
MIDDLE = np.array([20.0, -40.0, 310.0])  # LPS mm
RADIUS_MM = 58.0
ONE_PATIENT = PRESETS["followup"].one_patient
assert ONE_PATIENT is not None
LEVELS = ONE_PATIENT.levels
FIXED = rotation(11, -7, 16) @ np.diag([1.0, -1.0, 1.0])
MOVING = (rotation(-9, 12, 5) @ np.diag([-1.0, 1.0, 1.0]))[:, [2, 0, 1]]

Tissue = Callable[[np.ndarray], np.ndarray]
Map = Callable[[np.ndarray], np.ndarray]

_RANDOM = np.random.default_rng(12)
_WAVES = _RANDOM.normal(size=(24, 3))
_WAVES *= (2 * np.pi / _RANDOM.uniform(11, 34, 24) / np.linalg.norm(_WAVES, axis=1))[:, None]
_PHASES = _RANDOM.uniform(0, 6.3, 24)


def _texture(points: np.ndarray) -> np.ndarray:
    """HU of waves of 11 to 34 mm in all directions."""
    return 40.0 + 30.0 * np.cos((points - MIDDLE) @ _WAVES.T + _PHASES).sum(-1)


def _displaced(points: np.ndarray) -> np.ndarray:
    """Where fixed points (..., 3) lie in the moving scan: a shift and a bump aside of the middle, LPS mm."""
    away = points - MIDDLE - np.array([12.0, -8.0, 5.0])
    bump = np.exp(-((away / [26.0, 20.0, 30.0]) ** 2).sum(-1))[..., None]
    return points + np.array([2.0, -1.5, 1.0]) + bump * np.array([-2.5, 3.0, 3.5])


def _still(points: np.ndarray) -> np.ndarray:
    return points


def _volume(direction: np.ndarray, spacing: tuple[float, float, float], where: Map, tissue: Tissue, seed: int) -> Image:
    """A scan in which the tissue at `where(x)` is seen at x; a ball in air, with noise."""
    size = np.ceil(2 * (RADIUS_MM + 12) / np.array(spacing)).astype(int)
    grid = Grid(tuple(size[::-1]), spacing, MIDDLE - direction @ ((size - 1) / 2 * spacing), direction)
    points = where(grid.points())
    hu = np.where(np.linalg.norm(points - MIDDLE, axis=-1) < RADIUS_MM, tissue(points), -1000.0)
    return Image((hu + np.random.default_rng(seed).normal(0, 10, grid.shape)).astype(np.float32), grid)


def _refined(
    fixed: Image, moving: Image, affine: Affine | None = None, start: Map = _still, work: Work | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Points (..., 3) of the lattice, and where the refinement from affine(start(x)) maps them."""
    affine = affine or Affine.identity()
    scans = [prepare(image, 4.0, CPU) for image in (fixed, moving)]
    lattice = scans[0].box.isotropic(4.0, 8.0)
    points = lattice.points()
    u = from_lps((start(points) - points).astype(np.float32), lattice)
    given = u.clone()
    for level in LEVELS:
        both = scans if level.spacing_mm >= 4.0 else _finer((fixed, moving), scans, level.spacing_mm)
        u = refine_by_contrast(both[0], both[1], affine, u, lattice, level, work or Work())
    assert torch.equal(given, from_lps((start(points) - points).astype(np.float32), lattice))
    return points, affine.points(points + to_lps(u, lattice))


def _finer(images: tuple[Image, Image], scans: list[Scan], spacing_mm: float) -> list[Scan]:
    return [prepare_finer(image, spacing_mm, scan) for image, scan in zip(images, scans, strict=True)]


def _deep(points: np.ndarray, margin_mm: float = 8.0) -> np.ndarray:
    return np.linalg.norm(_displaced(points) - MIDDLE, axis=-1) < RADIUS_MM - margin_mm


@pytest.mark.parametrize(
    ("direction", "spacing"),
    [(np.eye(3), (2.0, 2.0, 2.0)), (FIXED, (1.3, 1.5, 2.6)), (FIXED[:, [1, 2, 0]], (2.9, 1.2, 1.4))],
)
def test_a_smooth_displacement_is_found_to_a_fraction_of_a_voxel(
    direction: np.ndarray, spacing: tuple[float, float, float]
) -> None:
    fixed = _volume(direction, spacing, _displaced, _texture, 1)
    moving = _volume(MOVING, (1.7, 2.2, 1.4), _still, _texture, 2)
    points, moved = _refined(fixed, moving)
    deep = _deep(points)
    before = np.linalg.norm((_displaced(points) - points)[deep], axis=-1)
    error = (moved - _displaced(points))[deep]
    assert before.mean() > 2.0
    assert np.linalg.norm(error, axis=-1).mean() < 0.3
    assert np.abs(error.mean(0)).max() < 0.1  # no shift of a fraction of a voxel


def test_from_the_truth_it_stays_there_and_an_affine_map_comes_after_the_field() -> None:
    affine = Affine(rotation(4, -3, 6) @ np.diag([1.03, 0.98, 1.0]), np.array([20.0, 11.0, -38.0]))
    fixed = _volume(FIXED, (1.6, 2.0, 2.2), lambda points: affine.points(_displaced(points)), _texture, 1)
    moving = _volume(MOVING, (1.7, 2.2, 1.4), _still, _texture, 2)
    moved_fixed = Affine(np.linalg.inv(affine.matrix), -np.linalg.inv(affine.matrix) @ affine.shift)
    assert np.allclose(moved_fixed.points(affine.points(MIDDLE)), MIDDLE)
    points, moved = _refined(fixed, moving, affine, _displaced)
    truth = affine.points(_displaced(points))
    deep = np.linalg.norm(truth - MIDDLE, axis=-1) < RADIUS_MM - 8
    assert deep.sum() > 1000
    assert np.linalg.norm((moved - truth)[deep], axis=-1).mean() < 0.3


HOLE, HOLE_MM = MIDDLE + np.array([10.0, -6.0, 4.0]), 17.0


def _around_the_hole(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points - HOLE, axis=-1)


def test_what_shows_no_contrast_is_carried_by_its_surroundings() -> None:
    """A shift and a slight shear, which the surroundings tell."""
    shear = np.array([[0.02, 0.03, 0.0], [0.0, -0.02, 0.02], [-0.03, 0.0, 0.01]])

    def sheared(points: np.ndarray) -> np.ndarray:
        return points + np.array([2.0, -1.5, 1.0]) + (points - MIDDLE) @ shear.T

    def tissue(points: np.ndarray) -> np.ndarray:
        return np.where(_around_the_hole(points) < HOLE_MM, 40.0, _texture(points))

    fixed = _volume(FIXED, (1.6, 2.0, 2.2), sheared, tissue, 1)
    moving = _volume(MOVING, (1.7, 2.2, 1.4), _still, tissue, 2)
    points, moved = _refined(fixed, moving)
    truth = sheared(points)
    inside = _around_the_hole(truth) < HOLE_MM - 3
    assert inside.sum() > 100
    assert np.linalg.norm((truth - points)[inside], axis=-1).mean() > 2.0
    assert np.linalg.norm((moved - truth)[inside], axis=-1).mean() < 0.5


@pytest.mark.parametrize("lesion_hu", [-100.0, 40.0, 250.0])
def test_what_one_scan_alone_shows_does_not_draw_its_surroundings(lesion_hu: float) -> None:
    def with_lesion(points: np.ndarray) -> np.ndarray:
        return np.where(_around_the_hole(points) < HOLE_MM, lesion_hu, _texture(points))

    fixed = _volume(FIXED, (1.6, 2.0, 2.2), _still, with_lesion, 1)
    moving = _volume(MOVING, (1.7, 2.2, 1.4), _still, _texture, 2)
    points, moved = _refined(fixed, moving)
    away = np.linalg.norm(moved - points, axis=-1)
    shell = (_around_the_hole(points) > HOLE_MM + 4) & (np.linalg.norm(points - MIDDLE, axis=-1) < RADIUS_MM - 8)
    assert shell.sum() > 1000
    assert away[shell].mean() < 0.15
    assert away[shell].max() < 0.8
    rim = shell & (_around_the_hole(points) < HOLE_MM + 10)
    assert away[rim].mean() < 0.5


def test_it_can_be_cancelled_between_the_steps() -> None:
    fixed = _volume(np.eye(3), (4.0, 4.0, 4.0), _still, _texture, 1)
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(1)
        if len(ticks) > 4:
            raise Cancelled("now")

    with pytest.raises(Cancelled):
        _refined(fixed, fixed, work=Work(tick=tick))
