"""Arms and table: where they lie beside a patient of known shape, and that they leave the patient alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.geometry import grids, node_points
from pddnet.phantom.table import FOAM_HU, SHELL_HU
from pddnet.synthesis.arms_and_table import add_table, arms
from pddnet.tensor.convert import to_tensor

CENTRE = np.array([31.0, -72.0, 115.0])
TRUNK, FAT = 150.0, 10.0  # mm: a round trunk along z


class Middling:
    """A generator of nothing but the middle of what is asked for."""

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2

    def normal(self, mean: float, spread: object) -> object:
        return mean + 0 * np.asarray(spread)


def _above(points: Tensor) -> Tensor:
    return (points[:2] - to_tensor(CENTRE[:2]).view(2, *[1] * (points.ndim - 1))).norm(dim=0) - TRUNK


@pytest.mark.parametrize("name", grids())
def test_arms_hang_at_both_sides_of_the_trunk(name: str) -> None:
    """Radius 43, gap 10.5 mm, and skin first found 164 mm from the middle, in steps of 4 mm: axes at 217.5 mm."""
    grid = grids()[name]
    spread = 900.0 / float((grid.size * grid.spacing).max())  # the grid, stretched over both arms
    points = CENTRE + spread * (node_points(grid) - grid.centre)
    shown = arms(to_tensor(np.moveaxis(points, -1, 0)), _above, CENTRE, FAT, Middling())
    side = np.abs(np.abs(points[..., 0] - CENTRE[0]) - 217.5)
    away = np.hypot(side, points[..., 1] - CENTRE[1])
    edges = {"skin": 43.0, "fat": 40.5, "muscle": 34.5, "bone": 11.0, "marrow": 6.0}
    assert list(shown) == list(edges)
    for material, edge in edges.items():
        clear = np.abs(away - edge) > 0.01
        assert np.array_equal(shown[material].numpy()[clear], (away < edge)[clear])
    assert 0 < shown["skin"].float().mean() < 0.2


def test_arms_lean_and_differ_with_the_seed() -> None:
    points = to_tensor(np.stack(np.meshgrid(np.linspace(-350, 350, 71), [0.0], np.linspace(-200, 200, 3))))
    points = points + to_tensor(CENTRE).view(3, 1, 1, 1)
    first, second = (arms(points, _above, CENTRE, FAT, np.random.default_rng(seed))["skin"] for seed in (1, 2))
    assert first.any() and second.any() and not torch.equal(first, second)
    assert not torch.equal(first[..., 0], first[..., 2])  # an end of the body, and the other


def _lying(columns: slice, deepest: int) -> tuple[Tensor, Tensor]:
    """Scan of soft tissue in air, and its body (D, H, W), down to a row of H."""
    body = torch.zeros(4, 40, 160, dtype=torch.bool)
    body[1:3, 5 : deepest + 1, columns] = True
    return torch.where(body, 40.0, -1000.0), body


def test_a_table_under_the_back_by_hand() -> None:
    """Voxels of 3 mm, the back at row 20: the upper shell's middle 1.5 voxels below, the lower one's 30 mm deeper. A
    shell of 3.6 mm, painted on halves of voxels, fills two halves: one each of rows 21 and 22, 31 and 32."""
    hu, body = _lying(slice(60, 101), 20)
    found = add_table(hu, body, 3.0)
    column = found[0, :, 80]  # a slice without body has the table as well
    assert (column[:21] == -1000).all()
    half = (SHELL_HU - 1000) / 2, (SHELL_HU + FOAM_HU) / 2
    assert column[[21, 22]].tolist() == pytest.approx(half)
    assert (column[23:31] == FOAM_HU).all()
    assert column[[31, 32]].tolist() == pytest.approx(half[::-1])
    assert (column[33:] == -1000).all()
    assert torch.equal(found[body], hu[body])
    shown = (found[0] > -1000).any(0).nonzero()[:, 0]
    assert (int(shown[0]), int(shown[-1])) == (80 - 71, 80 + 71)  # 215 mm, and the half voxel that is beyond


def test_the_table_follows_the_patient() -> None:
    """20 voxels to the side, three deeper."""
    here, there = (add_table(*_lying(*place), 3.0) for place in ((slice(60, 91), 20), (slice(80, 111), 23)))
    assert torch.equal(here[0, :-3, :-20], there[0, 3:, 20:])


def test_nothing_lies_on_the_table() -> None:
    hu = torch.full((2, 8, 9), -1000.0)
    assert torch.equal(add_table(hu, hu > 0, 3.0), hu)
