"""`Grid` against its formula and SimpleITK."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import geometry
from pddnet.core.grid import Grid
from pddnet.errors import InputError

GRIDS = geometry.grids()
every_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())


@every_grid
def test_index_to_point_is_what_itk_means(grid):
    image = geometry.sitk_image(np.zeros(grid.shape, np.uint8), grid)
    index = np.random.default_rng(0).uniform(-3, 20, (30, 3))
    expected = [image.TransformContinuousIndexToPhysicalPoint(i) for i in index.tolist()]
    assert np.allclose(grid.index_to_point(index), expected, atol=1e-9)
    assert np.allclose(grid.index_to_point([2, 5, 7]), image.TransformIndexToPhysicalPoint((2, 5, 7)))
    back = [image.TransformPhysicalPointToContinuousIndex(p) for p in expected]
    assert np.allclose(grid.point_to_index(expected), back, atol=1e-9)


@every_grid
def test_points_are_in_the_order_of_the_array(grid):
    assert np.allclose(grid.points(), geometry.node_points(grid), atol=1e-9)


@every_grid
def test_itk_knows_the_same_grid(grid):
    other = Grid.of(geometry.sitk_image(np.zeros(grid.shape, np.uint8), grid))
    assert other.same_as(grid) and other.shape == grid.shape
    assert not other.same_as(Grid(grid.shape, grid.spacing, grid.origin + [0, 0.01, 0], grid.direction))
    assert not other.same_as(Grid(grid.shape[::-1], grid.spacing, grid.origin, grid.direction))


@every_grid
def test_corners_extent_and_centre(grid):
    image = geometry.sitk_image(np.zeros(grid.shape, np.uint8), grid)
    ends = [(-0.5, n - 0.5) for n in image.GetSize()]
    corners = [
        image.TransformContinuousIndexToPhysicalPoint((i, j, k)) for i in ends[0] for j in ends[1] for k in ends[2]
    ]
    assert np.allclose(sorted(map(tuple, grid.corners().round(6))), sorted(map(tuple, np.round(corners, 6))))
    assert np.allclose(grid.centre, np.mean(corners, axis=0))
    assert np.allclose(grid.extent, np.array(grid.shape[::-1]) * grid.spacing)


@every_grid
def test_contains_ends_at_the_outer_voxel_edges(grid):
    for axis in range(3):
        for end, sign in ((0, -1), (grid.size[axis] - 1, 1)):
            index = (grid.size - 1) / 2
            index[axis] = end
            outwards = grid.direction[:, axis] * grid.spacing[axis] * sign
            point = grid.origin + grid.direction @ (grid.spacing * index)
            assert grid.contains(point + 0.49 * outwards)
            assert not grid.contains(point + 0.51 * outwards)


@every_grid
def test_isotropic_covers_the_grid_and_its_margin(grid):
    result = grid.isotropic(2.5, margin=12.0)
    assert np.allclose(result.spacing, 2.5) and np.allclose(result.direction, grid.direction)
    assert np.allclose(result.centre, grid.centre)
    assert (result.extent >= grid.extent + 24 - 1e-6).all() and (result.extent < grid.extent + 24 + 2.5 + 1e-6).all()
    assert result.contains(grid.corners()).all()


@every_grid
def test_canonical_axes_point_along_the_patient(grid):
    axes, flips = grid.canonical_axes()
    for world, (axis, flip) in enumerate(zip(axes[::-1], flips[::-1], strict=True)):
        column = grid.direction[:, 2 - axis] * (-1 if flip else 1)
        assert np.argmax(np.abs(column)) == world and column[world] > 0


def test_one_voxel():
    grid = Grid((1, 1, 1), [2, 3, 4], [5, 6, 7], np.eye(3))
    assert np.allclose(grid.points(), [[[[5, 6, 7]]]]) and np.allclose(grid.centre, [5, 6, 7])
    assert grid.isotropic(1.0).shape == (4, 3, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spacing": [1, 0, 1]}, "not positive"),
        ({"spacing": [1, -2, 1]}, "not positive"),
        ({"spacing": [1, np.nan, 1]}, "not positive"),
        ({"origin": [0, np.inf, 0]}, "not finite"),
        ({"direction": [[1, 0.2, 0], [0, 1, 0], [0, 0, 1]]}, "not orthogonal"),
        ({"direction": np.zeros((3, 3))}, "not orthogonal"),
        ({"direction": np.full((3, 3), np.nan)}, "not orthogonal"),
    ],
)
def test_impossible_grids_are_refused_in_words(change, message):
    good = {"shape": (3, 4, 5), "spacing": [1, 1, 1], "origin": [0, 0, 0], "direction": np.eye(3)}
    with pytest.raises(InputError, match=message):
        Grid(**{**good, **change})
