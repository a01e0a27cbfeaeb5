"""`start_from_points`: a few pairs of landmarks as a rough alignment to start from. torch-free."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..errors import InputError

LEAST_SPREAD = 10.0  # mm, between the points of either scan: closer ones say nothing about an angle
MOST_SCALE = 1.6  # and its inverse; bodies differ less, so more means that the pairs are mixed up
FLAT = 0.15  # of the largest extent across: points nearer to one line leave the turn about it open


def start_from_points(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """The similarity transform that takes fixed points nearest to their moving partners.

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
    here, there = fixed - centres[0], moving - centres[1]
    sizes = np.sqrt((here**2).sum()), np.sqrt((there**2).sum())
    if min(sizes) < LEAST_SPREAD:
        raise InputError(
            f"the landmarks lie within {min(sizes):.1f} mm of their centre; place them at least 20 mm apart"
        )
    turn = _rotation(here, there)
    scale = float((there * (here @ turn.T)).sum() / sizes[0] ** 2)
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
    """ITK's transform from a (4, 4) matrix, LPS mm."""
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(matrix[:3, :3].ravel().tolist())
    affine.SetTranslation(matrix[:3, 3].tolist())
    return affine


def _rotation(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """(3, 3) that turns centred points (N, 3) nearest to their partners."""
    if min(_flatness(here), _flatness(there)) < FLAT:
        return _shortest(_axis(here), _axis(there, here))
    u, _, v = np.linalg.svd(there.T @ here)
    keep = np.diag([1.0, 1.0, np.linalg.det(u @ v)])
    return u @ keep @ v


def _flatness(points: np.ndarray) -> float:
    """The second largest extent over the largest: 0 for points on a line."""
    sizes = np.linalg.svd(points, compute_uv=False)
    return float(sizes[1] / sizes[0])


def _axis(points: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    """(3,) unit vector of the line; with `like`, its partners (N, 3), in their sense."""
    axis = np.linalg.svd(points)[2][0]
    if like is None:
        return axis
    return axis if (points @ axis) @ (like @ _axis(like)) >= 0 else -axis


def _shortest(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(3, 3) the smallest rotation of one unit vector onto another."""
    cosine, axis = float(start @ end), np.cross(start, end)
    if cosine < -1 + 1e-9:  # opposite: half a turn about any axis across
        axis = np.cross(start, np.eye(3)[np.abs(start).argmin()])
        axis /= np.linalg.norm(axis)
        return 2 * np.outer(axis, axis) - np.eye(3)
    cross = np.cross(np.eye(3), axis)  # the matrix that takes v to axis x v
    return np.eye(3) + cross + cross @ cross / (1 + cosine)
