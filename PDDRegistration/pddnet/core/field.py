"""Represent a transform as displacements on a grid: sample, warp, compose, invert, convert to and from ITK."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from .grid import Grid, turned
from .image import Image

IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
"""Files with these endings hold a displacement image; all others hold an ITK transform."""

QUICK_STEPS = 6  # steps of Newton's method with the Jacobian of the nearest node: cheap, and enough for most points
CRUSHED = 0.05  # with a determinant below it, or where space folds, the inverse of the Jacobian is useless
FEWEST_NODES = 8  # nodes of a grid that are needed to fit an affine map to a field


@dataclass(frozen=True, eq=False)
class DisplacementField:
    """Displacement field u(x), shape (D, H, W, 3), components x, y, z in LPS mm, on a `Grid`.

    It maps x to x + u(x): fixed points to moving points, ITK's convention for a registration's transform. Displacements
    are interpolated linearly between the grid's nodes; outside the grid they are zero, as in ITK.
    """

    array: np.ndarray
    grid: Grid

    def __post_init__(self) -> None:
        if self.array.shape != (*self.grid.shape, 3):
            raise ValueError(f"field of shape {self.array.shape}, expected {(*self.grid.shape, 3)}")

    @classmethod
    def from_transform(cls, transform: sitk.Transform, grid: Grid) -> DisplacementField:
        """Sample any ITK transform at the nodes of `grid`."""
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
        """Convert to ITK's displacement field transform (float64; the values are copied)."""
        image = sitk.GetImageFromArray(self.array.astype(np.float64), isVector=True)
        image.SetSpacing(self.grid.spacing.tolist())
        image.SetOrigin(self.grid.origin.tolist())
        image.SetDirection(self.grid.direction.ravel().tolist())
        return sitk.DisplacementFieldTransform(image)

    def sample(self, points: npt.ArrayLike) -> np.ndarray:
        """Interpolate the displacements (..., 3) in mm at LPS points (..., 3); zero outside the grid."""
        return np.where(self.grid.contains(points)[..., None], self._extrapolate(points), 0)

    def _extrapolate(self, points: npt.ArrayLike) -> np.ndarray:
        """Interpolate as `sample` does, but with the displacement of the border outside the grid."""
        index = self.grid.point_to_index(points)
        flat = np.ascontiguousarray(index.reshape(-1, 3).T[::-1])
        values = [ndimage.map_coordinates(c, flat, order=1, mode="nearest") for c in self._components]
        return np.stack(values, axis=-1).reshape(index.shape)

    @cached_property
    def _components(self) -> list[np.ndarray]:
        return [np.ascontiguousarray(self.array[..., c]) for c in range(3)]  # contiguous: interpolated 3x as fast

    def transform_points(self, points: npt.ArrayLike) -> np.ndarray:
        """Map LPS points (..., 3) of the fixed space to LPS points of the moving space."""
        return np.asarray(points, dtype=np.float64) + self.sample(points)

    def warp(self, image: Image, grid: Grid, *, fill: float = 0, labels: bool = False) -> Image:
        """Warp a moving image (or label map: nearest voxel, no mixed labels) onto a grid of the fixed space.

        fill: the value outside the moving image.
        """
        return image.resample(grid, self.to_sitk(), fill=fill, labels=labels)

    def compose(self, inner: DisplacementField) -> DisplacementField:
        """Compose two fields: x -> self(inner(x)), on the inner field's grid."""
        points = inner.grid.points() + inner.array
        return DisplacementField((inner.array + self.sample(points)).astype(np.float32), inner.grid)

    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        """Fit the affine map x -> A x + t to this field by least squares over a subset of the nodes.

        Returns:
            A (3, 3), the identity if no affine map fits (few nodes, or a crushed map), and t (3,) in mm.
        """
        step = max(min(self.grid.shape) // 8, 1)
        points = self.grid.points()[::step, ::step, ::step].reshape(-1, 3)
        moved = points + self.array[::step, ::step, ::step].reshape(-1, 3)
        centre = points.mean(axis=0)
        solution = np.linalg.lstsq(np.c_[points - centre, np.ones(len(points))], moved, rcond=None)[0]
        matrix = solution[:3].T
        if len(points) < FEWEST_NODES or np.linalg.det(matrix) < CRUSHED:  # a flat grid, or far from any affine map
            matrix = np.eye(3)
        return matrix, moved.mean(axis=0) - matrix @ centre

    def invert(
        self, grid: Grid | None = None, *, iterations: int = 40, tolerance: float = 2e-3
    ) -> tuple[DisplacementField, float]:
        """Invert the map on `grid` (default: this field's own), up to `tolerance` mm.

        Returns:
            the inverse field T^-1, and the largest residual |T(T^-1(y)) - y| in mm of all nodes y whose T^-1(y) lies
            inside this field's grid. No point of that grid is mapped to the remaining nodes; there the inverse follows
            the affine fit to the field.
        """
        grid = grid or self.grid
        target = grid.points().reshape(-1, 3)
        landed, residual = self._solve(target, iterations, tolerance)
        error = np.linalg.norm(residual, axis=-1)[self.grid.contains(landed)]
        array = (landed - target).astype(np.float32).reshape(*grid.shape, 3)
        return DisplacementField(array, grid), float(error.max(initial=0.0))

    def residual_of(self, inverse: DisplacementField) -> float:
        """Return the largest |T(T^-1(y)) - y| in mm of a given inverse at its nodes y, as `invert` does of its own."""
        target = inverse.grid.points().reshape(-1, 3)
        landed = target + inverse.array.reshape(-1, 3)
        inside = self.grid.contains(landed)
        error = np.linalg.norm(self.transform_points(landed[inside]) - target[inside], axis=-1)
        return float(error.max(initial=0.0))

    def _solve(self, target: np.ndarray, iterations: int, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
        """Solve T(x) = y for LPS points y (N, 3); return x and the residuals T(x) - y, both (N, 3).

        Newton's method starts at the inverse of the affine fit, which undoes large shifts and rotations; a step that
        does not reduce the residual is halved. The Jacobian is that of the nearest node. Where space is strongly
        compressed this leads to oscillation, so the few points left after QUICK_STEPS use the Jacobian at their own
        position.
        """
        matrix, shift = self.affine()
        node_inverses = self._inverse_jacobian(matrix)
        landed = turned(target - shift, np.linalg.inv(matrix))
        residual = landed + self._continue(landed, matrix) - target
        step = np.ones(len(target))
        active = np.arange(len(target))
        for count in range(iterations):
            active = active[np.linalg.norm(residual[active], axis=-1) > tolerance]
            if not active.size:
                break
            if count < QUICK_STEPS:
                inverses = node_inverses[self._nearest_nodes(landed[active])]
            else:
                inverses = self._inverse_jacobian_at(landed[active], matrix)
            newton = np.einsum("nij,nj->ni", inverses, residual[active])
            tried = landed[active] - step[active, None] * newton
            left = tried + self._continue(tried, matrix) - target[active]
            better = np.linalg.norm(left, axis=-1) < np.linalg.norm(residual[active], axis=-1)
            landed[active[better]] = tried[better]
            residual[active[better]] = left[better]
            step[active] = np.where(better, np.minimum(step[active] * 2, 1.0), step[active] / 2)
        return landed, residual

    def _nearest_nodes(self, points: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the array indices (k, j, i), each (N,), of the nodes nearest to LPS points (N, 3)."""
        index = np.rint(self.grid.point_to_index(points))
        inside = np.clip(index, 0, self.grid.size - 1).astype(int)
        return tuple(inside.T[::-1])

    def _continue(self, points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """Interpolate as `sample` does, but outside the grid continue from the border like the affine map `matrix`."""
        index = self.grid.point_to_index(points)
        beyond = index - np.clip(index, -0.5, self.grid.size - 0.5)
        return self._extrapolate(points) + turned(beyond, (matrix - np.eye(3)) @ self.grid.axes)

    def _inverse_jacobian(self, fallback: np.ndarray) -> np.ndarray:
        """Invert d(x + u)/dx at the nodes, (D, H, W, 3, 3); `fallback` is inverted where space is crushed."""
        return _inverted(self.jacobian(), fallback)

    def _inverse_jacobian_at(self, points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """Invert d(x + u)/dx at points (N, 3) by central differences, (N, 3, 3); matrix: see `_continue`."""
        half_mm = 0.01 * float(self.grid.spacing.min())
        steps = half_mm * np.eye(3)
        differences = [self._continue(points + s, matrix) - self._continue(points - s, matrix) for s in steps]
        jacobian = np.stack(differences, axis=-1) / (2 * half_mm) + np.eye(3)
        return _inverted(jacobian, matrix)

    def _slopes(self) -> list[np.ndarray]:
        """Differentiate u by mm along the grid's i, j and k axes: three arrays (D, H, W, 3) in LPS."""
        steps = self.grid.spacing[::-1]
        slopes = [
            np.gradient(self.array, step, axis=axis) if n > 1 else np.zeros_like(self.array)
            for axis, (step, n) in enumerate(zip(steps, self.grid.shape, strict=True))
        ]
        return slopes[::-1]

    def jacobian(self) -> np.ndarray:
        """Differentiate x + u(x) by x in physical space: (D, H, W, 3, 3), [component, direction], LPS."""
        by_index = np.stack(self._slopes(), axis=-1)  # (..., component, i j k)
        return by_index @ self.grid.direction.T.astype(self.array.dtype) + np.eye(3, dtype=self.array.dtype)

    def jacobian_determinant(self) -> np.ndarray:
        """Compute det d(x + u)/dx, (D, H, W): the local change of volume, at most 0 where space folds."""
        direction = self.grid.direction.astype(self.array.dtype)
        i, j, k = (np.moveaxis(slope + direction[:, n], -1, 0) for n, slope in enumerate(self._slopes()))
        # The triple product k . (i x j), component by component: det() of each matrix takes several times as long.
        volume = k[0] * (i[1] * j[2] - i[2] * j[1])
        volume += k[1] * (i[2] * j[0] - i[0] * j[2])
        volume += k[2] * (i[0] * j[1] - i[1] * j[0])
        return volume / np.linalg.det(direction)

    def write(self, path: str | Path) -> None:
        """Write an ITK transform (.h5, .tfm, .txt, .mat) or a displacement image (.nii.gz, .nii, .nrrd, .mha).

        Raises:
            RuntimeError: SimpleITK cannot write there. `io.atomic_outputs` also notices a full disk.
        """
        path = Path(path)
        if path.name.lower().endswith(IMAGE_ENDINGS):
            sitk.WriteImage(self.to_sitk().GetDisplacementField(), str(path), useCompression=True)
        else:
            sitk.WriteTransform(self.to_sitk(), str(path))


def _inverted(jacobian: np.ndarray, fallback: np.ndarray) -> np.ndarray:
    """Invert (..., 3, 3) matrices; `fallback` (3, 3) in their place where space is folded or nearly crushed."""
    crushed = np.linalg.det(jacobian) < CRUSHED
    return np.linalg.inv(np.where(crushed[..., None, None], fallback, jacobian))
