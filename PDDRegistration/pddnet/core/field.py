"""`DisplacementField`: a transform as displacements on a grid; warp, compose, invert, Jacobian, to and from ITK."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from .grid import Grid, turned
from .image import Image

QUICK = 6  # Newton's steps with the Jacobian of the nearest node, before those with the place's own


@dataclass(frozen=True, eq=False)
class DisplacementField:
    """u(x), shape (D, H, W, 3), components x, y, z in LPS mm, on a `Grid`.

    It maps x to x + u(x): fixed points to moving points, as ITK means a registration's transform. Linear between the
    grid's nodes; outside the grid the displacement is zero, as in ITK.
    """

    array: np.ndarray
    grid: Grid

    def __post_init__(self) -> None:
        if self.array.shape != (*self.grid.shape, 3):
            raise ValueError(f"field of shape {self.array.shape}, expected {(*self.grid.shape, 3)}")

    @classmethod
    def from_transform(cls, transform: sitk.Transform, grid: Grid) -> DisplacementField:
        """Any ITK transform, sampled at the nodes of `grid`."""
        field = sitk.TransformToDisplacementField(
            transform,
            sitk.sitkVectorFloat64,
            grid.size.tolist(),
            grid.origin.tolist(),
            grid.spacing.tolist(),
            grid.direction.ravel().tolist(),
        )
        return cls(sitk.GetArrayFromImage(field).astype(np.float32), grid)

    def to_sitk(self) -> sitk.DisplacementFieldTransform:
        """As ITK's displacement field transform (float64; the values are copied)."""
        image = sitk.GetImageFromArray(self.array.astype(np.float64), isVector=True)
        image.SetSpacing(self.grid.spacing.tolist())
        image.SetOrigin(self.grid.origin.tolist())
        image.SetDirection(self.grid.direction.ravel().tolist())
        return sitk.DisplacementFieldTransform(image)

    def sample(self, points: np.ndarray) -> np.ndarray:
        """Displacements (..., 3) in mm at LPS points (..., 3); zero outside the grid."""
        return np.where(self.grid.contains(points)[..., None], self._extrapolate(points), 0)

    def _extrapolate(self, points: np.ndarray) -> np.ndarray:
        """As `sample`, but the border's displacement outside the grid."""
        index = self.grid.point_to_index(points)
        flat = np.ascontiguousarray(index.reshape(-1, 3).T[::-1])
        values = [ndimage.map_coordinates(c, flat, order=1, mode="nearest") for c in self._components]
        return np.stack(values, axis=-1).reshape(index.shape)

    @cached_property
    def _components(self) -> list[np.ndarray]:
        return [np.ascontiguousarray(self.array[..., c]) for c in range(3)]  # three times as fast to interpolate

    def transform_points(self, points: np.ndarray) -> np.ndarray:
        """LPS points (..., 3) of the fixed space to LPS points of the moving space."""
        return np.asarray(points, dtype=np.float64) + self.sample(points)

    def warp(self, image: Image, grid: Grid, *, fill: float = 0, labels: bool = False) -> Image:
        """A moving image (or label map: nearest voxel, no mixed labels) laid over a grid of the fixed space."""
        return image.resample(grid, self.to_sitk(), fill=fill, labels=labels)

    def compose(self, inner: DisplacementField) -> DisplacementField:
        """x -> self(inner(x)), on the inner field's grid."""
        points = inner.grid.points() + inner.array
        return DisplacementField((inner.array + self.sample(points)).astype(np.float32), inner.grid)

    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        """The affine map x -> A x + t nearest to this one (least squares over the nodes): A (3, 3) and t (3,) in mm."""
        step = max(min(self.grid.shape) // 8, 1)
        points = self.grid.points()[::step, ::step, ::step].reshape(-1, 3)
        moved = points + self.array[::step, ::step, ::step].reshape(-1, 3)
        centre = points.mean(axis=0)
        solution = np.linalg.lstsq(np.c_[points - centre, np.ones(len(points))], moved, rcond=None)[0]
        matrix = solution[:3].T
        if len(points) < 8 or np.linalg.det(matrix) < 0.05:  # a flat grid, or a field far from any affine map
            matrix = np.eye(3)
        return matrix, moved.mean(axis=0) - matrix @ centre

    def invert(
        self, grid: Grid | None = None, *, iterations: int = 40, tolerance: float = 2e-3
    ) -> tuple[DisplacementField, float]:
        """The inverse map on `grid` (default: this field's own), and the largest residual |T(T^-1(y)) - y| in mm.

        The residual is taken where T^-1(y) lies inside this field's grid. Elsewhere nothing that lies on the grid
        arrives, and the map goes on with its affine trend. Newton's method from the inverse of that trend, which brings
        large shifts and rotations home; a step that does not help is halved. The Jacobian is that of the nearest node,
        then, for the few that it leads to and fro because space is squeezed there, the one at the place itself.
        """
        grid = grid or self.grid
        target = grid.points().reshape(-1, 3)
        matrix, shift = self.affine()
        backwards = self._inverse_jacobian(matrix)
        landed = turned(target - shift, np.linalg.inv(matrix))
        residual = landed + self._continue(landed, matrix) - target
        step = np.ones(len(target))
        active = np.arange(len(target))
        for count in range(iterations):
            active = active[np.linalg.norm(residual[active], axis=-1) > tolerance]
            if not active.size:
                break
            if count < QUICK:
                nearest = np.clip(np.rint(self.grid.point_to_index(landed[active])), 0, self.grid.size - 1).astype(int)
                turn = backwards[tuple(nearest.T[::-1])]
            else:
                turn = self._inverse_jacobian_at(landed[active], matrix)
            newton = np.einsum("nij,nj->ni", turn, residual[active])
            tried = landed[active] - step[active, None] * newton
            left = tried + self._continue(tried, matrix) - target[active]
            better = np.linalg.norm(left, axis=-1) < np.linalg.norm(residual[active], axis=-1)
            landed[active[better]], residual[active[better]] = tried[better], left[better]
            step[active] = np.where(better, np.minimum(step[active] * 2, 1.0), step[active] / 2)
        error = np.linalg.norm(residual, axis=-1)[self.grid.contains(landed)]
        array = (landed - target).astype(np.float32).reshape(*grid.shape, 3)
        return DisplacementField(array, grid), float(error.max(initial=0.0))

    def _continue(self, points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """As `sample`, but outside the grid the displacement goes on from the border as under an affine map."""
        index = self.grid.point_to_index(points)
        beyond = index - np.clip(index, -0.5, self.grid.size - 0.5)
        return self._extrapolate(points) + turned(beyond, (matrix - np.eye(3)) @ self.grid.axes)

    def _inverse_jacobian(self, otherwise: np.ndarray) -> np.ndarray:
        """(D, H, W, 3, 3) of d(x + u)/dx; of the matrix `otherwise` where space is folded or nearly crushed."""
        return _inverted(self.jacobian(), otherwise)

    def _inverse_jacobian_at(self, points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """(N, 3, 3) likewise at points (N, 3), by differences; matrix: see `_continue`."""
        apart = 0.01 * float(self.grid.spacing.min())
        steps = apart * np.eye(3)
        ends = [self._continue(points + s, matrix) - self._continue(points - s, matrix) for s in steps]
        return _inverted(np.stack(ends, axis=-1) / (2 * apart) + np.eye(3), matrix)

    def _slopes(self) -> list[np.ndarray]:
        """du/ds, each (D, H, W, 3) in LPS, for s in mm along the grid's i, j and k axes."""
        steps = self.grid.spacing[::-1]
        slopes = [
            np.gradient(self.array, step, axis=axis) if n > 1 else np.zeros_like(self.array)
            for axis, (step, n) in enumerate(zip(steps, self.grid.shape, strict=True))
        ]
        return slopes[::-1]

    def jacobian(self) -> np.ndarray:
        """(D, H, W, 3, 3) derivative of x + u(x) by x in physical space: [component, direction], LPS."""
        by_index = np.stack(self._slopes(), axis=-1)  # (..., component, i j k)
        return by_index @ self.grid.direction.T.astype(self.array.dtype) + np.eye(3, dtype=self.array.dtype)

    def jacobian_determinant(self) -> np.ndarray:
        """(D, H, W) determinant of d(x + u)/dx in physical space: local volume change; at most 0 where space folds."""
        direction = self.grid.direction.astype(self.array.dtype)
        i, j, k = (np.moveaxis(slope + direction[:, n], -1, 0) for n, slope in enumerate(self._slopes()))
        volume = k[0] * (i[1] * j[2] - i[2] * j[1])  # of the parallelepiped that a unit cube along the axes becomes
        volume += k[1] * (i[2] * j[0] - i[0] * j[2])
        volume += k[2] * (i[0] * j[1] - i[1] * j[0])
        return volume / np.linalg.det(direction)

    def write(self, path: str | Path) -> None:
        """As an ITK transform (.h5, .tfm, .txt, .mat) or a displacement image (.nii.gz, .nii, .nrrd, .mha)."""
        path = Path(path)
        if path.name.lower().endswith((".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")):
            sitk.WriteImage(self.to_sitk().GetDisplacementField(), str(path), useCompression=True)
        else:
            sitk.WriteTransform(self.to_sitk(), str(path))


def _inverted(jacobian: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """(..., 3, 3) inverses; of the matrix `otherwise` where space is folded or nearly crushed."""
    return np.linalg.inv(np.where((np.linalg.det(jacobian) < 0.05)[..., None, None], otherwise, jacobian))
