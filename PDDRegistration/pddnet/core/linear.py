"""Linear results of a registration: `LinearTransform`, its kinds, and the projection of affine maps on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .affine import Affine
from .field import DisplacementField
from .grid import Grid

DEFORMABLE, RIGID, SIMILARITY, AFFINE = "deformable", "rigid", "similarity", "affine"
TRANSFORM_TYPES = (DEFORMABLE, RIGID, SIMILARITY, AFFINE)
"""Kinds of transforms that a registration can find; all but the first are linear."""


def check_transform_type(name: str) -> str:
    """Return the name of a kind of transforms.

    Raises:
        InputError: there is none of this name.
    """
    if name not in TRANSFORM_TYPES:
        raise InputError(f"there is no transform type '{name}'; choose one of {', '.join(TRANSFORM_TYPES)}")
    return name


def projected(affine: Affine, transform_type: str, centre: np.ndarray) -> Affine:
    """Return the map of a linear kind that is nearest to an affine map, and moves `centre` (3,) LPS mm alike.

    The rotation is that of the polar decomposition, the nearest one in the Frobenius norm (Higham 1986).
    """
    if transform_type == AFFINE:
        return affine
    matrix = nearest_rotation(affine.matrix) * (_scale(affine.matrix) if transform_type == SIMILARITY else 1.0)
    return Affine(matrix, affine.points(centre) - matrix @ centre)


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) that is nearest to a matrix; it never mirrors."""
    u, _, v = np.linalg.svd(matrix)
    return u @ np.diag([1.0, 1.0, np.linalg.det(u @ v)]) @ v


def angle_degrees(rotation: np.ndarray) -> float:
    """Return the angle of a rotation (3, 3) about its axis, 0..180 degrees."""
    across = rotation[[2, 0, 1], [1, 2, 0]] - rotation[[1, 2, 0], [2, 0, 1]]
    return float(np.degrees(np.arctan2(np.linalg.norm(across), np.trace(rotation) - 1.0)))


def _scale(matrix: np.ndarray) -> float:
    """Return the factor on lengths, the cube root of the factor on volumes."""
    return float(np.cbrt(np.linalg.det(matrix)))


@dataclass(frozen=True)
class LinearTransform:
    """Linear map of fixed to moving points, LPS mm, of one of the linear kinds in `TRANSFORM_TYPES`."""

    affine: Affine
    transform_type: str
    centre: np.ndarray  # (3,) LPS mm: about which it turns and scales, the middle of the fixed body

    @property
    def matrix(self) -> np.ndarray:
        """Return the map as a (4, 4) matrix of homogeneous points, LPS mm."""
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = self.affine.matrix, self.affine.shift
        return matrix

    @property
    def translation_mm(self) -> np.ndarray:
        """Return the displacement of `centre`, (3,) LPS mm: ITK's parameter of the same name."""
        return self.affine.points(self.centre) - self.centre

    @property
    def rotation_degrees(self) -> float:
        """Return the angle of its rotation about one axis, 0..180; of an affine map that of the nearest rotation."""
        return angle_degrees(nearest_rotation(self.affine.matrix))

    @property
    def scaling(self) -> float:
        """Return the factor on lengths; of an affine map their geometric mean over all directions."""
        return _scale(self.affine.matrix)

    @property
    def inverse(self) -> LinearTransform:
        """Return the map of moving to fixed points, of the same kind."""
        return LinearTransform(self.affine.inverse, self.transform_type, self.affine.points(self.centre))

    def to_sitk(self) -> sitk.Transform:
        """Convert to ITK's Euler3DTransform, Similarity3DTransform or AffineTransform, about `centre`."""
        kinds = {RIGID: sitk.Euler3DTransform, SIMILARITY: sitk.Similarity3DTransform}
        transform = kinds[self.transform_type]() if self.transform_type in kinds else sitk.AffineTransform(3)
        transform.SetCenter(self.centre.tolist())
        transform.SetMatrix(self.affine.matrix.ravel().tolist())
        transform.SetTranslation(self.translation_mm.tolist())
        return transform

    def sampled(self, grid: Grid) -> DisplacementField:
        """Sample the map at the nodes of `grid` as a displacement field."""
        points = grid.points()
        return DisplacementField((self.affine.points(points) - points).astype(np.float32), grid)
