"""Structures tell where oblique scans lie on each other, also where some of them are wrong."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from helpers.geometry import grids
from pddnet.core.grid import Grid
from pddnet.matching.structure_shift import LEAST_VOXELS, shift_of_structures
from pddnet.tensor.convert import to_tensor
from pddnet.tensor.scan import Scan

SHIFT = np.array([140.0, -75.0, 410.0])
STRENGTH = 4.0
MIDDLES = np.array([[-60.0, 20, 40], [55, -30, 10], [0, 50, -70], [30, 0, 80], [-40, -50, -20], [10, 60, 20]])


def _coded(grid: Grid, middles: np.ndarray, radius: float = 18.0) -> Scan:
    """Balls around the middles, of both signs of a channel in turn, behind a channel that does not count."""
    codes = np.zeros((1 + len(middles) // 2, *grid.shape), np.float32)
    codes[0] = 7.0
    for n, middle in enumerate(middles):
        here = np.linalg.norm(grid.points() - middle, axis=-1) < radius
        codes[1 + n // 2][here] = STRENGTH if n % 2 else -STRENGTH
    return Scan(torch.zeros(3, *grid.shape), to_tensor(codes), grid, grid, grid, False)


def _around(name: str, centre: np.ndarray) -> Grid:
    """200 to 300 mm around a point, axes as in `geometry`."""
    axes, shape, spacing = grids()[name].direction, (70, 66, 60), np.array([4.0, 4.4, 4.2])
    middle = axes @ ((np.array(shape[::-1]) - 1) / 2 * spacing)
    return Grid(shape, spacing, centre - middle, axes)


@pytest.mark.parametrize("name", grids())
def test_structures_find_the_shift_although_one_is_wrong(name: str) -> None:
    theirs = MIDDLES + SHIFT
    theirs[3] += [90.0, -40.0, 30.0]
    fixed, moving = _coded(_around(name, np.zeros(3)), MIDDLES), _coded(_around("oblique", SHIFT), theirs)
    found = shift_of_structures(fixed, moving, slice(1, 4), STRENGTH)
    assert np.linalg.norm(found - SHIFT) < 4.0  # their mean is 17 mm off
    assert np.linalg.norm(shift_of_structures(moving, fixed, slice(1, 4), STRENGTH) + SHIFT) < 4.0


def test_structures_that_one_scan_lacks_or_hardly_shows_do_not_count() -> None:
    grid = _around("left-handed oblique", np.zeros(3))
    whole = _coded(grid, MIDDLES)
    assert np.abs(shift_of_structures(whole, _coded(grid, MIDDLES[:4]), slice(1, 3), STRENGTH)).max() < 1e-6
    assert shift_of_structures(whole, _coded(grid, MIDDLES[:2]), slice(1, 2), STRENGTH) is None
    tiny = _coded(grid, MIDDLES, radius=8.0)
    assert 0 < int((tiny.features[1] > 0).sum()) < LEAST_VOXELS
    assert shift_of_structures(whole, tiny, slice(1, 4), STRENGTH) is None
    unsure = dataclasses.replace(whole, features=0.4 * whole.features)
    assert shift_of_structures(whole, unsure, slice(1, 4), STRENGTH) is None
