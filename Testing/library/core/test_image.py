"""`Image`: geometry kept through conversion, reordering, resampling and coarsening.

The volumes hold a linear function of the patient's coordinates, so the right value anywhere is a formula.
"""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import geometry
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import InputError

GRIDS = geometry.grids()
every_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
SLOPE = np.array([1.3, -0.7, 2.1])


def value(points: np.ndarray) -> np.ndarray:
    return points @ SLOPE + 40


def ramp(grid: Grid) -> Image:
    return Image(value(geometry.node_points(grid)), grid)


@every_grid
def test_simpleitk_sees_every_voxel_at_its_place(grid):
    image = ramp(grid).to_sitk()
    for i, j, k in ((0, 0, 0), (14, 0, 0), (0, 11, 0), (0, 0, 8), (3, 7, 5)):
        point = np.array(image.TransformIndexToPhysicalPoint((i, j, k)))
        assert image.GetPixel(i, j, k) == pytest.approx(value(point))
    again = Image.from_sitk(image)
    assert again.grid.same_as(grid) and np.array_equal(again.array, ramp(grid).array)


@every_grid
def test_canonical_keeps_the_physical_content(grid):
    result = ramp(grid).canonical()
    assert np.allclose(result.array, value(geometry.node_points(result.grid)))
    assert (np.diag(result.grid.direction) > 0).all()
    assert sorted(map(tuple, result.grid.corners().round(6))) == sorted(map(tuple, grid.corners().round(6)))


@pytest.mark.parametrize(("order", "flips"), [((2, 0, 1), (True, False, False)), ((1, 0, 2), (False, True, True))])
def test_canonical_undoes_how_a_scan_happens_to_be_stored(order, flips):
    grid = GRIDS["left-handed oblique"]
    stored = sitk.PermuteAxes(ramp(grid).to_sitk(), order)
    stored = sitk.Flip(stored, flips, flipAboutOrigin=False)
    assert not Image.from_sitk(stored).grid.same_as(grid)
    first, second = ramp(grid).canonical(), Image.from_sitk(stored).canonical()
    assert first.grid.same_as(second.grid) and np.allclose(first.array, second.array)


@every_grid
def test_resample_onto_another_grid(grid):
    target = Grid((5, 4, 6), [1.1, 0.9, 1.6], GRIDS["oblique"].centre - [4, 2, 3], geometry.rotation(-30, 10, 5))
    result = ramp(grid).resample(target)
    assert result.grid is target
    assert np.allclose(result.array, value(geometry.node_points(target)), atol=1e-6)


def test_resample_through_a_transform_and_outside():
    grid = GRIDS["left-handed oblique"]
    target = Grid((8, 9, 10), [4.0, 5.0, 6.0], grid.centre - [30, 20, 40], geometry.rotation(5, 50, -12))
    points = geometry.SHEARED(geometry.node_points(target))
    result = ramp(grid).resample(target, geometry.SHEARED.sitk(), fill=-7777)
    index = (points - grid.origin) @ grid.direction / grid.spacing
    inside = ((index >= 0.01) & (index <= grid.size - 1.01)).all(axis=-1)
    outside = ((index < -0.51) | (index > grid.size - 0.49)).any(axis=-1)
    assert inside.sum() > 20 and outside.sum() > 20
    assert np.allclose(result.array[inside], value(points)[inside], atol=1e-6)
    assert (result.array[outside] == -7777).all()


@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.int32, np.float32])
def test_resample_keeps_the_type_and_rounds(kind):
    """ITK would cut fractions off: half a unit towards zero in every voxel."""
    grid = Grid((1, 1, 4), [1, 1, 1], [0, 0, 0], np.eye(3))
    volume = Image(np.array([[[10, 20, 30, 40]]], kind), grid)
    result = volume.resample(Grid((1, 1, 3), [1, 1, 1], [0.77, 0, 0], np.eye(3))).array
    assert result.dtype == kind
    assert np.allclose(result, [[[17.7, 27.7, 37.7]]] if kind == np.float32 else [[[18, 28, 38]]])
    if kind in (np.int16, np.int32):
        assert (Image(-volume.array, grid).resample(volume.grid.isotropic(1.0)).array == -volume.array).all()
        shifted = Image(-volume.array, grid).resample(Grid((1, 1, 3), [1, 1, 1], [0.77, 0, 0], np.eye(3))).array
        assert shifted.tolist() == [[[-18, -28, -38]]]


def test_fill_stays_within_the_type():
    far = Grid((2, 2, 2), [1, 1, 1], [500, 0, 0], np.eye(3))
    for kind, expected in ((np.uint8, 0), (np.uint16, 0), (np.int16, -1024), (np.float32, -1024)):
        volume = Image(np.ones((3, 3, 3), kind), Grid((3, 3, 3), [1, 1, 1], [0, 0, 0], np.eye(3)))
        assert (volume.resample(far, fill=-1024).array == expected).all()


def test_labels_and_masks_never_mix():
    grid = GRIDS["oblique"]
    labels = np.random.default_rng(0).choice([0, 3, 200, 1000], grid.shape).astype(np.int32)
    target = Grid((30, 30, 30), [0.9, 0.8, 0.7], grid.centre - [10, 10, 10], geometry.rotation(3, 4, 5))
    result = Image(labels, grid).resample(target, labels=True).array
    assert set(np.unique(result)) <= {0, 3, 200, 1000} and result.dtype == np.int32
    index = np.rint((geometry.node_points(target) - grid.origin) @ grid.direction / grid.spacing).astype(int)
    inside = ((index >= 0) & (index < grid.size)).all(axis=-1)
    i, j, k = index[inside].T
    assert inside.sum() > 10000 and (result[inside] == labels[k, j, i]).mean() > 0.999  # ties round either way
    assert Image(labels > 0, grid).resample(target).array.dtype == bool


@every_grid
def test_coarsen_averages_in_place(grid):
    result = ramp(grid).coarsen(6.5)
    assert np.allclose(result.grid.spacing, grid.spacing * [3, 2, 1])
    assert result.grid.shape == (9, 6, 5)
    assert np.allclose(result.array, value(geometry.node_points(result.grid)))
    assert ramp(grid).coarsen(1.0).grid.same_as(grid)


def test_other_volumes_are_refused():
    for image in (sitk.Image(4, 4, sitk.sitkInt16), sitk.Image([4, 4, 4], sitk.sitkVectorFloat32, 3)):
        with pytest.raises(InputError, match="3-D scalar"):
            Image.from_sitk(image)
    with pytest.raises(ValueError, match="shape"):
        Image(np.zeros((3, 4, 5)), Grid((5, 4, 3), [1, 1, 1], [0, 0, 0], np.eye(3)))
