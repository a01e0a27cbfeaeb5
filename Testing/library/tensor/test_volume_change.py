"""The penalty on changes of volume: its gradient against autograd and a formula, and what a descent on it does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.geometry import grids
from pddnet.core.grid import Grid
from pddnet.tensor.folding import determinant, determinant_range
from pddnet.tensor.lattice import mesh
from pddnet.tensor.volume_change import LEAST, volume_gradient

GRIDS = {name: Grid((7, 8, 9), grid.spacing, grid.origin, grid.direction) for name, grid in grids().items()}


def _penalty(u: torch.Tensor, lattice: Grid) -> torch.Tensor:
    """The mean over the cells, written out with torch's own determinant."""
    d, h, w = (float(s) for s in lattice.spacing[::-1])
    steps = [
        (u[:, 1:, :-1, :-1] - u[:, :-1, :-1, :-1]) / d,
        (u[:, :-1, 1:, :-1] - u[:, :-1, :-1, :-1]) / h,
        (u[:, :-1, :-1, 1:] - u[:, :-1, :-1, :-1]) / w,
    ]
    jacobian = torch.stack(steps, -1).movedim(0, -2) + torch.eye(3, dtype=u.dtype)
    det = torch.linalg.det(jacobian)
    bounded = det.clamp(min=LEAST)
    symmetric = bounded + 1 / bounded - 2 + (1 - 1 / LEAST**2) * (det - bounded)
    return (symmetric + (det - 1).clamp(min=0).square()).mean()


@pytest.mark.parametrize("name", GRIDS)
def test_the_gradient_is_that_of_the_penalty(name: str) -> None:
    """Three spacings, random displacements that also fold."""
    lattice = GRIDS[name]
    u = torch.randn(3, *lattice.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    u.requires_grad_(True)
    assert determinant_range(u.detach(), lattice)[0].min() < 0.0
    (expected,) = torch.autograd.grad(_penalty(u, lattice), u)
    found = volume_gradient(u.detach(), lattice)
    assert expected.abs().max() > 1e-3
    assert torch.allclose(found, expected, rtol=1e-8, atol=1e-12)


def test_a_shift_and_a_turn_cost_nothing() -> None:
    lattice = GRIDS["oblique"]
    d, h, w = mesh(lattice).double()
    turn = 0.6
    u = torch.stack([0 * d - 13.0, np.cos(turn) * h - np.sin(turn) * w - h, np.sin(turn) * h + np.cos(turn) * w - w])
    assert volume_gradient(u, lattice).abs().max() < 1e-6


def test_a_stretch_is_pulled_back_harder_than_its_inverse() -> None:
    """The slope by the logarithm of the determinant is det - 1 / det, and 2 det (det - 1) more where space expands."""
    lattice, spacing = GRIDS["left-handed"], GRIDS["left-handed"].spacing[2]
    d = mesh(lattice).double()[0]
    for factor in (2.0, 0.5):
        u = torch.stack([(factor - 1) * d, 0 * d, 0 * d])
        gradient = volume_gradient(u, lattice)[0]
        cells = np.prod(np.array(lattice.shape) - 1)
        expected = (1 - 1 / factor**2 + 2 * max(factor - 1, 0)) / (spacing * cells)
        assert gradient[-1, :-1, :-1].numpy() == pytest.approx(expected, rel=1e-4)
        assert gradient[0, :-1, :-1].numpy() == pytest.approx(-expected, rel=1e-4)
        assert gradient[1:-1, 1:-1, 1:-1].abs().max() < 1e-6


def test_a_descent_halves_the_penalty() -> None:
    """A bell that stretches its middle, and crushes what lies around it."""
    lattice = Grid((12, 12, 12), np.full(3, 8.0), np.zeros(3), np.eye(3))
    mm = mesh(lattice)
    u = 1.8 * torch.exp(-((mm - 44.0) ** 2).sum(0) / (2 * 16.0**2)) * (mm - 44.0)
    before = float(_penalty(u, lattice))
    assert determinant(u, lattice).max() > 5.0
    for _ in range(500):
        u = u - 20.0 * volume_gradient(u, lattice)
    assert float(_penalty(u, lattice)) < 0.5 * before
