"""Exponentials and logarithms of velocity fields: against formulas, matrix exponentials, and each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from helpers import geometry
from pddnet.core.affine import Affine
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.result import InverseParts
from pddnet.tensor.affine_field import fade, join
from pddnet.tensor.folding import least_determinant
from pddnet.tensor.lattice import from_lps, mesh, to_lps
from pddnet.tensor.velocity import both_ways, exponential, logarithm

GRIDS = {name: grid.isotropic(4.0, 30.0) for name, grid in geometry.grids().items()}
every_grid = pytest.mark.parametrize("name", GRIDS)
WAVES = geometry.Waves(length=180.0, shift=(0.0, 0.0, 0.0))


def _inner(lattice: Grid, margin_mm: float) -> np.ndarray:
    """(N, 3) LPS mm of the nodes at least `margin_mm` inside the lattice."""
    n = round(margin_mm / 4.0)
    return lattice.points()[n:-n, n:-n, n:-n].reshape(-1, 3)


def _whole(lattice: Grid) -> torch.Tensor:
    """Displacements of up to 8 mm about the middle, which have faded to zero at the lattice's border."""
    points = lattice.points()
    index = lattice.point_to_index(points) / (lattice.size - 1)
    bell = np.prod(np.sin(np.pi * np.clip(index, 0, 1)) ** 2, axis=-1, keepdims=True)
    return from_lps(3.0 * bell * WAVES.displacement(points), lattice)


@every_grid
def test_the_flow_along_a_linear_velocity_is_the_matrix_exponential(name: str) -> None:
    lattice = GRIDS[name]
    rate = np.array([[0.1, 0.2, -0.05], [-0.25, -0.08, 0.1], [0.05, -0.1, 0.12]])
    velocity = (lattice.points() - lattice.centre) @ rate.T
    found = DisplacementField(to_lps(exponential(from_lps(velocity, lattice), lattice), lattice), lattice)
    points = _inner(lattice, 24.0)
    expected = (points - lattice.centre) @ expm(rate).T + lattice.centre
    assert np.linalg.norm(expected - points, axis=-1).max() > 3.0
    assert np.abs(found.transform_points(points) - expected).max() < 0.01


@every_grid
def test_the_logarithm_gives_the_field_back(name: str) -> None:
    lattice = GRIDS[name]
    u = _whole(lattice)
    forward = exponential(logarithm(u, lattice), lattice)
    assert u.norm(dim=0).max() > 7.0
    away = (forward - u).norm(dim=0)
    assert away.mean() < 0.01
    assert away.max() < 0.15


@every_grid
def test_the_joined_transform_and_its_inverse_undo_each_other(name: str) -> None:
    """On an oblique grid, between nodes, after a shear; also across the margin in which the field fades."""
    lattice = GRIDS[name]
    field = from_lps(WAVES.displacement(lattice.points()), lattice)
    grid = lattice.isotropic(4.0, 24.0)
    inner = fade(field, lattice, grid)
    there, back = both_ways(logarithm(inner, grid), grid)
    matrix, centre = geometry.SHEARED.matrix, geometry.SHEARED.centre
    affine = Affine(matrix, centre + geometry.SHEARED.shift - matrix @ centre)
    forward = join(affine, there, grid)
    inverse = InverseParts(affine, DisplacementField(to_lps(back, grid), grid))
    points = geometry.inner_points(grid, 4000, margin=1.0)
    landed = forward.transform_points(points)
    assert np.linalg.norm(landed - points, axis=-1).min() > 5.0
    around = lattice.isotropic(4.0, 80.0)
    returned = inverse.sampled(around).transform_points(landed)
    error, kept = np.linalg.norm(returned - points, axis=-1), lattice.isotropic(4.0, -8.0).contains(points)
    assert error[kept].mean() < 0.03
    assert np.percentile(error[kept], 99) < 0.1
    assert error.max() < 0.5  # at the kinks where the fading begins
    assert 0.0 < forward.residual_of(inverse.sampled(around)) < 0.5
    apart = np.linalg.norm(affine.inverse.points(landed[kept]) - WAVES(points[kept]), axis=-1)
    assert np.median(apart) < 0.1
    assert forward.jacobian_determinant().min() > 0.0


def test_a_field_that_crushes_and_stretches_becomes_one_that_does_not_fold() -> None:
    """Opposite steps of 30 mm within 8 mm: no smooth flow follows them exactly."""
    lattice = GRIDS["left-handed oblique"]
    mm = mesh(lattice)
    middle = mm.amax((1, 2, 3), keepdim=True) / 2
    bell = torch.exp(-((mm - middle) ** 2).sum(0) / (2 * 20.0**2))
    wall = torch.tanh((mm[2] - middle[2]) / 4.0)
    u = torch.stack([15.0 * wall * bell, 0 * bell, -12.0 * wall * bell])
    assert least_determinant(u, lattice).min() < 0.0
    there, back = both_ways(logarithm(u, lattice), lattice)
    assert least_determinant(there, lattice).min() > 0.0
    assert least_determinant(back, lattice).min() > 0.0
    assert (there - u).norm(dim=0).mean() < 0.5


def test_nothing_stays_nothing() -> None:
    lattice = GRIDS["oblique"]
    still = torch.zeros(3, *lattice.shape)
    assert logarithm(still, lattice).abs().max() == 0.0
    assert exponential(still, lattice).abs().max() == 0.0
