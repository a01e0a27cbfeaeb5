"""The plane of a slice in space: coordinates there and back, and displacements of the plane as a transform of space."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.geometry import grids, rotation, sitk_field, sitk_points
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.plane import Plane, to_transform
from pddnet.core.slice_frame import SliceFrame, is_slice
from pddnet.errors import InputError

SHAPES = [(1, 24, 30), (24, 1, 30), (24, 30, 1)]
every_kind = pytest.mark.parametrize("name", grids().keys())
every_shape = pytest.mark.parametrize("shape", SHAPES)


def _moved(grid: Grid, matrix: np.ndarray, shift: np.ndarray) -> Grid:
    """The grid, turned about its middle and shifted."""
    origin = matrix @ (grid.origin - grid.centre) + grid.centre + shift
    return Grid(grid.shape, grid.spacing, origin, matrix @ grid.direction)


def _normal(grid: Grid) -> np.ndarray:
    return grid.direction[:, int(np.argmin(grid.size))]


def _bent(flat: Grid) -> DisplacementField:
    """Displacements at z = 0 without any symmetry, mm."""
    x, y, _ = np.moveaxis(flat.points(), -1, 0) / 17.0
    array = np.stack([4 + 3 * np.sin(y) + x, -7 + 2 * np.cos(x + 0.5 * y), 0 * x], -1)
    return DisplacementField(array.astype(np.float32), flat)


@every_kind
@every_shape
def test_the_coordinates_are_those_of_the_plane_and_lead_back(name: str, shape: tuple[int, int, int]) -> None:
    image = Image(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), grids(shape)[name])
    frame, plane = SliceFrame.of(image.grid), Plane.from_sitk(image.to_sitk())
    assert np.linalg.det(frame.axes) == pytest.approx(1.0)
    corner = [n - 1 for n in image.to_sitk().GetSize()]
    point = np.array(image.to_sitk().TransformIndexToPhysicalPoint(corner))
    h, w = plane.grid.shape[1:]
    flat = plane.flat().TransformIndexToPhysicalPoint((w - 1, h - 1))
    assert np.allclose(frame.coordinates(point), [*flat, 0.0])
    assert np.allclose(frame.points([*flat, 0.0]), point)
    placed = frame.grid_in_space(plane.grid)
    assert np.allclose(placed.index_to_point([w - 1, h - 1, 0]), point)
    assert is_slice(image.grid)
    assert not is_slice(grids()[name])


@every_kind
def test_displacements_in_one_plane_move_points_of_space_within_it_alone(name: str) -> None:
    """ITK's 2-D transform in the plane's coordinates, against ITK's transform of space."""
    grid = grids((1, 24, 30))[name]
    frame = SliceFrame.of(grid)
    assert frame.map_to(frame.carried_to(grid)).points(grid.centre) == pytest.approx(grid.centre)
    flat = _bent(frame.flat_image(Image(np.zeros(grid.shape, np.uint8), grid)).grid)
    found = sitk_field(frame.lifted(flat, frame.carried_to(grid), 5.0))
    points = grid.index_to_point(np.random.default_rng(2).uniform([2, 2, 0], [27, 21, 0], (50, 3)))
    plane = to_transform(flat)
    for away_mm in (0.0, 3.0, -4.0):
        shifted = points + away_mm * frame.axes[:, 2]
        moved = sitk_points(found, shifted)
        assert np.abs((moved - shifted) @ _normal(grid)).max() < 1e-4
        expected = [plane.TransformPoint(xy) for xy in frame.coordinates(points)[:, :2].tolist()]
        assert np.abs(frame.coordinates(moved)[:, :2] - expected).max() < 1e-4
        assert np.abs(moved - shifted).max() > 3.0


