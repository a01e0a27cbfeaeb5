"""A slice in its coordinates: where its pixels lie, against SimpleITK, in every orientation."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.geometry import grids
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.plane import Plane, inverted
from pddnet.errors import InputError


def _one_slice(name: str, shape: tuple[int, int, int]) -> sitk.Image:
    grid = grids(shape)[name]
    return Image(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), grid).to_sitk()


def test_a_2d_image_keeps_its_coordinates_and_pixels() -> None:
    image = sitk.GetImageFromArray(np.arange(12.0).reshape(3, 4))
    image.SetSpacing((2.0, 3.0))
    image.SetOrigin((5.0, -7.0))
    image.SetDirection((0.6, 0.8, 0.8, -0.6))
    plane = Plane.from_sitk(image)
    assert plane.image.array.shape == (1, 3, 4)
    expected = image.TransformIndexToPhysicalPoint((3, 1))
    assert np.allclose(plane.grid.index_to_point([3, 1, 0]), [*expected, 0])
    assert np.array_equal(sitk.GetArrayFromImage(plane.as_stored()), sitk.GetArrayFromImage(image))
    assert plane.as_stored().TransformIndexToPhysicalPoint((3, 1)) == expected


def test_an_axial_slice_lies_where_simpleitk_lays_it() -> None:
    image = _one_slice("identity", (1, 4, 5))
    plane, flat = Plane.from_sitk(image), image[:, :, 0]
    assert plane.flat().TransformIndexToPhysicalPoint((2, 3)) == flat.TransformIndexToPhysicalPoint((2, 3))
    assert np.array_equal(sitk.GetArrayFromImage(plane.flat()), sitk.GetArrayFromImage(flat))


@pytest.mark.parametrize("name", ["oblique", "left-handed oblique", "coronal", "permuted oblique"])
@pytest.mark.parametrize("shape", [(1, 4, 5), (4, 1, 5), (4, 5, 1)])
def test_distances_in_any_slice_are_those_in_space_and_it_returns_to_its_place(
    name: str, shape: tuple[int, int, int]
) -> None:
    image = _one_slice(name, shape)
    plane = Plane.from_sitk(image)
    corner = [n - 1 for n in image.GetSize()]
    ends = [np.array(image.TransformIndexToPhysicalPoint(index)) for index in ([0, 0, 0], corner)]
    h, w = plane.image.array.shape[1:]
    across = plane.grid.index_to_point([w - 1, h - 1, 0]) - plane.grid.origin
    assert np.linalg.norm(across) == pytest.approx(np.linalg.norm(ends[1] - ends[0]))
    assert not plane.grid.origin[2]
    stored = plane.as_stored()
    assert np.array_equal(sitk.GetArrayFromImage(stored), sitk.GetArrayFromImage(image))
    assert Grid.of(stored).same_as(Grid.of(image))


def test_a_volume_is_no_plane() -> None:
    with pytest.raises(InputError, match="neither 2-D"):
        Plane.from_sitk(_one_slice("oblique", (3, 4, 5)))


@pytest.mark.parametrize("rise", [-0.5, 1.2, 1.6])
def test_a_field_that_stretches_space_is_inverted(rise: float) -> None:
    """x -> x + rise x exp(-|x|^2 / 2 s^2) stretches its middle (1 + rise) times in each direction, without folds."""
    grid = Grid((1, 90, 100), (2.0, 2.2, 1.0), (-99.0, -98.0, 0.0), np.eye(3))
    points = grid.points()
    bump = np.exp(-(points[..., :1] ** 2 + points[..., 1:2] ** 2) / (2 * 25.0**2))
    field = DisplacementField((rise * points * bump).astype(np.float32), grid)
    landed = points + inverted(field, grid).array
    residual = np.linalg.norm(landed + field.sample(landed) - points, axis=-1)
    assert residual[grid.contains(landed)].max() < 1e-3
