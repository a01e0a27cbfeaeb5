"""The descent on the features finds what the displacement search leaves, in every geometry."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from helpers.geometry import grids
from pddnet.core.affine import Affine
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.presets import PRESETS, Refinement
from pddnet.matching.discrete import FeatureMap
from pddnet.matching.instance_optimisation import diffusion_gradient
from pddnet.matching.refinement import _lookup, _subsets, refine_field
from pddnet.tensor.execution import Work
from pddnet.tensor.lattice import sample, to_lps
from pddnet.tensor.scan import Scan, prepare

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
    return tuple(
        prepare(Image(hu.astype(np.float32), grid), DEFAULT.working_spacing_mm, torch.device("cpu")) for hu in volumes
    )


@pytest.mark.parametrize("name", ["identity", "left-handed oblique"])
def test_a_planted_displacement_is_found(name: str) -> None:
    fixed, moving = _scans(grids()[name])
    lattice = fixed.box.isotropic(4.0, 8.0)
    field = torch.zeros(3, *lattice.shape)
    found = refine_field(fixed, moving, Affine.identity(), field, lattice, Refinement(iterations=80), DEFAULT, Work())
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
    same = refine_field(fixed, moving, Affine.identity(), field, lattice, Refinement(iterations=0), DEFAULT, Work())
    assert torch.allclose(same, field, atol=1e-4)


def _maps(shape: tuple[int, int, int], channels: int = 5) -> tuple[FeatureMap, FeatureMap]:
    torch.manual_seed(3)
    lattice = Grid(shape, np.array([2.0, 3.0, 4.0]), MIDDLE, grids()["oblique"].direction)
    first, second = (FeatureMap(torch.rand(channels, *shape), torch.rand(shape), lattice) for _ in range(2))
    return first, second


def _smooth(u: torch.Tensor) -> torch.Tensor:
    """Averages of three along every axis, the border repeated."""
    padded = functional.pad(u[None], (1,) * 6, mode="replicate")
    return functional.avg_pool3d(padded, 3, 1)[0]


@pytest.mark.parametrize("shape", [(7, 8, 9), (7, 1, 9), (2, 3, 4)])
def test_the_slope_is_that_of_the_cost(shape: tuple[int, int, int]) -> None:
    here, there = _maps(shape)
    control = Grid((3, 4, 3), np.array([7.0, 8.0, 9.0]), MIDDLE, here.lattice.direction)
    spacing = torch.tensor([4.0, 3.0, 2.0])[:, None]
    seen = 0
    for part in _subsets(here, control):
        u = (torch.randn(3, *control.shape) * 4).requires_grad_(True)
        moved = part.displacements(u)
        voxels = (here.weight > 0.05).nonzero()
        mine = [v for v in voxels if (v % 3 == part._voxels[:, 0].long() % 3).all()]
        at = torch.stack(mine).T
        seen += len(mine)
        expected = sample(_smooth(u), torch.stack(_on_control(at * spacing, control)))
        assert torch.allclose(moved, expected, atol=1e-4)
        looked = sample(torch.cat([there.features, there.weight[None]]), at + moved / spacing)
        weight = here.weight[tuple(at)]
        error = (looked[:-1] - here.features[:, at[0], at[1], at[2]]).square().mean(0)
        cost = (weight / weight.sum() * looked[-1] * error).sum()
        penalty = sum(u.diff(dim=dim).square().sum() for dim in (1, 2, 3)) / u[0].numel()
        whole, by_voxel = torch.autograd.grad(cost + 0.03 * penalty, (u, moved))
        slope = part.gradient(moved.detach(), _lookup(there))
        assert torch.allclose(slope, by_voxel, atol=1e-6)
        assert torch.allclose(part.on_control(slope) + 0.03 * diffusion_gradient(u.detach()), whole, atol=1e-6)
    assert seen == int((here.weight > 0.05).sum())


def _on_control(place: torch.Tensor, control: Grid) -> list[torch.Tensor]:
    """Indices of the control grid, which begins where the lattice does, clamped as its border's value holds beyond."""
    sizes = zip(place, control.spacing[::-1], control.shape, strict=True)
    return [(axis / float(step)).clamp(0, n - 1) for axis, step, n in sizes]
