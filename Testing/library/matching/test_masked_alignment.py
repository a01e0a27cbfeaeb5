"""Two masks that hide most of both scans are laid centre on centre where what they show is not alike."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from helpers import samples
from helpers.geometry import grids
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.masks import mask_centre, masks_shift
from pddnet.core.presets import PRESETS
from pddnet.pipeline import register

IDLE = dataclasses.replace(PRESETS["mind"], stages=(), refinement=None, one_patient=None)  # ends where it starts
HERE, THERE = samples.FIXED.centre + [4.0, -5.0, 3.0], samples.MOVING.centre + [-6.0, 2.0, 5.0]


def _mask(side: str, radius_mm: float = 13.0) -> Image:
    grid, centre = (samples.FIXED, HERE) if side == "fixed" else (samples.MOVING, THERE)
    return Image(samples.ball(grid, centre, radius_mm).astype(np.uint8), grid)


@pytest.mark.parametrize("name", grids())
def test_the_centre_of_a_mask_is_where_its_voxels_are(name: str) -> None:
    grid = grids()[name]
    array = np.zeros(grid.shape, np.uint8)
    array[2, 3, 4] = array[4, 3, 4] = array[3, 8, 10] = 5
    expected = grid.index_to_point(np.array([[4.0, 3, 2], [4, 3, 4], [10, 8, 3]])).mean(0)
    assert mask_centre(Image(array, grid)) == pytest.approx(expected)
    assert mask_centre(Image(array * 0, grid)) is None


def test_a_shift_needs_both_masks() -> None:
    assert masks_shift(_mask("fixed"), None) is None
    assert masks_shift(_mask("fixed"), _mask("moving")) == pytest.approx(THERE - HERE, abs=0.7)  # mm, of voxels


def test_masks_of_what_is_not_alike_are_laid_centre_on_centre() -> None:
    """Two bodies of different noise."""
    fixed, moving = samples.body(samples.FIXED), samples.body(samples.MOVING, seed=5)
    masks = {"fixed_mask": _mask("fixed"), "moving_mask": _mask("moving")}
    shift = masks_shift(*masks.values())
    moved = register(fixed, moving, IDLE, **masks).field.transform_points(HERE[None])[0]
    assert moved == pytest.approx(HERE + shift, abs=1e-3)


def _wavy(grid: Grid, centre: np.ndarray) -> Image:
    """A body of 70 mm with waves of tissue that are longer than the search's cells."""
    points = grid.points() - centre
    x, y, z = np.moveaxis(points / 11.0, -1, 0)
    hu = 90.0 * np.sin(x + 0.5 * y) + 80.0 * np.sin(0.8 * y - z + 1.0) + 70.0 * np.sin(z + 0.4 * x + 2.0)
    return Image(np.where(np.linalg.norm(points, axis=-1) < 70.0, hu, -1000.0).astype(np.float32), grid)


def test_masks_of_what_is_alike_are_searched() -> None:
    """The masks' centres lie 12 mm beside the true shift."""
    spacing, shape = (3.0, 3.4, 4.0), (42, 48, 54)
    fixed_grid = samples.centred(shape, spacing, HERE, samples.direction(3))
    moving_grid = samples.centred(shape, spacing, THERE, samples.direction(4, flipped=True))
    fixed, moving = _wavy(fixed_grid, HERE), _wavy(moving_grid, THERE)
    aside = np.array([6.0, -8.0, 7.0])
    masks = {
        "fixed_mask": Image(samples.ball(fixed_grid, HERE, 45.0).astype(np.uint8), fixed_grid),
        "moving_mask": Image(samples.ball(moving_grid, THERE + aside, 52.0).astype(np.uint8), moving_grid),
    }
    moved = register(fixed, moving, IDLE, **masks).field.transform_points(HERE[None])[0]
    assert np.linalg.norm(moved - THERE) < 4.0