@every_kind
def test_a_slice_in_another_plane_is_brought_over_by_the_shortest_way(name: str) -> None:
    grid = grids((1, 24, 30))[name]
    frame = SliceFrame.of(grid)
    shift = np.array([11.0, -6.0, 31.0])
    parallel = frame.map_to(frame.carried_to(_moved(grid, np.eye(3), shift)))
    assert np.allclose(parallel.matrix, np.eye(3))
    across = _normal(grid) * (_normal(grid) @ shift)
    assert np.allclose(parallel.points(grid.centre), grid.centre + across)  # nothing along the plane
    turned = _moved(grid, rotation(12, 9, 0), shift)
    tilted = frame.map_to(frame.carried_to(turned))
    landed = tilted.points(grid.corners().mean(0) + grid.direction[:, :2] @ np.array([[30.0, -5.0], [7.0, 20.0]]).T[0])
    assert (landed - turned.origin) @ _normal(turned) == pytest.approx(0.0, abs=1e-9)
    angle = np.degrees(np.arccos((np.trace(tilted.matrix) - 1) / 2))
    assert angle == pytest.approx(np.degrees(np.arccos(abs(_normal(grid) @ _normal(turned)))), abs=1e-6)
    assert np.linalg.det(tilted.matrix) == pytest.approx(1.0)


def test_a_slice_of_the_other_direction_of_its_normal_is_not_turned_over() -> None:
    grid = grids((1, 24, 30))["oblique"]
    flipped = Grid(grid.shape, grid.spacing, grid.origin, grid.direction * [1, 1, -1])
    frame = SliceFrame.of(grid)
    found = frame.map_to(frame.carried_to(flipped))
    assert np.allclose(found.matrix, np.eye(3)) and np.allclose(found.shift, 0)


def test_slices_at_right_angles_are_refused() -> None:
    kinds = grids((1, 24, 30))
    with pytest.raises(InputError, match="the two slices are tilted by 90 degrees against each other"):
        SliceFrame.of(kinds["identity"]).carried_to(kinds["coronal"])


@every_kind
def test_of_a_transform_of_space_the_plane_takes_what_lies_in_it(name: str) -> None:
    """A rigid motion with a turn in the plane and a shift that leads out of it, as a start."""
    grid = grids((1, 24, 30))[name]
    frame = SliceFrame.of(grid)
    other = frame.carried_to(_moved(grid, rotation(4, -7, 2), np.array([3.0, 5.0, -8.0])))
    flat = frame.flat_image(Image(np.zeros(grid.shape, np.uint8), grid)).grid
    turn, normal = sitk.VersorTransform(), frame.axes[:, 2]
    turn.SetRotation(normal.tolist(), 0.2)
    turn.SetCenter(grid.centre.tolist())
    start = sitk.CompositeTransform([turn])
    start.AddTransform(sitk.TranslationTransform(3, (4 * frame.axes[:, 0] + 9 * normal).tolist()))
    placed = frame.grid_in_space(flat)
    field = DisplacementField.from_transform(start, placed)
    found = frame.flattened(field, flat, frame)
    middle = frame.coordinates(grid.centre)[:2]
    planar = sitk.Euler2DTransform(middle.tolist(), 0.2, (0.0, 0.0))
    for j, i in ((3, 4), (20, 11), (9, 27)):
        x, y, _ = flat.index_to_point([i, j, 0])
        expected = np.array(planar.TransformPoint((x + 4, y))) - (x, y)
        assert np.abs(found.array[0, j, i, :2] - expected).max() < 1e-4
    assert not found.array[..., 2].any()
    lifted = frame.lifted(found, other, 0.0)
    back = frame.flattened(lifted, flat, other)
    assert np.abs(back.array - found.array).max() < 1e-4


@pytest.mark.parametrize("degrees", [0.5, 1.0, 2.0, 2.5, 5.0])
def test_a_slice_that_is_slightly_tilted_has_its_own_plane(degrees: float) -> None:
    turn = sitk.Euler3DTransform((0, 0, 0), 0.0, np.radians(degrees), 0.0)
    grid = Grid((1, 300, 300), [1.2, 1.2, 4.0], [-180, -170, 40], np.reshape(turn.GetMatrix(), (3, 3)))
    frame = SliceFrame.of(grid)
    assert np.abs(frame.coordinates(grid.points())[..., 2]).max() < 1e-9
    assert abs(frame.axes[:, 2] @ grid.direction[:, 2]) == pytest.approx(1.0)


def test_rounding_in_a_header_is_no_tilt() -> None:
    turn = sitk.Euler3DTransform((0, 0, 0), 0.0, 1e-4, 0.0)
    grid = Grid((1, 300, 300), [1.2, 1.2, 4.0], [-180, -170, 40], np.reshape(turn.GetMatrix(), (3, 3)))
    assert np.array_equal(SliceFrame.of(grid).axes, np.eye(3))
