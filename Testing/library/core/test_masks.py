"""View mask and body mask on a phantom whose body, lung, table and padding are known."""

from __future__ import annotations

import numpy as np

from helpers import geometry
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.masks import body_mask, view_mask


def phantom() -> Image:
    """A body of 40 mm radius with a lung in it, a table below, and padding outside a circle of 75 mm, at 4 mm."""
    grid = Grid((10, 40, 40), [4, 4, 4], [-78, -78, 0], np.eye(3))
    x, y, _ = np.moveaxis(geometry.node_points(grid), -1, 0)
    array = np.full(grid.shape, -990, np.int16)
    array[x**2 + y**2 < 40**2] = 50
    array[(x - 10) ** 2 + y**2 < 12**2] = -850
    array[(np.abs(y - 60) < 3) & (np.abs(x) < 40)] = 200
    array[x**2 + y**2 > 75**2] = -1024
    return Image(array, grid)


def test_view_mask_leaves_out_the_padding_only():
    volume = phantom()
    assert np.array_equal(view_mask(volume).array, volume.array > -1024)
    assert view_mask(volume.clip(-900, 2000)).array.all()  # nothing marks padding any more


def test_clean_air_is_air_and_not_padding():
    volume = phantom()
    cleaned = Image(np.where(volume.array < -900, -1024, volume.array), volume.grid)
    assert view_mask(cleaned).array.all()


def test_body_mask_has_the_lung_and_not_the_table():
    volume = phantom()
    x, y, _ = np.moveaxis(geometry.node_points(volume.grid), -1, 0)
    body = body_mask(volume).array
    assert body[x**2 + y**2 < 36**2].all() and not body[x**2 + y**2 > 44**2].any()


def test_holes_are_filled_in_the_planes_across_the_body_however_it_is_stored():
    """The lung is a tube that is open at head and foot; a notch in the skin is no hole."""
    volume = phantom()
    notched = volume.array.copy()
    notched[:, :14, 19:21] = -990
    x, y, _ = np.moveaxis(geometry.node_points(volume.grid), -1, 0)
    body = body_mask(Image(notched, volume.grid)).array
    assert body[(x - 10) ** 2 + y**2 < 12**2].all()
    assert not body[:, 10:14, 19:21].any()
    coronal = Grid((40, 10, 40), volume.grid.spacing, volume.grid.origin, np.eye(3)[:, [0, 2, 1]])
    stored = Image(notched.transpose(1, 0, 2), coronal)
    assert np.array_equal(body_mask(stored).array, body.transpose(1, 0, 2))
