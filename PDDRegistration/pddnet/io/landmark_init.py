"""`start_from_points`: fits a similarity transform to a few pairs of landmarks, to start from. torch-free."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..core.linear import nearest_rotation
from ..errors import InputError

LEAST_SIZE_MM = 10.0  # root of the summed squared distances from the centre: closer points give no angle
MOST_SCALE = 1.6  # and its inverse; bodies differ less, so more means that the pairs are mixed up
LEAST_FLATNESS = 0.15  # second largest extent over the largest: flatter points leave the turn about their line open
OPPOSITE = 1e-9  # cosines so near to -1 leave the axis of half a turn open


def start_from_points(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Fit the similarity transform that takes fixed points nearest to their moving partners (Umeyama 1991).

    Two points, or points on a line, leave the turn about that line open: it is the smallest one that is possible, as
    patients lie alike in most scanners.

    Args:
        fixed, moving: (N, 3) LPS mm, N >= 2, partners in the same row.

    Returns:
        (4, 4), fixed to moving points, LPS mm: a rotation times one scale, and a shift. It never mirrors.

    Raises:
        InputError: fewer than two pairs, points that are too close together, or pairs that no body explains.
    """
    fixed, moving = np.asarray(fixed, float), np.asarray(moving, float)
    if len(fixed) < 2 or fixed.shape != moving.shape:
        raise InputError(f"a start from landmarks needs two or more pairs of points, {len(fixed)} given; place more")
    centres = fixed.mean(axis=0), moving.mean(axis=0)
    fixed_offsets, moving_offsets = fixed - centres[0], moving - centres[1]
    sizes = np.sqrt((fixed_offsets**2).sum()), np.sqrt((moving_offsets**2).sum())
    if min(sizes) < LEAST_SIZE_MM:
        raise InputError(
            f"the landmarks lie within {min(sizes):.1f} mm of their centre; place them at least 20 mm apart"
        )
    turn = _rotation(fixed_offsets, moving_offsets)
    scale = float((moving_offsets * (fixed_offsets @ turn.T)).sum() / sizes[0] ** 2)
    if not 1 / MOST_SCALE <= scale <= MOST_SCALE:
        raise InputError(
            f"the landmarks would scale the body by {scale:.2f}; check that both lists name the same places in the "
            "same order"
        )
    matrix = np.eye(4)
    matrix[:3, :3] = scale * turn
    matrix[:3, 3] = centres[1] - scale * turn @ centres[0]
    return matrix


def affine_transform(matrix: np.ndarray) -> sitk.AffineTransform:
    """Convert a (4, 4) matrix, LPS mm, to ITK's transform."""
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(matrix[:3, :3].ravel().tolist())
    affine.SetTranslation(matrix[:3, 3].tolist())
    return affine


def _rotation(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Fit the rotation (3, 3) that turns centred points (N, 3) nearest to their partners."""
    if min(_flatness(fixed), _flatness(moving)) < LEAST_FLATNESS:
        axis = _line(fixed)
        return _shortest(axis, _line_along(moving, fixed @ axis))
    return nearest_rotation(moving.T @ fixed)


def _flatness(points: np.ndarray) -> float:
    """Divide the second largest extent by the largest: 0 for points on a line."""
    sizes = np.linalg.svd(points, compute_uv=False)
    return float(sizes[1] / sizes[0])


def _line(points: np.ndarray) -> np.ndarray:
    """Fit a line to centred points (N, 3): its unit vector (3,), of either sign."""
    return np.linalg.svd(points, full_matrices=False)[2][0]


def _line_along(points: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """As `_line`, in the direction in which the points' `positions` (N,) along the partners' line grow."""
    axis = _line(points)
    return axis if (points @ axis) @ positions >= 0 else -axis


def _shortest(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Find the smallest rotation (3, 3) of one unit vector onto another."""
    cosine, axis = float(start @ end), np.cross(start, end)
    if cosine < -1 + OPPOSITE:  # half a turn about any axis across
        axis = np.cross(start, np.eye(3)[np.abs(start).argmin()])
        axis /= np.linalg.norm(axis)
        return 2 * np.outer(axis, axis) - np.eye(3)
    cross = np.cross(np.eye(3), axis)  # the matrix that takes v to axis x v
    return np.eye(3) + cross + cross @ cross / (1 + cosine)
