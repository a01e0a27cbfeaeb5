"""Registration of two 2-D images with a known correspondence, through ITK's own transforms."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.planes import empty, errors_px, painted, points_of, texture
from pddnet.core.plane import Plane, inverted, to_transform
from pddnet.matching.plane import register_planes
from pddnet.matching.plane_likeness import mutual_information
from pddnet.tensor.convert import to_tensor

FIXED = empty((110, 96), 1.5, (-70.0, -60.0), degrees=12)
MOVING = empty((140, 128), 1.4, (-98.0, -78.0), degrees=-7)  # all of the fixed image lies in it
SHIFT = np.array([5.3, -8.9])


def _waves(points: np.ndarray) -> np.ndarray:
    """The true map: a shift, a turn by 6 degrees, and waves of 4 mm that differ along x and y."""
    x, y = points[..., 0], points[..., 1]
    turn = np.array([[0.9945, -0.1045], [0.1045, 0.9945]])
    waves = 4 * np.stack([np.sin(y / 17 + 0.3), np.cos(x / 21 - 0.8)], -1)
    return points @ turn.T + waves + [3.0, -5.0]


def test_a_shift_is_found_to_a_tenth_of_a_pixel_in_turned_images() -> None:
    pattern = texture()
    fixed, moving = painted(FIXED, pattern, lambda p: p + SHIFT), painted(MOVING, pattern)
    found = register_planes(Plane.from_sitk(fixed), Plane.from_sitk(moving))
    errors = errors_px(found.to_sitk(), FIXED, lambda p: p + SHIFT)
    assert errors.max() < 0.1
    assert found.verdict.status == "ok"


def test_a_deformation_is_found_between_contrasts_and_has_its_inverse_and_determinants() -> None:
    pattern = texture(1)
    fixed = painted(FIXED, pattern, _waves)
    moving = sitk.Exp(painted(MOVING, -0.6 * pattern))  # another modality: inverted, and not linear
    found = register_planes(Plane.from_sitk(fixed), Plane.from_sitk(moving))
    transform = found.to_sitk()
    errors = errors_px(transform, FIXED, _waves, 10)
    assert np.median(errors) < 0.6
    assert np.percentile(errors, 90) < 1.5
    assert found.deformed
    measures = found.verdict.measures
    assert measures["similarity"] > measures["similarity_start"] > measures["similarity_before"]
    grid = found.field.grid
    for i, j in ((30, 41), (52, 38), (61, 66)):
        along = [grid.index_to_point([[i + a, j + b, 0], [i - a, j - b, 0]])[:, :2] for a, b in ((1, 0), (0, 1))]
        ends = [[transform.TransformPoint(end.tolist()) for end in pair] for pair in along]
        moved, steps = (np.array([np.subtract(*pair) for pair in pairs]) for pairs in (ends, along))
        expected = np.linalg.det(moved) / np.linalg.det(steps)
        assert found.determinant.array[0, j, i] == pytest.approx(expected, abs=1e-4)
    assert found.determinant.array.min() > 0
    grid = Plane.from_sitk(moving).grid
    back = to_transform(inverted(found.field, grid))
    points = points_of(FIXED)[12:-12:9, 12:-12:9].reshape(-1, 2)
    moved = np.array([transform.TransformPoint(point) for point in points.tolist()])
    inside = grid.contains(np.c_[moved, np.zeros(len(moved))])
    assert inside.mean() > 0.8
    returned = np.array([back.TransformPoint(point) for point in moved[inside].tolist()])
    assert np.linalg.norm(returned - points[inside], axis=1).max() < 0.15


def test_images_of_different_things_are_doubted_and_what_helps_nothing_is_left_out() -> None:
    fixed, moving = painted(FIXED, texture(2)), painted(MOVING, texture(3))
    verdict = register_planes(Plane.from_sitk(fixed), Plane.from_sitk(moving)).verdict
    assert verdict.status != "ok"
    assert any("tell little of the other" in reason for reason in verdict.reasons)
    same = register_planes(Plane.from_sitk(fixed), Plane.from_sitk(fixed))
    assert errors_px(same.to_sitk(), FIXED, lambda p: p).max() < 0.02
    assert same.start == "identity"


def test_a_start_that_is_given_is_kept() -> None:
    pattern = texture()
    fixed, moving = painted(FIXED, pattern, _waves), painted(MOVING, pattern)
    start = sitk.Euler2DTransform((0.0, 0.0), 0.105, (3.0, -5.0))
    found = register_planes(Plane.from_sitk(fixed), Plane.from_sitk(moving), initial_transform=start, deform=False)
    assert found.start == "given"
    points = points_of(FIXED)[::9, ::9].reshape(-1, 2).tolist()
    moved = [np.subtract(found.to_sitk().TransformPoint(p), start.TransformPoint(p)) for p in points]
    assert np.abs(moved).max() < 1e-3


def test_mutual_information_by_hand() -> None:
    """Two values each, half and half: all of it where one tells the other, none where they are independent."""
    f = np.tile([0.0, 1.0], 50).reshape(1, 10, 10)
    g = np.repeat([0.0, 1.0], 50).reshape(1, 10, 10)
    view = to_tensor(np.ones((1, 10, 10)))
    assert mutual_information(to_tensor(f), to_tensor(1 - f), view) == pytest.approx(1.0)
    assert mutual_information(to_tensor(f), to_tensor(g), view) == pytest.approx(0.0, abs=1e-9)
