"""MIND self-similarity: a case by hand, and what must not change it."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from pddnet.features.mind import MIND_CHANNELS, PAIRS, mind


@pytest.fixture
def image() -> Tensor:
    """HU-like noise on a slope, no two axes alike."""
    noise = 80 * torch.randn(7, 9, 8, generator=torch.Generator().manual_seed(4))
    return noise + torch.arange(8) * 15 - torch.arange(9)[:, None] * 7 + torch.arange(7)[:, None, None] * 22


def test_the_twelve_pairs_are_the_adjacent_neighbours() -> None:
    assert len(set(PAIRS)) == MIND_CHANNELS == 12
    opposite = {(a, b) for a, b in PAIRS if all(p == -q for p, q in zip(a, b, strict=True))}
    assert not opposite


def test_a_step_along_one_axis_by_hand() -> None:
    """A step of 10 at the centre voxel's upper side, single-voxel patches, neighbours one voxel away.

    At the centre only the upper neighbour along D differs (by 10) from the other five, so the four pairs with it have
    distance 100, the other eight 0: the mean is 100 / 3, and the four features are exp(-3), the others exp(0) = 1.
    """
    image = torch.zeros(5, 5, 5)
    image[3:] = 10
    features = mind(image, dilation=1, radius=0)[:, 2, 2, 2]
    expected = [math.exp(-3) if (1, 0, 0) in pair else 1.0 for pair in PAIRS]
    assert features.tolist() == pytest.approx(expected, rel=1e-5)


def test_patches_are_averaged_by_hand() -> None:
    """One bright voxel, two along W: one of 27 in the patches of that neighbour."""
    image = torch.zeros(9, 9, 9)
    image[4, 4, 6] = 27.0
    features = mind(image, dilation=2, radius=1)[:, 4, 4, 4]
    # distances 27^2 / 27 = 27 for the four pairs with (0, 0, 1), else 0; mean 9; the floor on the mean is far below
    expected = [math.exp(-3) if (0, 0, 1) in pair else 1.0 for pair in PAIRS]
    assert features.tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("slope", "shift"), [(1, 500), (-1, 0), (-1, 40), (3.7, -200), (0.25, 10)])
def test_contrast_and_brightness_do_not_matter(image: Tensor, slope: float, shift: float) -> None:
    expected, result = mind(image), mind(slope * image + shift)
    assert expected.std() > 0.1
    assert torch.allclose(result, expected, atol=1e-4)


def test_flat_regions_are_ones(image: Tensor) -> None:
    assert torch.equal(mind(torch.full((4, 5, 6), -1000.0)), torch.ones(12, 4, 5, 6))
    large = torch.zeros(7, 9, 24)
    large[:, :, :8] = image
    features = mind(large, dilation=2, radius=1)
    assert torch.equal(features[:, :, :, 12:], torch.ones(12, 7, 9, 12))
    assert features[:, :, :, :8].min() < 0.2


def test_differences_below_the_noise_mean_nothing() -> None:
    quiet = torch.randn(8, 8, 8, generator=torch.Generator().manual_seed(1))
    assert mind(quiet).min() < 0.2
    assert mind(quiet, noise=20.0).min() > 0.97
    assert mind(100 * quiet, noise=20.0).min() < 0.2


def test_values_lie_between_0_and_1_and_the_largest_is_1(image: Tensor) -> None:
    features = mind(image)
    assert features.shape == (12, 7, 9, 8)
    assert features.min() >= 0
    assert torch.equal(features.amax(0), torch.ones(7, 9, 8))


def _turned(pair: tuple, order: tuple[int, ...], flips: tuple[int, ...]) -> frozenset:
    """The pair of neighbours where the axes are taken in another order and some reversed."""
    return frozenset(tuple(-n[axis] if axis in flips else n[axis] for axis in order) for n in pair)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", [(), (0,), (1, 2), (0, 1, 2)])
def test_turning_the_image_turns_the_features(image: Tensor, order: tuple[int, ...], flips: tuple[int, ...]) -> None:
    index = {frozenset(pair): i for i, pair in enumerate(PAIRS)}
    channels = torch.tensor([index[_turned(pair, order, flips)] for pair in PAIRS])
    turned = mind(image.flip(flips).permute(order))
    back = turned[channels].permute(0, *(1 + order.index(axis) for axis in range(3))).flip([f + 1 for f in flips])
    assert torch.allclose(back, mind(image), atol=1e-5)
