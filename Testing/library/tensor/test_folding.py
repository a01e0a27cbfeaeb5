"""Folds are smoothed away; what does not fold stays bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from helpers.geometry import grids
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.tensor.folding import (
    MOST_DETERMINANT,
    determinant,
    determinant_range,
    least_determinant,
    remove_folding,
)
from pddnet.tensor.lattice import along_axes, averages, mesh, to_lps

GRIDS = {name: Grid((24, 28, 26), np.full(3, 4.0), grid.origin, grid.direction) for name, grid in grids().items()}
every_grid = pytest.mark.parametrize("name", GRIDS)


def _folded(lattice: Grid) -> torch.Tensor:
    """A gentle shear, and around one place a pinch that turns space inside out."""
    d, h, w = torch.meshgrid(*(torch.arange(n) * 4.0 for n in lattice.shape), indexing="ij")
    field = torch.stack([0.1 * h, 0.05 * w - 13.0, 0.02 * d + 29.0])
    bump = torch.exp(-((d - 48) ** 2 + (h - 60) ** 2 + (w - 40) ** 2) / (2 * 10.0**2))
    return field - bump * torch.stack([d - 48, h - 60, w - 40]) * 1.6


@every_grid
def test_the_determinant_is_that_of_the_field_in_space(name: str) -> None:
    lattice = GRIDS[name]
    field = _folded(lattice)
    expected = DisplacementField(to_lps(field, lattice), lattice).jacobian_determinant()
    assert expected.min() < -0.05
    assert np.abs(determinant(field, lattice).numpy() - expected).max() < 1e-3


def test_folds_are_gone_and_the_rest_is_untouched() -> None:
    lattice = GRIDS["left-handed oblique"]
    field = _folded(lattice)
    before = determinant(field, lattice)
    assert 10 < int((before <= 0).sum()) < 200
    result = remove_folding(field, lattice)
    assert determinant(result, lattice).min() >= 0.05
    moved = (result - field).norm(dim=0)
    assert 0.5 < moved.max() < 16.0
    d, h, w = torch.meshgrid(*(torch.arange(n) * 4.0 for n in lattice.shape), indexing="ij")
    far = ((d - 48) ** 2 + (h - 60) ** 2 + (w - 40) ** 2).sqrt() > 44.0
    assert far.sum() > 5000
    assert moved[far].max() == 0.0


def test_a_field_without_folds_stays_as_it_is() -> None:
    lattice = GRIDS["oblique"]
    field = _folded(lattice) * 0.3
    assert determinant(field, lattice).min() > 0.05
    assert remove_folding(field, lattice) is field


def test_a_fold_at_the_border_goes_too() -> None:
    lattice = GRIDS["identity"]
    field = torch.zeros(3, *lattice.shape)
    field[0, 0] = 11.0  # the first plane beyond the third
    assert determinant(field, lattice).min() < 0
    assert determinant(remove_folding(field, lattice), lattice).min() >= 0.05


def test_many_folds_do_not_ruin_what_lies_between() -> None:
    """Wide averages with a sharp edge folded anew at the edge, and in the end moved everything by a centimetre."""
    grid = grids()["left-handed oblique"]
    lattice = Grid((48, 56, 52), np.full(3, 4.0), grid.origin, grid.direction)
    rng = np.random.default_rng(2)
    noise = np.stack([ndimage.gaussian_filter(rng.normal(size=lattice.shape), 4) for _ in range(3)])
    d, h, w = torch.meshgrid(*(torch.arange(n) * 4.0 for n in lattice.shape), indexing="ij")
    field = torch.tensor(400 * noise, dtype=torch.float32) + torch.stack([0.25 * d, -0.2 * h, 0.1 * w])
    assert 0.03 < (determinant(field, lattice) < 0.05).float().mean() < 0.1
    result = remove_folding(field, lattice)
    assert determinant(result, lattice).min() >= 0.05
    assert (result - field).norm(dim=0).mean() < 1.0


def test_a_fold_within_a_cell_is_seen_at_its_corners() -> None:
    lattice = Grid((6, 7, 8), np.array([4.0, 3.0, 2.0]), np.zeros(3), np.eye(3))
    field = torch.zeros(3, *lattice.shape)
    field[2, :, :, 3] = 3.0  # of 4 mm along W: 7/4 before it and 1/4 behind, 1 on average
    assert determinant(field, lattice)[:, :, 3].allclose(torch.ones(6, 7))
    assert least_determinant(field, lattice)[:, :, 3].allclose(torch.full((6, 7), 0.25))
    field[2, :, :, 3] = 4.4
    assert (determinant(field, lattice)[:, :, [2, 4]] - torch.tensor([1 + 0.55, 1 - 0.55])).abs().max() < 1e-6
    assert least_determinant(field, lattice).min().item() == pytest.approx(-0.1)
    assert least_determinant(remove_folding(field, lattice), lattice).min() >= 0.05


def test_at_every_corner_a_turn_and_a_stretch_have_their_own_determinant() -> None:
    lattice = Grid((4, 5, 6), np.array([2.0, 3.0, 4.0]), np.zeros(3), np.eye(3))
    slopes = torch.tensor([[0.2, -0.4, 0.1], [0.3, 0.5, -0.2], [-0.6, 0.1, -0.3]])
    field = torch.einsum("ij,jdhw->idhw", slopes, mesh(lattice))
    expected = torch.linalg.det(torch.eye(3) + slopes)
    assert torch.allclose(least_determinant(field, lattice), expected.expand(lattice.shape), atol=1e-5)
    assert torch.allclose(determinant(field, lattice), expected.expand(lattice.shape), atol=1e-5)


@pytest.mark.slow
def test_what_was_folded_everywhere_can_be_inverted() -> None:
    """Where space is squeezed, Newton's method goes to and fro with the Jacobian of the nearest node."""
    lattice = Grid((24, 22, 20), np.array([3.0, 4.0, 5.0]), np.array([10.0, -20.0, 30.0]), GRIDS["oblique"].direction)
    field = torch.randn(3, *lattice.shape, generator=torch.Generator().manual_seed(20))
    for _ in range(3):
        field = along_axes(field, [averages(n, 1, field) for n in lattice.shape])
    for dim, n in enumerate(lattice.shape, 1):
        fading = 1 - torch.linspace(-1, 1, n).abs() ** 4
        field *= fading.view([-1 if axis == dim else 1 for axis in range(4)])
    field = remove_folding(field * (30.0 / field.abs().max()), lattice)
    assert least_determinant(field, lattice).min() > 0.1
    _, residual = DisplacementField(to_lps(field, lattice), lattice).invert(lattice.isotropic(1.0, -8.0))
    assert residual < 2.1e-3


@every_grid
def test_an_expansion_beyond_the_bound_is_smoothed_and_the_rest_stays(name: str) -> None:
    """A bell that stretches its middle 3.4-fold along every axis; one bound allows that, the other does not."""
    lattice = GRIDS[name]
    mm = mesh(lattice)
    middle = torch.tensor([44.0, 56.0, 48.0]).view(3, 1, 1, 1)
    bell = torch.exp(-((mm - middle) ** 2).sum(0) / (2 * 12.0**2))
    field = 2.4 * bell * (mm - middle)
    field = remove_folding(field, lattice)
    assert determinant_range(field, lattice)[1].max() > 12.0
    assert remove_folding(field, lattice, most=60.0) is field
    result = remove_folding(field, lattice, most=MOST_DETERMINANT)
    least, greatest = determinant_range(result, lattice)
    assert greatest.max() <= 8.0
    assert least.min() >= 0.1
    far = (mm - middle).norm(dim=0) > 50.0
    assert far.sum() > 3000
    assert (result - field)[:, far].abs().max() == 0.0
