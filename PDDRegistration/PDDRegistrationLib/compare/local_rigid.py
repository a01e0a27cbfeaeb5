"""Fit a rigid motion to a transform near a place, where it shows a scan undistorted (`rigidFit`, `ballPoints`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import vtk

from pddnet.core.linear import angle_degrees, nearest_rotation

from ..scene.geometry import movedPoints

RADIUS = 40.0  # mm
ALONG = 21  # points along the diameter of a ball
THIN = 1e-6  # of the squared extent: points less wide than this share lie on a line, about which nothing is known


@dataclass(frozen=True, eq=False)
class RigidFit:
    """Rigid motion that is nearest to a transform at some points.

    matrix: (4, 4), fixed to moving, RAS mm; shift: (3,) of the points' centre, RAS mm; residual_mm: root mean square
    distance between where the two take the points, largest_mm: its largest value.
    """

    matrix: np.ndarray
    shift: np.ndarray
    residual_mm: float
    largest_mm: float

    @property
    def angle_degrees(self) -> float:
        """Return the angle of the rotation, 0..180."""
        return angle_degrees(self.matrix[:3, :3])


def rigidFit(transform: vtk.vtkAbstractTransform, points: np.ndarray) -> RigidFit:
    """Fit a rotation and a shift to where a transform takes points (N, 3), fixed to moving, RAS mm.

    Least squares, by the singular value decomposition of the covariance of the points before and after (Kabsch 1976,
    doi:10.1107/S0567739476001873; with a determinant of one, Kabsch 1978, doi:10.1107/S0567739478001680). The points
    must span a plane at least, see `spanPlane`.
    """
    moved = movedPoints(transform, points)
    centre, target = points.mean(axis=0), moved.mean(axis=0)
    matrix = np.eye(4)
    matrix[:3, :3] = nearest_rotation((moved - target).T @ (points - centre))
    matrix[:3, 3] = target - matrix[:3, :3] @ centre
    errors = np.linalg.norm(points @ matrix[:3, :3].T + matrix[:3, 3] - moved, axis=-1)
    return RigidFit(matrix, target - centre, float(np.sqrt((errors**2).mean())), float(errors.max()))


def spanPlane(points: np.ndarray) -> bool:
    """Return whether points (N, 3) span a plane at least, so that a rotation is known about every axis."""
    away = points - points.mean(axis=0)
    _, middle, longest = np.linalg.eigvalsh(away.T @ away)
    return bool(middle > THIN * longest and longest > 0)


def ballPoints(centre: np.ndarray, radius_mm: float) -> np.ndarray:
    """List the points (N, 3) of a regular lattice in a ball, some 4000 for any radius."""
    axis = np.linspace(-radius_mm, radius_mm, ALONG)
    offsets = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    return centre + offsets[np.linalg.norm(offsets, axis=-1) <= radius_mm]
