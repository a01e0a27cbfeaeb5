"""The correlation layer: costs by hand, their order as channels, and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.geometry import rotation
from pddnet.core.grid import Grid
from pddnet.networks import correlation as correlations
from pddnet.networks.correlation import correlation

DIRECTION = rotation(13, -21, 34) @ np.diag([-1.0, 1.0, 1.0])
STEPS = torch.tensor([-2.0, 0.0, 2.0])


def _grid(shape: tuple[int, int, int], spacing: tuple[float, ...], first: tuple[float, ...] = (0, 0, 0)) -> Grid:
    """Oblique and left-handed; `first` in voxels of 2 mm along i, j, k."""
    origin = np.array([10.0, 20.0, 30.0]) + DIRECTION @ (2.0 * np.array(first))
    return Grid(shape, spacing, origin, DIRECTION)


def test_costs_by_hand() -> None:
    """One control point on the second voxel along W of a row of three: the moving row is 1, 4, 9, the fixed value 3."""
    lattice, control = _grid((1, 1, 3), (2.0,) * 3), _grid((1, 1, 1), (2.0,) * 3, (1, 0, 0))
    fixed = torch.tensor([[[[0.0, 3.0, 0.0]]], [[[0.0, 1.0, 0.0]]]])
    moving = torch.tensor([[[[1.0, 4.0, 9.0]]], [[[1.0, 1.0, 3.0]]]])
    found = correlation(fixed, moving, lattice, control, STEPS)
    assert found.shape == (27, 1, 1, 1)
    along_w = [((1 - 3) ** 2 + 0) / 2, ((4 - 3) ** 2 + 0) / 2, ((9 - 3) ** 2 + (3 - 1) ** 2) / 2]
    expected = torch.tensor(along_w).expand(3, 3, 3).flatten()  # along D and H the border value goes on
    assert torch.allclose(found.flatten(), expected)


def test_every_channel_is_a_displacement_in_order_against_a_loop() -> None:
    torch.manual_seed(1)
    lattice, control = _grid((6, 7, 8), (2.0,) * 3), _grid((2, 2, 3), (4.0,) * 3, (2, 2, 1))
    fixed, moving = torch.rand(3, 6, 7, 8), torch.rand(3, 6, 7, 8)
    found = correlation(fixed, moving, lattice, control, STEPS)
    for channel, (d, h, w) in enumerate(np.ndindex(3, 3, 3)):
        for k, j, i in np.ndindex(2, 2, 3):
            n_i, n_j, n_k = np.rint(lattice.point_to_index(control.index_to_point([i, j, k]))).astype(int)
            gap = fixed[:, n_k, n_j, n_i] - moving[:, n_k + d - 1, n_j + h - 1, n_i + w - 1]
            assert float(found[channel, k, j, i]) == pytest.approx(float(gap.square().mean()), abs=1e-5)


def test_the_least_cost_is_that_of_a_known_translation() -> None:
    torch.manual_seed(4)
    lattice, control = _grid((10, 11, 12), (2.0,) * 3), _grid((3, 3, 3), (4.0,) * 3, (3, 3, 2))
    moving = torch.rand(4, 10, 11, 12)
    fixed = moving.roll((-1, 1, 0), (1, 2, 3))  # fixed(x) = moving(x + u), u = (2, -2, 0) mm along D, H, W
    best = correlation(fixed, moving, lattice, control, STEPS).argmin(0)
    assert (best == 2 * 9 + 0 * 3 + 1).all()


def test_pieces_change_nothing_and_gradients_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    lattice, control = _grid((6, 7, 8), (2.0,) * 3), _grid((3, 4, 3), (3.0,) * 3)
    results = []
    for cells in (1, 1 << 20):
        monkeypatch.setattr(correlations, "CELLS_AT_ONCE", cells)
        torch.manual_seed(3)
        fixed, moving = (torch.rand(2, 6, 7, 8, requires_grad=True) for _ in range(2))
        found = correlation(fixed, moving, lattice, control, STEPS)
        found.square().sum().backward()
        results.append((found.detach(), fixed.grad, moving.grad))
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
        assert float(one.abs().max()) > 0
