"""The body mask of crops: a lung that is cut open is body, the air around the patient is not, however it is stored."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from helpers import geometry
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.masks import body_mask

OBLIQUE = geometry.rotation(4, -6, 9)
SPACING = np.array([4.0, 3.5, 5.0])
SHAPE = (12, 32, 24)
WALL, SKIN = -2.0, -30.0  # mm along x: the chest wall between them, lung from WALL on, air from SKIN on


def _grid() -> Grid:
    half = (np.array(SHAPE[::-1]) - 1) / 2 * SPACING
    return Grid(SHAPE, SPACING, -OBLIQUE @ half, OBLIQUE)


def _patient_axes(grid: Grid) -> np.ndarray:
    """(3, D, H, W) mm from the middle, along the axes of the patient, who lies obliquely."""
    return np.moveaxis(geometry.node_points(grid) @ OBLIQUE, -1, 0)


def _lung_crop(air: float = -1000.0, lung: float = -850.0) -> Image:
    """A box around one lung, which is cut open at three sides and both ends; vessels, wall, and air at the fourth."""
    grid = _grid()
    x, y, z = _patient_axes(grid)
    array = np.full(grid.shape, lung)
    array[(y / 12 - np.round(y / 12)) ** 2 + (z / 20 - np.round(z / 20)) ** 2 < 0.02] = 20.0  # vessels, along x
    array[x < WALL] = 40.0
    array[x < SKIN] = air
    return Image((array + np.random.default_rng(0).normal(0, 25, grid.shape)).astype(np.int16), grid)


def test_a_lung_that_the_crop_cuts_open_is_body_and_the_air_outside_is_not() -> None:
    crop = _lung_crop()
    x = _patient_axes(crop.grid)[0]
    body = body_mask(crop).array
    assert body[x > SKIN + 4].all()
    assert not body[x < SKIN - 8].any()
    assert 0.05 < (x < SKIN - 8).mean() < 0.5  # there is air to leave out


def test_only_hounsfield_units_tell_a_lung_from_air() -> None:
    crop = _lung_crop()
    x = _patient_axes(crop.grid)[0]
    body = body_mask(crop, hu=False).array
    assert body[(x > SKIN + 4) & (x < WALL - 4)].all()
    assert body[x > WALL + 8].mean() < 0.2  # some vessels


@pytest.mark.parametrize("lung", [-910.0, -850.0, -700.0])
@pytest.mark.parametrize("air", [-1024.0, -990.0])
def test_inflated_lungs_and_unclean_air_are_told_apart(air: float, lung: float) -> None:
    crop = _lung_crop(air, lung)
    x = _patient_axes(crop.grid)[0]
    body = body_mask(crop).array
    assert body[x > SKIN + 4].all()
    assert not body[x < SKIN - 8].any()


def test_a_blanket_beside_the_skin_is_no_body() -> None:
    crop = _lung_crop()
    x = _patient_axes(crop.grid)[0]
    array = crop.array.copy()
    array[np.abs(x - SKIN + 10.5) < 2.1] = -150
    body = body_mask(Image(array, crop.grid)).array
    assert body[x > SKIN + 4].all()
    assert not body[x < SKIN - 8].any()


def test_a_trachea_is_body_and_a_table_is_not() -> None:
    """The windpipe holds air as thin as that outside; it is closed in every slice across the body, and open above."""
    grid = _grid()
    x, y, _ = _patient_axes(grid)
    array = np.full(grid.shape, -1000.0)
    array[x**2 + (y + 10) ** 2 < 34**2] = 40.0
    array[(x - 8) ** 2 + (y + 10) ** 2 < 9**2] = -1000.0
    array[np.abs(y - 44) < 4] = 150.0
    body = body_mask(Image(array.astype(np.int16), grid)).array
    assert body[x**2 + (y + 10) ** 2 < 29**2].all()
    assert not body[x**2 + (y + 10) ** 2 > 40**2].any()


def _stored(image: Image, order: tuple[int, ...], flips: tuple[bool, ...]) -> Image:
    """The same physical content; array axes in another order, some of them reversed."""
    grid = image.grid
    array = image.array.transpose(order)
    columns = [2 - axis for axis in order[::-1]]  # the axes i, j, k of what is stored, in those of `grid`
    direction, spacing, origin = grid.direction[:, columns], grid.spacing[columns], grid.origin
    for axis, flipped in enumerate(flips):
        if flipped:
            array = np.flip(array, 2 - axis)
            origin = origin + direction[:, axis] * spacing[axis] * (array.shape[2 - axis] - 1)
            direction = direction * np.where(np.arange(3) == axis, -1.0, 1.0)
    return Image(np.ascontiguousarray(array), Grid(array.shape, spacing, origin, direction))


def test_the_mask_is_the_same_however_the_crop_is_stored() -> None:
    crop = _lung_crop()
    body = body_mask(crop).array
    assert 0.3 < body.mean() < 0.9
    for order in itertools.permutations(range(3)):
        for flips in ((False, True, False), (True, False, True)):
            stored = _stored(crop, order, flips)
            marked = _stored(Image(body, crop.grid), order, flips)
            assert stored.grid.same_as(marked.grid)
            assert np.array_equal(body_mask(stored).array, marked.array)
