"""Grids and transforms that no sign, axis order or half voxel survives. What they should do is known by formula."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """Rotation about x, then y, then z, in degrees."""
    result = np.eye(3)
    for (i, j), angle in zip(((1, 2), (2, 0), (0, 1)), np.radians([x, y, z]), strict=True):
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[j, i], turn[i, j] = np.sin(angle), -np.sin(angle)
        result = turn @ result
    return result


def grids(shape: tuple[int, int, int] = (9, 12, 15)) -> dict[str, Grid]:
    """One of every kind, all about the same place, with three different spacings and sizes."""
    spacing, oblique = np.array([2.0, 3.1, 4.3]), rotation(13, -21, 34)
    directions = {
        "identity": np.eye(3),
        "oblique": oblique,
        "left-handed": np.diag([1.0, 1.0, -1.0]),
        "left-handed oblique": oblique @ np.diag([-1.0, 1.0, 1.0]),
        "coronal": np.eye(3)[:, [0, 2, 1]] * [1, -1, 1],
        "permuted oblique": (oblique @ np.diag([1.0, -1.0, -1.0]))[:, [2, 0, 1]],
    }
    middle, half = np.array([31.0, -72.0, 115.0]), (np.array(shape[::-1]) - 1) / 2
    return {
        name: Grid(shape, spacing, middle - direction @ (half * spacing), direction)
        for name, direction in directions.items()
    }


def inner_points(grid: Grid, count: int = 40, margin: float = 0.0) -> np.ndarray:
    """(count, 3) random LPS points at least `margin` voxels inside the outermost voxel centres."""
    low, high = np.full(3, margin), grid.size - 1 - margin
    return grid.index_to_point(np.random.default_rng(1).uniform(low, high, (count, 3)))


@dataclass(frozen=True)
class Affine:
    """x -> matrix @ (x - centre) + centre + shift, with no symmetry at all."""

    matrix: np.ndarray
    shift: np.ndarray
    centre: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return (points - self.centre) @ self.matrix.T + self.centre + self.shift

    def inverse(self, points: np.ndarray) -> np.ndarray:
        return (points - self.centre - self.shift) @ np.linalg.inv(self.matrix).T + self.centre

    def sitk(self) -> sitk.AffineTransform:
        transform = sitk.AffineTransform(3)
        transform.SetMatrix(self.matrix.ravel().tolist())
        transform.SetCenter(self.centre.tolist())
        transform.SetTranslation(self.shift.tolist())
        return transform

    def field(self, grid: Grid) -> DisplacementField:
        """Built from the formula, without pddnet's conversions."""
        points = node_points(grid)
        return DisplacementField((self(points) - points).astype(np.float32), grid)


SHEARED = Affine(
    np.array([[1.08, 0.11, -0.05], [0.02, 0.93, 0.07], [-0.04, 0.03, 1.15]]),
    np.array([7.0, -13.0, 29.0]),
    np.array([20.0, -60.0, 130.0]),
)


def node_points(grid: Grid) -> np.ndarray:
    """(D, H, W, 3) LPS mm of every node, written out from the definition of a grid."""
    k, j, i = (index[..., None] for index in np.indices(grid.shape))
    steps = [grid.direction[:, axis] * grid.spacing[axis] for axis in range(3)]
    return grid.origin + i * steps[0] + j * steps[1] + k * steps[2]


@dataclass(frozen=True)
class Waves:
    """x -> x + shift + waves, different along every axis; smooth, invertible, with a known Jacobian."""

    amplitude: float = 6.0
    length: float = 90.0
    shift: tuple[float, float, float] = (7.0, -13.0, 29.0)

    def displacement(self, points: np.ndarray) -> np.ndarray:
        x, y, z = np.moveaxis(np.asarray(points) * (2 * np.pi / self.length), -1, 0)
        waves = [np.sin(y + 0.3) + 0.6 * np.sin(x), 0.7 * np.sin(z - 0.5) + 0.3 * np.sin(x), 0.5 * np.cos(x + 1.0)]
        return self.amplitude * np.stack(waves, axis=-1) + self.shift

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return points + self.displacement(points)

    def determinant(self, points: np.ndarray) -> np.ndarray:
        rate = 2 * np.pi / self.length
        x, y, z = np.moveaxis(points * rate, -1, 0)
        slopes = np.zeros((*points.shape, 3))
        slopes[..., 0, 0] = 0.6 * np.cos(x)
        slopes[..., 0, 1] = np.cos(y + 0.3)
        slopes[..., 1, 0] = 0.3 * np.cos(x)
        slopes[..., 1, 2] = 0.7 * np.cos(z - 0.5)
        slopes[..., 2, 0] = -0.5 * np.sin(x + 1.0)
        return np.linalg.det(np.eye(3) + self.amplitude * rate * slopes)

    def field(self, grid: Grid) -> DisplacementField:
        return DisplacementField(self.displacement(node_points(grid)).astype(np.float32), grid)


def sitk_points(transform: sitk.Transform, points: np.ndarray) -> np.ndarray:
    """(N, 3) points moved by ITK, the judge."""
    return np.array([transform.TransformPoint(point) for point in np.atleast_2d(points).tolist()])


def sitk_image(array: np.ndarray, grid: Grid) -> sitk.Image:
    """The array on the grid for SimpleITK, written out without pddnet's conversions. (D, H, W) or (D, H, W, 3)."""
    image = sitk.GetImageFromArray(array, isVector=array.ndim == 4)
    image.SetOrigin([float(v) for v in grid.origin])
    image.SetSpacing([float(v) for v in grid.spacing])
    image.SetDirection([float(v) for v in np.asarray(grid.direction).reshape(9)])
    return image


def sitk_field(field: DisplacementField) -> sitk.DisplacementFieldTransform:
    """ITK's transform of a field, written out without pddnet's conversions."""
    return sitk.DisplacementFieldTransform(sitk_image(field.array.astype(np.float64), field.grid))
