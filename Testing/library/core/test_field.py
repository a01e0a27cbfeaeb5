"""`DisplacementField`: where it moves points, volumes and labels; composition, inverse, Jacobian.

The judges are formulas and ITK.
"""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import geometry
from helpers.geometry import SHEARED, Affine, Waves
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image

GRIDS = geometry.grids((20, 24, 28))
every_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
WAVES = Waves()
LINEAR_ERROR = 0.15  # mm: Waves, interpolated linearly between nodes 4.3 mm apart


@every_grid
def test_transform_points_maps_fixed_to_moving(grid):
    points = geometry.inner_points(grid)
    assert np.allclose(SHEARED.field(grid).transform_points(points), SHEARED(points), atol=1e-4)
    assert np.allclose(WAVES.field(grid).transform_points(points), WAVES(points), atol=LINEAR_ERROR)
    assert SHEARED.field(grid).transform_points(points[0]).shape == (3,)


@every_grid
def test_from_any_itk_transform(grid):
    composite = sitk.CompositeTransform([SHEARED.sitk(), geometry.sitk_field(WAVES.field(grid))])
    points = geometry.inner_points(grid, margin=3)
    field = DisplacementField.from_transform(SHEARED.sitk(), grid)
    assert np.allclose(points + field.sample(points), SHEARED(points), atol=1e-4)
    field = DisplacementField.from_transform(composite, grid)
    assert np.allclose(points + field.sample(points), geometry.sitk_points(composite, points), atol=LINEAR_ERROR)


@every_grid
def test_itk_moves_points_as_the_field_does(grid):
    """Inside, within half a voxel of the border, and 300 mm outside."""
    field = WAVES.field(grid)
    transform = field.to_sitk()
    index = np.array([[0, 0, 0], [27, 23, 19], [-0.4, 5, 6], [3, 23.4, 6], [-0.6, 5, 6], [5, 5, 19.6], [150, 4, 4]])
    points = np.r_[geometry.inner_points(grid), grid.index_to_point(index)]
    assert np.allclose(field.transform_points(points), geometry.sitk_points(transform, points), atol=1e-4)
    outside = grid.index_to_point(index[-3:])
    assert np.array_equal(field.sample(outside), np.zeros((3, 3)))


@every_grid
def test_warped_volume_shows_what_lies_at_the_moving_point(grid):
    """A linear volume under an affine map: warped(x) is value(T(x)), exactly."""
    moving_grid = Grid((40, 40, 40), [4.0, 5.0, 6.0], SHEARED(grid.centre) - [110, 90, 85], np.eye(3))
    slope = np.array([1.3, -0.7, 2.1])
    moving = Image(geometry.node_points(moving_grid) @ slope, moving_grid)
    fixed_grid = Grid((6, 7, 8), [3, 2, 4], grid.centre - [8, 6, 9], geometry.rotation(20, -10, 40))
    warped = SHEARED.field(grid).warp(moving, fixed_grid)
    assert np.allclose(warped.array, SHEARED(geometry.node_points(fixed_grid)) @ slope, atol=1e-3)


@every_grid
def test_warped_label_lies_where_the_inverse_puts_it(grid):
    centre = grid.centre
    target = Grid((60, 60, 60), [1, 1, 1], centre - 29.5, np.eye(3))
    place = SHEARED(centre + [9, -4, 6])
    moving_grid = Grid((70, 80, 90), [1.2, 1.1, 1.4], place - [50, 40, 52], geometry.rotation(10, 10, 10))
    distance = np.linalg.norm(geometry.node_points(moving_grid) - place, axis=-1)
    labels = np.select([distance < 6, distance < 9], [5, 77], 0).astype(np.int16)
    field = SHEARED.field(grid.isotropic(4.0, margin=40.0))  # covers the target: outside, labels would not move
    warped = field.warp(Image(labels, moving_grid), target, labels=True).array
    assert set(np.unique(warped)) == {0, 5, 77} and warped.dtype == np.int16
    found = geometry.node_points(target)[warped == 5].mean(axis=0)
    assert np.allclose(found, centre + [9, -4, 6], atol=0.3)


