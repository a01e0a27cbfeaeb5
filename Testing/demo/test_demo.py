"""The picture's planes show left and right, front and back, head and feet where a radiologist expects them."""

from __future__ import annotations

import numpy as np
import pytest

from demo import figure
from helpers import geometry
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.page import planes

SPOTS = {"L": [40, 0, 0], "P": [0, 40, 0], "H": [0, 0, 40]}  # LPS mm from the middle
PLACES = {  # view: spot -> part of the picture, as (row, column) signs from the middle
    "axial": {"L": (0, 1), "P": (1, 0)},
    "coronal": {"L": (0, 1), "H": (-1, 0)},
    "sagittal": {"P": (0, 1), "H": (-1, 0)},
}


def scan(spot: str, grid: Grid) -> Image:
    """A scan that is bright at one spot."""
    distance = np.linalg.norm(geometry.node_points(grid) - grid.centre - SPOTS[spot], axis=-1)
    return Image(np.where(distance < 9, 1000.0, -1000.0).astype(np.float32), grid)


@pytest.mark.parametrize("name", ["identity", "left-handed", "coronal"])
@pytest.mark.parametrize(("view", "spot"), [(view, spot) for view, spots in PLACES.items() for spot in spots])
def test_every_side_is_where_a_radiologist_expects_it(view, spot, name):
    direction = geometry.grids()[name].direction
    size = np.array([50, 40, 30])
    spacing = np.array([2.5, 3.0, 4.0])
    grid = Grid(tuple(size[::-1]), spacing, [10, 20, 30] - direction @ ((size - 1) / 2 * spacing), direction)
    volume = scan(spot, grid).canonical()
    window = (np.full(3, -60.0), np.full(3, 60.0))
    where = planes.plane(view, volume.grid.centre, volume.grid.direction, window)
    picture = planes.scalar(volume, where, -1000)
    row, column = np.argwhere(picture > 0).mean(axis=0) - (np.array(picture.shape) - 1) / 2
    expected = np.array(PLACES[view][spot]) * 40
    assert np.allclose([row, column], expected, atol=1.5)  # mm, as pixels are: the aspect is the patient's


def test_a_picture_of_two_scans_without_labels(tmp_path):
    grid = Grid((24, 30, 36), [5, 5, 5], [-90, -75, 0], np.eye(3))
    points = geometry.node_points(grid)
    inside = ((points[..., 0] / 70) ** 2 + (points[..., 1] / 50) ** 2) < 1
    volume = Image(np.where(inside, 40, -1000).astype(np.int16), grid)
    field = DisplacementField(np.zeros((*grid.shape, 3), np.float32), grid)
    spread = Image(np.zeros(grid.shape, np.float32), grid)
    figure.draw(figure.Case(volume, volume, volume, field, spread), tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 20_000
