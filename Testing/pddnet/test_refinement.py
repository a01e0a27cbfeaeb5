"""The descent on the features finds what the displacement search leaves, in every geometry."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from geometry import grids

from pddnet.grid import Grid
from pddnet.image import Image
from pddnet.lattice import sample, to_lps
from pddnet.presets import PRESETS, Refinement
from pddnet.refinement import _Rows, refined
from pddnet.scan import Affine, Scan, prepare
from pddnet.work import Work

DEFAULT = PRESETS["default"]
MIDDLE = np.array([20.0, -40.0, 310.0])  # LPS mm
LARGEST = 7.0  # mm of the planted displacement


def _planted(points: np.ndarray) -> np.ndarray:
    """(..., 3) LPS mm: where the moving scan's tissue comes from, less where it is."""
    x, y, z = np.moveaxis((points - MIDDLE) / 45.0, -1, 0)
    waves = np.stack([np.sin(y + 0.4) * np.cos(z), np.sin(z - 0.7) * np.cos(x), np.sin(x + 1.1) * np.cos(y)], -1)
    return LARGEST * waves / 1.2


def _true(points: np.ndarray) -> np.ndarray:
    """(..., 3) LPS mm: displacement from fixed to moving points, the inverse of the planted one."""
    u = np.zeros_like(points)
    for _ in range(30):
        u = -_planted(points + u)
    return u


def _tissue(points: np.ndarray) -> np.ndarray:
    """HU of a ball with blobs in it."""
    x, y, z = np.moveaxis(points - MIDDLE, -1, 0)
    hu = 60.0 + 130.0 * np.sin(x / 7) * np.sin(y / 8 + 1) * np.sin(z / 9 + 2)
    return np.where(x**2 + y**2 + z**2 < 70.0**2, hu, -1000.0)


def _scans(grid: Grid) -> tuple[Scan, Scan]:
    """Fixed and moving on a grid with the axes of `grid`, 3 x 3.5 x 4 mm."""
    shape, spacing = (42, 48, 54), np.array([3.0, 3.5, 4.0])
    origin = MIDDLE - grid.direction @ ((np.array(shape[::-1]) - 1) / 2 * spacing)
    grid = Grid(shape, spacing, origin, grid.direction)
    points = grid.points()
    volumes = (_tissue(points), _tissue(points + _planted(points)))
    return tuple(prepare(Image(hu.astype(np.float32), grid), DEFAULT.working, torch.device("cpu")) for hu in volumes)


@pytest.mark.parametrize("name", ["identity", "left-handed oblique"])
def test_a_planted_displacement_is_found(name: str) -> None:
    fixed, moving = _scans(grids()[name])
    lattice = fixed.box.isotropic(4.0, 8.0)
    field = torch.zeros(3, *lattice.shape)
    found = refined(fixed, moving, Affine.identity(), field, lattice, Refinement(iterations=80), DEFAULT, Work())
    points = lattice.points()
    inside = np.linalg.norm(points - MIDDLE, axis=-1) < 55.0
    truth = _true(points)[inside]
    before = np.linalg.norm(truth, axis=-1)
    after = np.linalg.norm(to_lps(found, lattice)[inside] - truth, axis=-1)
    assert before.mean() > 4.0
    assert after.mean() < 0.25 * before.mean()
    assert not field.any()


def test_without_steps_the_field_stays() -> None:
    fixed, moving = _scans(grids()["oblique"])
    lattice = fixed.box.isotropic(8.0, 8.0)
    field = torch.rand(3, *lattice.shape)
    same = refined(fixed, moving, Affine.identity(), field, lattice, Refinement(iterations=0), DEFAULT, Work())
    assert torch.allclose(same, field, atol=1e-4)


def test_rows_are_read_as_by_the_sampler() -> None:
    torch.manual_seed(3)
    x = torch.rand(5, 7, 1, 9, requires_grad=True)
    index = (torch.rand(3, 200) * 12 - 2).requires_grad_(True)
    ours, theirs = _Rows(x).at(index).T, sample(x, index)
    assert torch.allclose(ours, theirs, atol=1e-6)
    weight = torch.rand_like(ours)
    for one, other in zip(
        torch.autograd.grad((ours * weight).sum(), (x, index)),
        torch.autograd.grad((theirs * weight).sum(), (x, index)),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-5)