@every_grid
def test_compose_is_the_second_after_the_first(grid):
    first = Affine(geometry.rotation(4, -3, 6), np.array([2.0, -3.0, 1.0]), grid.centre)
    big = grid.isotropic(4.0, margin=60.0)
    composed = SHEARED.field(big).compose(first.field(grid))
    points = geometry.inner_points(grid)
    assert np.allclose(composed.transform_points(points), SHEARED(first(points)), atol=1e-3)
    assert not np.allclose(composed.transform_points(points), first(SHEARED(points)), atol=1.0)
    itk = sitk.CompositeTransform([geometry.sitk_field(SHEARED.field(big)), first.sitk()])  # ITK applies the last first
    assert np.allclose(composed.transform_points(points), geometry.sitk_points(itk, points), atol=1e-3)


@pytest.mark.parametrize(
    "forward",
    [
        SHEARED,
        Affine(geometry.rotation(0, 0, 75), np.array([7.0, -13.0, 29.0]), np.array([31.0, -72.0, 115.0])),
        Affine(np.diag([1.2, 0.8, 1.1]), np.array([-1800.0, 35.0, 1200.0]), np.array([31.0, -72.0, 115.0])),
    ],
    ids=["sheared", "turned by 75 degrees", "scanners 2 m apart"],
)
def test_inverse_of_an_affine_field(forward):
    """The inverse is asked for where the moving scan is, which may be nowhere near the field's own grid."""
    grid = GRIDS["left-handed oblique"].isotropic(4.0, margin=20.0)
    moving_grid = Grid((12, 13, 14), [3, 3.5, 2.5], forward(grid.centre) - [18, 20, 16], geometry.rotation(0, 30, 0))
    inverse, residual = forward.field(grid).invert(moving_grid)
    assert residual < 2e-3
    points = geometry.inner_points(moving_grid)
    assert np.allclose(geometry.sitk_points(geometry.sitk_field(inverse), points), forward.inverse(points), atol=5e-3)


@every_grid
def test_inverse_undoes_the_field_for_itk_too(grid):
    forward = WAVES.field(grid.isotropic(3.0, margin=40.0))
    inverse, residual = forward.invert(Grid(grid.shape, grid.spacing, grid.origin + WAVES.shift, grid.direction))
    assert residual < 2e-3
    nodes = geometry.node_points(inverse.grid).reshape(-1, 3)[::37]
    landed = geometry.sitk_points(geometry.sitk_field(inverse), nodes)
    assert np.abs(geometry.sitk_points(geometry.sitk_field(forward), landed) - nodes).max() < 5e-3


def test_residual_of_a_field_that_folds_is_not_hidden():
    grid = Grid((20, 20, 20), [4, 4, 4], [0, 0, 0], np.eye(3))
    array = np.zeros((20, 20, 20, 3), np.float32)
    array[8:12, 8:12, 8:12, 0] = 40.0  # tears a block out of its surroundings
    field = DisplacementField(array, grid)
    assert field.jacobian_determinant().min() < 0
    inverse, residual = field.invert()
    nodes = geometry.node_points(grid).reshape(-1, 3)
    landed = geometry.sitk_points(geometry.sitk_field(inverse), nodes)
    left = np.linalg.norm(geometry.sitk_points(geometry.sitk_field(field), landed) - nodes, axis=-1)
    assert residual == pytest.approx(left[grid.contains(landed)].max(), rel=0.02)


@every_grid
def test_jacobian_of_an_affine_map_is_its_determinant(grid):
    determinant = SHEARED.field(grid).jacobian_determinant()
    assert determinant.shape == grid.shape
    assert np.allclose(determinant, np.linalg.det(SHEARED.matrix), atol=1e-4)


@every_grid
def test_jacobian_of_waves(grid):
    fine = grid.isotropic(2.0)
    determinant = WAVES.field(fine).jacobian_determinant()
    expected = WAVES.determinant(geometry.node_points(fine))
    assert np.ptp(expected) > 0.5
    inner = (slice(1, -1),) * 3  # one-sided differences at the border
    assert np.allclose(determinant[inner], expected[inner], atol=5e-3)


def test_jacobian_is_negative_where_space_folds():
    grid = Grid((12, 12, 12), [2, 3, 4], [0, 0, 0], geometry.rotation(10, 20, 30))
    mirrored = Affine(np.diag([-0.5, 1.0, 1.0]), np.zeros(3), grid.centre)
    assert np.allclose(mirrored.field(grid).jacobian_determinant(), -0.5, atol=1e-4)


def test_a_field_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="expected"):
        DisplacementField(np.zeros((3, 4, 5, 2), np.float32), Grid((3, 4, 5), [1, 1, 1], [0, 0, 0], np.eye(3)))
