"""PWC: the cost volume of a level by hand, and what becomes of the displacements of both levels.

Where a whole network is tested, its learned parts are replaced: the features by the coordinates of the anatomy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from helpers.geometry import rotation
from pddnet.core.grid import Grid
from pddnet.networks.base import Sizes
from pddnet.networks.pwc import LEVELS, PWC, WIDTHS, warped_costs
from pddnet.tensor.convert import to_tensor
from pddnet.tensor.lattice import to_lps
from pddnet.tensor.scan import Scan

DIRECTION = rotation(13, -21, 34) @ np.diag([-1.0, 1.0, 1.0])  # oblique and left-handed
ORIGIN = np.array([10.0, 20.0, 30.0])
SIZES = Sizes(16.0, 32.0, 5, 3, 4.0)
BOX = Grid((30, 34, 24), (6.0, 4.0, 5.0), ORIGIN, DIRECTION)
Estimate = Callable[[Tensor], Tensor]


class Places(nn.Module):
    """The anatomy's own coordinates (LPS mm) of fixed and moving scan as features, in place of learned ones."""

    def __init__(self, shift: np.ndarray) -> None:
        super().__init__()
        self.shift = shift  # fixed to moving, LPS mm

    def forward(self, images: Tensor, grids: Sequence[Grid]) -> list[Tensor]:
        points = [grids[level].points() for level in (3, *LEVELS)]
        return [to_tensor(np.moveaxis(np.stack([at, at - self.shift]), -1, 1)) for at in points]


class Planted(nn.Module):
    """Predicts what it is told, in mm along D, H, W."""

    def __init__(self, estimate: Estimate) -> None:
        super().__init__()
        self.estimate = estimate

    def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
        return self.estimate(given), given[:1].expand(WIDTHS[-1], -1, -1, -1)


def _net(shift: np.ndarray, *estimates: Estimate) -> PWC:
    net = PWC(SIZES).eval()
    net.features = Places(shift)
    net.estimators = nn.ModuleList(map(Planted, estimates))
    for parameter in net.context.parameters():
        nn.init.zeros_(parameter)
    return net


def _least_cost(reach: float) -> Estimate:
    """Take the displacement of the least cost among five per axis."""

    def estimate(given: Tensor) -> Tensor:
        steps = torch.linspace(-reach, reach, 5)
        best = given[: 5**3].argmin(0)
        return torch.stack([steps[best // 25], steps[best // 5 % 5], steps[best % 5]])

    return estimate


def _scan(grid: Grid) -> Scan:
    values = torch.ones(3, *grid.shape)
    return Scan(values, values[:0], grid, grid, grid, False)


def _row(*values: float) -> Tensor:
    return torch.tensor(values).view(1, 1, 1, -1)


def test_the_costs_of_a_level_by_hand() -> None:
    """A row of five voxels of 2 mm. The coarser field, 0 and 2 mm at the second and fourth, is 0, 0, 1, 2, 2 mm on it:
    the moving row 1, 4, 9, 16, 25 becomes 1, 4, 12.5, 25, 25."""
    lattice = Grid((1, 1, 5), (2.0,) * 3, ORIGIN, DIRECTION)
    control = Grid((1, 1, 2), (4.0, 2.0, 2.0), lattice.index_to_point([1, 0, 0]), DIRECTION)
    pair = torch.stack([_row(0.0, 2.0, 0.0, 20.0, 0.0), _row(1.0, 4.0, 9.0, 16.0, 25.0)])
    field = torch.zeros(3, 1, 1, 2)
    field[2, ..., 1] = 2.0
    found = warped_costs(pair, lattice, field, control, torch.tensor([-2.0, 0.0, 2.0]))
    assert found.shape == (27, 1, 1, 2)
    at_second = torch.tensor([(1 - 2.0) ** 2, (4 - 2.0) ** 2, (12.5 - 2.0) ** 2])
    at_fourth = torch.tensor([(12.5 - 20.0) ** 2, (25 - 20.0) ** 2, (25 - 20.0) ** 2])
    for n, costs in enumerate((at_second, at_fourth)):
        expected = (costs - costs.mean()).expand(3, 3, 3)  # along D and H the border value goes on
        assert torch.allclose(found[:, 0, 0, n].view(3, 3, 3), expected, atol=1e-4)


def test_both_levels_find_a_known_translation() -> None:
    """40, -40 and 16 mm along i, j, k: up to 32 mm of them by the coarse level, and what is left by the fine one."""
    shift = DIRECTION @ np.array([40.0, -40.0, 16.0])
    with torch.no_grad():
        found = _net(shift, _least_cost(32.0), _least_cost(16.0))(_scan(BOX), _scan(BOX), BOX)
    assert np.allclose(found.control.spacing, 8.0)
    inner = (slice(2, -2),) * 3  # nearer to the edge both together lead out of the features' margin
    assert np.abs(to_lps(found.field, found.control)[inner] - shift).max() < 1e-3
    ((coarse, control),) = found.coarse
    assert np.allclose(control.spacing, 16.0)
    expected = torch.tensor([16.0, -32.0, 32.0]).view(3, 1, 1, 1)  # along D, H, W
    assert float((coarse - expected)[:, 1:-1, 1:-1, 1:-1].abs().max()) == 0


def test_the_fine_displacements_are_composed_with_the_coarse_ones() -> None:
    """Coarse: u(x) = x / 10, x in mm from the first node; fine: r everywhere; in all r + u(x + r)."""
    residual = torch.tensor([8.0, -4.0, 6.0]).view(3, 1, 1, 1)

    def expansion(given: Tensor) -> Tensor:
        nodes = [torch.arange(float(n)) for n in given.shape[1:]]
        return 0.1 * 16.0 * torch.stack(torch.meshgrid(*nodes, indexing="ij"))

    net = _net(np.zeros(3), expansion, lambda given: residual.expand(3, *given.shape[1:]))
    with torch.no_grad():
        net.context[-1].bias.copy_(torch.tensor([0.0, 0.5, 0.0]))  # 5 mm, added at the end
        found = net(_scan(BOX), _scan(BOX), BOX)
    nodes = torch.meshgrid(*(torch.arange(float(n)) for n in found.control.shape), indexing="ij")
    expected = residual + 0.1 * (8.0 * torch.stack(nodes) + residual)
    expected[1] += 5.0
    inner = (slice(None), *(slice(1, -2),) * 3)
    assert float((found.field - expected)[inner].abs().max()) < 1e-3


def test_the_convolutions_keep_a_displacement_that_is_the_same_everywhere() -> None:
    """No normalisation takes it for nothing: fields of other size come from other input of the same everywhere."""
    torch.manual_seed(1)
    estimator = PWC(SIZES).train().estimators[0]
    given = torch.randn(5**3 + 6 + 3, 1, 1, 1).expand(-1, 9, 9, 9)
    middle = (slice(None), 4, 4, 4)
    one, other = (estimator(factor * given)[0][middle] for factor in (1.0, 3.0))
    assert float((one - other).norm().detach()) > 0.1
