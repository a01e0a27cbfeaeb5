"""Discrete matching of 2-D images is the same matching with one voxel and one displacement along the first axis."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor

from helpers.geometry import grids
from pddnet.core.grid import Grid
from pddnet.features.mind import IN_PLANE, PAIRS, mind
from pddnet.matching.cost_volume import cost_volume
from pddnet.matching.discrete import FeatureMap, match
from pddnet.matching.inference import DisplacementDistribution, mean_field, min_convolution
from pddnet.matching.instance_optimisation import _cost_gradient, optimise
from pddnet.tensor.folding import LEAST_DETERMINANT, determinant, least_determinant, remove_folding

RANGE = 5  # displacements per axis, as the tutorial's disp_range
VOXEL = 2.0


def _features(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def _slice(height: int, width: int) -> Grid:
    """One oblique, left-handed slice, thicker than its pixels."""
    direction = grids()["left-handed oblique"].direction
    return Grid((1, height, width), [VOXEL, VOXEL, 5.0], [31.0, -72.0, 115.0], direction)


def test_the_cost_volume_is_the_sum_of_squares_of_unfolded_windows() -> None:
    """Formula of the tutorial: unfold the moving features over all windows, subtract the fixed ones, square, sum."""
    channels, height, width = 3, 7, 9
    fixed, moving = _features(channels, height, width), _features(channels, height, width, seed=1)
    windows = functional.unfold(moving[:, None], RANGE, padding=RANGE // 2)  # (C, RANGE^2, H * W)
    ssd = (fixed.view(channels, 1, -1) - windows).square().sum(0).view(RANGE, RANGE, height, width)
    reach = RANGE // 2
    steps = torch.arange(-reach, reach + 1.0)
    points = torch.zeros(1), torch.arange(float(height)), torch.arange(float(width))
    cost = cost_volume(fixed[:, None], moving[:, None], points, (torch.zeros(1), steps, steps))
    assert cost.shape == (height, width, 1, RANGE, RANGE, 1)
    inner = slice(reach, -reach)  # beyond the border we repeat it, and unfold pads with zeros
    found = channels * cost[..., 0, :, :, 0].permute(2, 3, 0, 1)
    assert torch.allclose(found[..., inner, inner], ssd[..., inner, inner], atol=1e-5)


def test_a_cost_by_hand() -> None:
    """Two channels: at (1, 1), displaced by (0, +1), they differ by 3 and 1, so the mean of their squares is 5."""
    fixed, moving = torch.zeros(2, 1, 3, 3), torch.zeros(2, 1, 3, 3)
    fixed[:, 0, 1, 1] = torch.tensor([4.0, 2.0])
    moving[:, 0, 1, 2] = torch.tensor([1.0, 1.0])
    one, steps = torch.ones(1), torch.arange(-1.0, 2.0)
    cost = cost_volume(fixed[:, :, 1:2, 1:2], moving, (0 * one, one, one), (0 * one, steps, steps))
    assert cost.flatten().tolist() == pytest.approx([10, 10, 10, 10, 10, 5, 10, 10, 10], abs=1e-5)


def test_min_convolution_and_mean_field_are_those_of_images() -> None:
    height, width = 6, 4
    cost = _features(height, width, 1, RANGE, RANGE + 2, 1)
    images = cost.view(1, height * width, RANGE, RANGE + 2)
    lowest = -functional.max_pool2d(-functional.pad(images, (3,) * 4, mode="replicate"), 3, stride=1)
    average = functional.avg_pool2d(functional.avg_pool2d(lowest, 3, stride=1), 3, stride=1)
    assert torch.allclose(min_convolution(cost).view(average.shape), average, atol=1e-6)
    planes = cost.view(height, width, -1).permute(2, 0, 1)[None]
    padded = functional.pad(planes, (2,) * 4, mode="replicate")
    average = functional.avg_pool2d(functional.avg_pool2d(padded, 3, stride=1), 3, stride=1)
    found = mean_field(cost).view(height, width, -1).permute(2, 0, 1)
    assert torch.allclose(found, average[0], atol=1e-6)


def test_a_shift_in_an_oblique_slice_is_found_and_no_step_leaves_it() -> None:
    margin, shift = 6, (4, -3)  # voxels along H, W
    moving_grid = _slice(30 + 2 * margin, 34 + 2 * margin)
    start = moving_grid.index_to_point([margin, margin, 0])
    fixed_grid = Grid((1, 30, 34), moving_grid.spacing, start, moving_grid.direction)
    moving = _features(12, *moving_grid.shape)
    h, w = margin + shift[0], margin + shift[1]
    fixed = moving[:, :, h : h + 30, w : w + 34].clone()
    control = Grid((1, 9, 10), [6.0, 6.0, 5.0], fixed_grid.index_to_point([2, 2, 0]), fixed_grid.direction)
    steps = torch.arange(-6, 7) * VOXEL
    maps = (FeatureMap(x, torch.ones(g.shape), g) for x, g in ((fixed, fixed_grid), (moving, moving_grid)))
    found = match(*maps, control, steps, 5000.0)  # so cold that the expectation is the least cost
    assert found.cost.shape == (9, 10, 1, 13, 13, 1)
    expected = torch.tensor([0.0, shift[0] * VOXEL, shift[1] * VOXEL]).view(3, 1, 1, 1)
    mean, _ = found.moments()
    assert (mean - expected).norm(dim=0).max() < 0.3
    assert not mean[0].any()
    better = optimise(mean, found, smoothness=0.01, iterations=10)
    assert torch.equal(better[0], torch.zeros_like(better[0]))


def test_the_slope_of_one_displacement_is_zero_and_the_others_are_right() -> None:
    offsets = torch.zeros(1), torch.linspace(-6, 6, 5), torch.linspace(-4, 4, 3)
    cost = _features(3, 4, 1, 5, 3, 1)
    field = 3 * _features(3, 1, 3, 4, seed=2)
    found = _cost_gradient(field, DisplacementDistribution(cost, offsets))
    moved = field.clone().requires_grad_(True)
    at = torch.stack([moved[2] / 4, moved[1] / 6], -1).view(12, 1, 1, 2)
    sampled = functional.grid_sample(cost.view(12, 1, 5, 3), at, padding_mode="border", align_corners=True)
    sampled.sum().backward()
    assert not found[0].any()
    assert torch.allclose(found[1:], moved.grad[1:], atol=1e-5)


def test_mind_in_a_plane_compares_neighbours_in_the_plane_only() -> None:
    """A step of 10 above the centre of an image: two of the four pairs differ by 10, so their mean distance is 50."""
    image = torch.zeros(2, 5, 5)
    image[0, 3:] = 10
    image[1] = 700 * _features(5, 5)  # another slice, which does not matter
    features = mind(image, dilation=1, radius=0, axes=IN_PLANE)
    pairs = [pair for pair in PAIRS if not any(end[0] for end in pair)]
    assert features.shape == (4, 2, 5, 5)
    alone = mind(image[:1], dilation=1, radius=0, axes=IN_PLANE)
    expected = [np.exp(-2) if (0, 1, 0) in pair else 1.0 for pair in pairs]
    assert alone[:, 0, 2, 2].tolist() == pytest.approx(expected, rel=1e-5)


def test_determinants_of_a_plane_are_those_of_two_axes_and_folds_go() -> None:
    lattice = _slice(12, 14)
    h, w = torch.meshgrid(torch.arange(12.0), torch.arange(14.0), indexing="ij")
    field = torch.stack([0 * h, 0.3 * VOXEL * h + 0.1 * VOXEL * w, -0.2 * VOXEL * w])[:, None]
    assert torch.allclose(determinant(field, lattice), torch.full((1, 12, 14), 1.3 * 0.8), atol=1e-5)
    field[1, 0, 6, 7] += 5 * VOXEL
    assert least_determinant(field, lattice).min() < 0
    for border in (True, False):
        smooth = remove_folding(field, lattice, border=border)
        assert least_determinant(smooth, lattice).min() >= LEAST_DETERMINANT
        assert not smooth[0].any()
