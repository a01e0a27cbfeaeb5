"""A start from landmarks: what the matrix does to points is known by formula and by ITK."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import geometry
from pddnet.errors import InputError
from pddnet.io.landmark_init import affine_transform, start_from_points

TURN, SCALE, SHIFT = geometry.rotation(17, -11, 28), 1.12, np.array([31.0, -54.0, 210.0])
THREE = np.array([[-60.0, 15, -320], [42, 38, -180], [12, -55, -410]])  # LPS mm


def similar(points: np.ndarray) -> np.ndarray:
    """Turned, scaled and shifted."""
    return SCALE * points @ TURN.T + SHIFT


@pytest.mark.parametrize("count", [3, 4, 6])
def test_points_that_a_similarity_moved_are_hit_exactly(count: int) -> None:
    points = np.concatenate([THREE, THREE[:, [1, 2, 0]] * [0.4, -0.5, 1.1]])[:count]
    matrix = start_from_points(points, similar(points))
    assert np.allclose(matrix[:3, :3], SCALE * TURN, atol=1e-9)
    assert np.allclose(matrix[3], [0, 0, 0, 1])
    itk = affine_transform(matrix)
    for point in np.random.default_rng(0).uniform(-200, 200, (5, 3)):
        assert np.allclose(itk.TransformPoint(point.tolist()), similar(point), atol=1e-6)


def test_clicks_that_are_a_little_off_give_the_least_squares_answer() -> None:
    """No rotation, scale or shift nearby is better."""
    points = np.concatenate([THREE, [[80.0, -20, -300]]])
    clicked = similar(points) + np.random.default_rng(3).normal(0, 4, points.shape)
    matrix = start_from_points(points, clicked)

    def error(linear: np.ndarray, shift: np.ndarray) -> float:
        return float(((points @ linear.T + shift - clicked) ** 2).sum())

    best = error(matrix[:3, :3], matrix[:3, 3])
    for axis in range(3):
        for step in (-0.01, 0.01):
            turned = geometry.rotation(*np.degrees(step) * np.eye(3)[axis]) @ matrix[:3, :3]
            about = clicked.mean(axis=0) - turned @ points.mean(axis=0)
            assert error(turned, about) > best
            assert error(matrix[:3, :3], matrix[:3, 3] + 100 * step * np.eye(3)[axis]) > best
    for scale in (0.99, 1.01):
        about = clicked.mean(axis=0) - scale * matrix[:3, :3] @ points.mean(axis=0)
        assert error(scale * matrix[:3, :3], about) > best


def test_mirrored_points_are_turned_and_never_mirrored() -> None:
    four = np.concatenate([THREE, [[80.0, -20, -300]]])
    matrix = start_from_points(four, four * [-1, 1, 1] + [5, 0, 0])
    assert np.linalg.det(matrix[:3, :3]) > 0


@pytest.mark.parametrize("points", [THREE[:2], np.linspace(THREE[0], THREE[1], 4)], ids=["two", "on a line"])
def test_a_line_of_points_turns_no_more_than_it_must(points: np.ndarray) -> None:
    """Along the line all is fixed; about it nothing turns: the rotation's axis is at right angles to both lines."""
    moved = similar(points)
    matrix = start_from_points(points, moved)
    assert np.allclose(points @ matrix[:3, :3].T + matrix[:3, 3], moved, atol=1e-6)
    turn = matrix[:3, :3] / SCALE
    fixed_line, moving_line = points[-1] - points[0], moved[-1] - moved[0]
    cosine = fixed_line @ moving_line / np.linalg.norm(fixed_line) / np.linalg.norm(moving_line)
    assert np.allclose(turn.T @ turn, np.eye(3), atol=1e-9)
    assert np.isclose((np.trace(turn) - 1) / 2, cosine, atol=1e-9)  # the angle between the lines, not more


def test_two_points_upside_down() -> None:
    pair = np.array([[0.0, 0, 0], [0, 0, 100]])
    matrix = start_from_points(pair, pair[::-1] + [10, 20, 0])
    assert np.allclose(pair @ matrix[:3, :3].T + matrix[:3, 3], pair[::-1] + [10, 20, 0])
    assert np.isclose(np.linalg.det(matrix[:3, :3]), 1.0)


@pytest.mark.parametrize(
    ("fixed", "moving", "text"),
    [
        (THREE[:1], THREE[:1], "two or more pairs of points, 1 given"),
        (THREE, THREE[:2], "two or more pairs"),
        (THREE[:2] * 0.01, THREE[:2], "at least 20 mm apart"),
        (THREE, THREE * 2.5, "would scale the body by 2.50"),
        (THREE, THREE * 0.3, "would scale the body by 0.30"),
    ],
)
def test_what_is_refused(fixed: np.ndarray, moving: np.ndarray, text: str) -> None:
    with pytest.raises(InputError, match=text):
        start_from_points(fixed, moving)
