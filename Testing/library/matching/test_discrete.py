"""One matching step: it finds a known displacement, and what a scan does not show pulls nowhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.geometry import grids
from pddnet.core.grid import Grid
from pddnet.matching.discrete import DisplacedMask, FeatureMap, centred, match
from pddnet.matching.inference import DisplacementDistribution
from pddnet.tensor.lattice import positions

SHIFT = torch.tensor([8.0, -12.0, 16.0])  # mm along D, H, W: fixed -> moving
VOXEL, REACH = 4.0, 24.0
STEPS = torch.arange(-REACH, REACH + 1, VOXEL)
SHAPE = (26, 24, 28)  # voxels of the fixed lattice
INVERSE_TEMPERATURE = 5000.0  # high: the expectation is the least cost


def _lattice(shape: tuple[int, int, int], margin: int = 0) -> Grid:
    """Oblique and left-handed, grown by `margin` voxels on every side."""
    direction = grids()["left-handed oblique"].direction
    origin = np.array([31.0, -72.0, 115.0]) - direction @ np.full(3, margin * VOXEL)
    return Grid(tuple(n + 2 * margin for n in shape), np.full(3, VOXEL), origin, direction)


def _pair(seed: int = 0) -> tuple[FeatureMap, FeatureMap]:
    """The fixed scan shows at x what the moving one shows at x + SHIFT; the moving lattice reaches REACH further."""
    margin = int(REACH / VOXEL)
    lattice = _lattice(SHAPE, margin)
    features = torch.rand(6, *lattice.shape, generator=torch.Generator().manual_seed(seed))
    start = [margin + round(float(s) / VOXEL) for s in SHIFT]
    d, h, w = (slice(a, a + n) for a, n in zip(start, SHAPE, strict=True))
    fixed = FeatureMap(features[:, d, h, w].clone(), torch.ones(SHAPE), _lattice(SHAPE))
    return fixed, FeatureMap(features, torch.ones(lattice.shape), lattice)


def _control() -> Grid:
    """Every third voxel of the fixed lattice."""
    whole = _lattice(SHAPE)
    shape = tuple((n - 2) // 3 for n in SHAPE)
    return Grid(shape, 3 * whole.spacing, whole.index_to_point([2, 2, 2]), whole.direction)


def _best(distribution: DisplacementDistribution) -> Tensor:
    """(3, nD, nH, nW): the displacement of the least cost, in mm along D, H, W."""
    best = distribution.cost.flatten(2, 4).argmin(2).permute(2, 0, 1)
    n = len(STEPS)
    return torch.stack([STEPS[best // n**2], STEPS[best // n % n], STEPS[best % n]])


def _match(fixed: FeatureMap, moving: FeatureMap) -> DisplacementDistribution:
    return match(fixed, moving, _control(), STEPS, INVERSE_TEMPERATURE)


def _off(distribution: DisplacementDistribution) -> Tensor:
    """(nD, nH, nW): mm between the expected displacement and SHIFT."""
    return (distribution.moments()[0] - SHIFT.view(3, 1, 1, 1)).norm(dim=0)


def test_a_shift_along_three_axes_is_found_exactly() -> None:
    distribution = _match(*_pair())
    assert (_best(distribution) == SHIFT.view(3, 1, 1, 1)).all()
    assert _off(distribution).max() < 0.5
    assert distribution.moments()[1].max() < 8  # mm: sure of it


def _cropped(moving: FeatureMap) -> tuple[FeatureMap, Tensor]:
    """The moving scan ends across the middle of the fixed one; beyond there is air that equals air everywhere.

    Also the rows of control points along D whose match is still shown.
    """
    end = moving.lattice.shape[0] // 2
    weight, features = moving.weight.clone(), moving.features.clone()
    weight[end:] = 0
    features[:, end:] = 0
    match_at = positions(_control(), moving.lattice)[0] + SHIFT[0] / VOXEL  # voxels along D
    return FeatureMap(features, weight, moving.lattice), match_at <= end - 1


def test_a_cropped_moving_scan_leaves_the_points_alone_whose_reach_it_shows() -> None:
    fixed, moving = _pair()
    cropped, shown = _cropped(moving)
    assert 2 < int(shown.sum()) < len(shown) - 2
    distribution = _match(fixed, cropped)
    assert torch.isfinite(distribution.cost).all()
    assert torch.isfinite(distribution.moments()[0]).all()
    assert _off(distribution)[0].max() < 0.5


def test_a_cropped_moving_scan_does_not_drag_the_points_whose_match_it_shows() -> None:
    fixed, moving = _pair()
    cropped, shown = _cropped(moving)
    assert _off(_match(fixed, cropped))[shown].max() < 0.5


@pytest.mark.parametrize("which", ["fixed", "moving"])
def test_a_scan_that_shows_nothing_has_no_preference(which: str) -> None:
    maps = dict(zip(("fixed", "moving"), _pair(), strict=True))
    blind = maps[which]
    maps[which] = FeatureMap(blind.features, torch.zeros_like(blind.weight), blind.lattice)
    mean, spread = _match(maps["fixed"], maps["moving"]).moments()
    assert mean.abs().max() < 1e-3
    uniform = float((3 * STEPS.square().mean()).sqrt())
    assert spread.min() == pytest.approx(uniform, abs=0.01)


def test_points_that_do_not_count_follow_their_neighbours() -> None:
    """In the middle of the fixed scan, noise that matches nothing: at weight 0 it does no harm."""
    fixed, moving = _pair()
    hole = (slice(10, 13), slice(9, 12), slice(12, 15))
    weight, features = fixed.weight.clone(), fixed.features.clone()
    weight[hole] = 0
    features[(slice(None), *hole)] = moving.features[:, :3, :3, :3]  # what the moving scan shows far away
    fixed = FeatureMap(features, weight, fixed.lattice)
    inside = _off(_match(fixed, moving))[3, 2, 3]  # the control point (11, 8, 11), at the edge of the hole
    assert inside < 1.0


def test_displaced_is_the_mask_at_the_nearest_voxel() -> None:
    mask = torch.rand(5, 6, 7, generator=torch.Generator().manual_seed(1)) > 0.5
    points = torch.tensor([0.0, 3.2]), torch.tensor([1.4]), torch.tensor([2.0, 4.0, 6.0])
    offsets = torch.tensor([-1.0, 0.0, 1.5]), torch.tensor([-3.0, 2.0]), torch.tensor([0.0, 1.0])
    result = DisplacedMask(mask, points, offsets).part(0, slice(0, 3))[None]
    assert result.shape == (1, 3, 3, 2, 2, 2)
    for (n_h, n_w, l_d, l_h, l_w, n_d), value in np.ndenumerate(result.numpy()):
        place = [points[0][n_d] + offsets[0][l_d], points[1][n_h] + offsets[1][l_h], points[2][n_w] + offsets[2][l_w]]
        k, j, i = (round(float(p)) for p in place)
        inside = 0 <= k < 5 and 0 <= j < 6 and 0 <= i < 7
        assert value == (inside and bool(mask[k, j, i]))


def test_columns_that_do_not_count_become_zero_without_being_computed() -> None:
    cost = torch.rand(2, 3, 3, 3, 3, 4, generator=torch.Generator().manual_seed(1))
    where = tuple(torch.linspace(1, 8, n) for n in (4, 2, 3))
    shown = DisplacedMask(torch.ones(10, 10, 10, dtype=torch.bool), where, (torch.linspace(-1, 1, 3),) * 3)
    counts = torch.ones(2, 3, 4)
    counts[1] = 0
    expected = centred(cost.clone(), shown, counts)
    assert expected[0].abs().max() > 0.1 and not expected[1].any()
    cost[1] = float("nan")
    assert torch.equal(centred(cost, shown, counts), expected)
