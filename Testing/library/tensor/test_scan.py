"""`Scan`: seen through a map from a lattice along other axes, or along its own, which is faster."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.geometry import rotation
from pddnet.core.affine import Affine
from pddnet.core.grid import Grid
from pddnet.core.hounsfield import FEATURE_RANGE_HU
from pddnet.core.image import Image
from pddnet.tensor.convert import to_array, to_tensor
from pddnet.tensor.scan import Scan, _straight_positions, prepare, prepare_finer

SLOPES = np.array([[0.02, -0.01, 0.03], [-0.015, 0.025, 0.01]])  # of two codes, per mm along LPS
CENTRE = np.array([20.0, -140.0, -560.0])


def _grid(shape: tuple[int, int, int], spacing: list[float], turn: tuple[float, float, float], flip: list[int]) -> Grid:
    direction = rotation(*turn) @ np.diag(np.array(flip, float))
    size = np.array(shape[::-1])
    return Grid(shape, np.array(spacing), CENTRE - direction @ ((size - 1) / 2 * spacing), direction)


def _values(points: np.ndarray) -> np.ndarray:
    """(E, ...) codes that are linear in the position (..., 3)."""
    return np.moveaxis((points - CENTRE) @ SLOPES.T, -1, 0)


def _scan(codes_grid: Grid) -> Scan:
    values = torch.ones(3, *codes_grid.shape)
    codes = to_tensor(_values(codes_grid.points()))
    return Scan(values, codes, codes_grid, codes_grid, codes_grid, False)


CODES = _grid((41, 50, 46), [4.0, 3.0, 3.5], (8, -6, 11), [1, -1, 1])
AFFINE = Affine(rotation(3, 5, -4) @ np.diag([1.1, 0.9, 1.05]), np.array([3.0, -2.0, 4.0]))


def _around_centre() -> Affine:
    return Affine(AFFINE.matrix, CENTRE - AFFINE.matrix @ CENTRE + AFFINE.shift)


def test_features_follow_the_map_from_a_lattice_along_other_axes() -> None:
    affine = _around_centre()
    lattice = _grid((14, 12, 16), [3.5, 3.5, 3.5], (-5, 7, 3), [-1, 1, 1])
    rng = np.random.default_rng(1)
    along = rng.normal(0, 2, (3, *lattice.shape)).astype(np.float32)  # along D, H, W
    lps = np.moveaxis(along, 0, -1)[..., ::-1] @ lattice.direction.T
    for u, moved in ((None, 0.0), (to_tensor(along), lps)):
        expected = _values(affine.points(lattice.points() + moved))
        assert np.abs(to_array(_scan(CODES).features_at(lattice, affine, u)) - expected).max() < 1e-3


def test_on_a_coarser_lattice_they_are_averaged() -> None:
    affine = _around_centre()
    lattice = _grid((7, 6, 8), [8.0, 8.0, 8.0], (-5, 7, 3), [-1, 1, 1])
    scan = _scan(CODES)
    assert np.abs(to_array(scan.features_at(lattice, affine)) - _values(affine.points(lattice.points()))).max() < 1e-3
    noise = torch.randn(2, *CODES.shape, generator=torch.Generator().manual_seed(2))
    noisy = Scan(scan.values, noise, CODES, CODES, CODES, False).features_at(lattice, affine)
    assert 0.05 < float(noisy.std()) < 0.35  # of sixteen voxels or more each, and interpolated


def test_beyond_their_grid_they_are_zero() -> None:
    lattice = _grid((6, 6, 6), [4.0] * 3, (0, 0, 0), [1, 1, 1])
    aside = Affine(np.eye(3), np.array([400.0, 0, 0]))
    assert not _scan(CODES).features_at(lattice, aside).any()
    none = Scan(torch.ones(3, *CODES.shape), torch.zeros(0, *CODES.shape), CODES, CODES, CODES, False)
    assert none.features_at(lattice, aside).shape == (0, 6, 6, 6)


def _straight(turn: float) -> tuple[Scan, Grid, Affine]:
    """Noise on an oblique grid, a flipped lattice along its axes and beyond it, and a map that turns by degrees."""
    lattice = _grid((30, 62, 47), [2.7, 3.9, 5.1], (8, -6, 11), [-1, -1, 1])
    stretch = lattice.direction @ rotation(turn, 0, 0) @ np.diag([1.1, 0.9, 1.05]) @ lattice.direction.T
    affine = Affine(stretch, CENTRE - stretch @ CENTRE + np.array([13.0, -22.0, 4.0]))
    random = torch.Generator().manual_seed(4)
    values = torch.rand(3, *CODES.shape, generator=random) * torch.tensor([900.0, 1, 1]).view(3, 1, 1, 1) - 100
    return Scan(values, torch.randn(2, *CODES.shape, generator=random), CODES, CODES, CODES, False), lattice, affine


def test_along_its_own_axes_a_scan_looks_as_it_does_along_any() -> None:
    scan, lattice, affine = _straight(0)
    assert _straight_positions(lattice, affine, CODES, scan.values.device) is not None
    still = torch.zeros(3, *lattice.shape)  # a displacement, for which positions are worked out one by one
    expected = scan.warped(lattice, affine, still).values
    outside = expected[0] == scan.hu.min()
    assert 0.2 < outside.float().mean() < 0.8
    assert (scan.warped(lattice, affine).values - expected).abs().max() < 0.05  # of a thousand
    expected = scan.features_at(lattice, affine, still)
    assert (scan.features_at(lattice, affine) - expected).abs().max() < 1e-3
    assert expected.std() > 0.1


def test_a_map_that_turns_an_axis_is_not_taken_for_straight() -> None:
    scan, lattice, affine = _straight(0.05)
    assert _straight_positions(lattice, affine, CODES, scan.values.device) is None


def _row(hu: list[float], view: list[float]) -> Scan:
    """A scan of one row of voxels along W."""
    values = torch.tensor([hu, [1.0] * len(hu), view]).view(3, 1, 1, len(hu))
    grid = _grid((1, 1, len(hu)), [4.0, 3.0, 3.5], (8, -6, 11), [1, -1, 1])
    return Scan(values, torch.zeros(0, *grid.shape), grid, grid, grid, False)


def test_beyond_the_view_the_mean_of_what_is_in_view_around_continues() -> None:
    scan = _row([10, 20, 40, -1000, -1000, -1000, -1000], [1, 1, 1, 0, 0, 0, 0])
    extended = scan.extended(2)
    assert extended.hu.flatten().tolist() == pytest.approx([10, 20, 40, 30, 40, -1000, -1000])
    assert torch.equal(extended.values[1:], scan.values[1:])
    assert scan.hu.flatten().tolist() == [10, 20, 40, -1000, -1000, -1000, -1000]  # not changed


def test_in_view_nothing_is_filled() -> None:
    scan = _row([10, -1000, 40], [1, 1, 1])
    assert scan.extended(3) is scan


def test_what_is_filled_is_the_mean_of_the_neighbourhood_in_every_direction() -> None:
    random, reach = np.random.default_rng(5), 2
    hu, view = random.normal(0, 300, (7, 6, 8)), random.random((7, 6, 8)) < 0.3
    view[:4] = False
    grid = _grid((7, 6, 8), [4.0, 3.0, 3.5], (8, -6, 11), [1, -1, 1])
    values = to_tensor(np.stack([hu, np.ones_like(hu), view]))
    found = to_array(Scan(values, torch.zeros(0, *grid.shape), grid, grid, grid, False).extended(reach).hu)
    sizes = hu.shape
    for at in np.ndindex(sizes):
        around = np.ix_(*(np.arange(i - reach, i + reach + 1).clip(0, n - 1) for i, n in zip(at, sizes, strict=True)))
        seen = view[around]
        expected = hu[around][seen].mean() if seen.any() and not view[at] else hu[at]
        assert found[at] == pytest.approx(expected, abs=1e-2)
    assert 0.2 < np.mean(found != hu.astype(np.float32)) < 0.8


@pytest.mark.parametrize("flip", [[1, 1, 1], [1, -1, 1]])
def test_finer_voxels_have_the_body_and_the_view_of_the_coarser(flip: list[int]) -> None:
    """A ball of a linear ramp: its mean over any voxel is its value at the voxel's centre."""
    grid = _grid((60, 62, 54), [1.5, 1.4, 1.6], (8, -6, 11), flip)
    slope = np.array([1.5, -0.8, 2.0])
    from_centre = grid.points() - CENTRE
    inside = np.linalg.norm(from_centre, axis=-1) < 34
    image = Image(np.where(inside, from_centre @ slope, -1000).astype(np.float32), grid)
    mask = Image((from_centre @ grid.direction[:, 0] < 10).astype(np.uint8), grid)
    scan = prepare(image, 4.0, torch.device("cpu"), mask=mask)
    fine = prepare_finer(image, 2.0, scan)
    assert fine.grid.spacing == pytest.approx([1.5, 1.4, 1.6])  # 2 mm are less than two voxels
    assert fine.box.same_as(scan.box)
    points = fine.grid.points() - CENTRE
    deep = np.linalg.norm(points, axis=-1) < 28
    assert to_array(fine.hu)[deep] == pytest.approx((points @ slope)[deep], abs=0.01)
    assert (to_array(fine.hu)[np.linalg.norm(points, axis=-1) > 46] == FEATURE_RANGE_HU[0]).all()
    assert to_array(fine.body)[deep].min() > 0.95
    along = points @ grid.direction[:, 0]
    assert to_array(fine.view)[deep & (along < 4)].min() > 0.95
    assert to_array(fine.view)[deep & (along > 16)].max() < 0.05
    coarser = prepare_finer(image, 3.3, scan)
    assert coarser.grid.spacing == pytest.approx([3.0, 2.8, 3.2])
    points = coarser.grid.points() - CENTRE
    deep = np.linalg.norm(points, axis=-1) < 28
    assert to_array(coarser.hu)[deep] == pytest.approx((points @ slope)[deep], abs=0.01)
