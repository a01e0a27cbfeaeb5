"""The local contrast does not depend on brightness, hides what is out of view, and is alike on any grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from helpers.geometry import grids, inner_points
from pddnet.core.grid import Grid
from pddnet.features.local_contrast import NOISE_HU, local_contrast
from pddnet.tensor.convert import to_array, to_tensor

MIDDLE = np.array([31.0, -72.0, 115.0])
WINDOW_MM = 8.0


def _hu(points: np.ndarray) -> np.ndarray:
    """HU of waves that are longer than the voxels."""
    x, y, z = np.moveaxis(points - MIDDLE, -1, 0)
    return 80.0 * np.sin(x / 9 + 0.4) * np.cos(y / 10) + 60.0 * np.sin(z / 8 - 0.7)


def _contrast(grid: Grid, points: np.ndarray) -> np.ndarray:
    """The contrast at points (N, 3), from a grid around the middle with half its voxels."""
    shape, spacing = (70, 56, 60), grid.spacing / 2 + 0.5
    origin = MIDDLE - grid.direction @ ((np.array(shape[::-1]) - 1) / 2 * spacing)
    grid = Grid(shape, spacing, origin, grid.direction)
    hu = to_tensor(_hu(grid.points()))
    found = to_array(local_contrast(hu, torch.ones_like(hu), grid, WINDOW_MM))
    return ndimage.map_coordinates(found, grid.point_to_index(points).T[::-1], order=1)


@pytest.mark.parametrize("name", grids())
def test_it_is_the_same_on_any_grid(name: str) -> None:
    """Within what linear interpolation and the sampled window leave."""
    points = inner_points(grids()["oblique"])
    points = MIDDLE + (points - MIDDLE) * 0.5
    expected = _contrast(grids()["identity"], points)
    assert _contrast(grids()[name], points) == pytest.approx(expected, abs=0.06)
    assert np.ptp(expected) > 0.8


def test_it_is_the_intensity_less_its_mean_over_its_deviation() -> None:
    grid = Grid((41, 37, 39), (3.0, 2.5, 2.0), np.zeros(3), np.eye(3))
    hu = np.random.default_rng(2).normal(0, 150, grid.shape)
    sigma = WINDOW_MM / grid.spacing[::-1]

    def mean(x: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(x, sigma, truncate=3.0)

    centred = hu.clip(-1000, 500) - mean(hu.clip(-1000, 500))
    expected = centred / np.sqrt(mean(centred**2) + NOISE_HU**2)
    found = to_array(local_contrast(to_tensor(hu), torch.ones(grid.shape), grid, WINDOW_MM))
    inner = (slice(13, -13),) * 3
    assert found[inner] == pytest.approx(expected[inner], abs=0.01)


def test_what_is_out_of_view_does_not_count() -> None:
    grid = Grid((20, 20, 20), np.full(3, 3.0), np.zeros(3), np.eye(3))
    hu = to_tensor(np.random.default_rng(0).normal(40, 100, grid.shape))
    view = torch.zeros(grid.shape)
    view[:, :, :12] = 1.0
    other = torch.where(view > 0, hu, torch.full_like(hu, 400.0))
    seen, again = (local_contrast(x, view, grid, WINDOW_MM)[:, :, :12] for x in (hu, other))
    assert torch.equal(seen, again)


def test_brightness_does_not_count_and_noise_is_not_amplified() -> None:
    grid = Grid((20, 20, 20), np.full(3, 3.0), np.zeros(3), np.eye(3))
    view, noise = torch.ones(grid.shape), to_tensor(np.random.default_rng(0).normal(0, 1, grid.shape))
    faint = local_contrast(6.0 * noise, view, grid, WINDOW_MM)
    strong = local_contrast(150.0 * noise, view, grid, WINDOW_MM)
    assert float(faint.std()) < 0.12
    assert 0.8 < float(strong.std()) < 1.0
    assert local_contrast(150.0 * noise - 300.0, view, grid, WINDOW_MM) == pytest.approx(strong, abs=1e-3)
