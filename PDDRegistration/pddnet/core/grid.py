"""`Grid`: where the voxels of an image or a field lie, in LPS millimetres. The one place that converts indices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    import SimpleITK as sitk


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular lattice of voxel centres.

    point = origin + direction @ (spacing * index), index = (i, j, k), point = (x, y, z) in LPS mm.
    Arrays on the grid have shape (D, H, W), indexed [k, j, i].
    """

    shape: tuple[int, int, int]
    spacing: np.ndarray  # (3,) mm along i, j, k
    origin: np.ndarray  # (3,) LPS mm of index (0, 0, 0)
    direction: np.ndarray  # (3, 3), columns are the unit vectors of i, j, k in LPS

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        for name, size in (("spacing", (3,)), ("origin", (3,)), ("direction", (3, 3))):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64).reshape(size))
        if not np.isfinite(self.spacing).all() or (self.spacing <= 0).any():
            raise InputError(f"the voxel spacing {self.spacing.tolist()} mm is not positive; correct the header")
        if not np.isfinite(self.origin).all():
            raise InputError(f"the origin {self.origin.tolist()} is not finite; correct the header")
        if not np.allclose(self.direction.T @ self.direction, np.eye(3), atol=2e-3):
            raise InputError(
                "the direction matrix is not orthogonal (a sheared or tilted grid); resample the scan first"
            )

    @classmethod
    def of(cls, image: sitk.Image) -> Grid:
        """The grid of a 3-D SimpleITK image."""
        return cls(image.GetSize()[::-1], image.GetSpacing(), image.GetOrigin(), image.GetDirection())

    @property
    def axes(self) -> np.ndarray:
        """(3, 3) matrix whose columns are the steps in LPS mm from one voxel to the next along i, j, k."""
        return self.direction * self.spacing

    @property
    def size(self) -> np.ndarray:
        """(3,) number of voxels along i, j, k."""
        return np.array(self.shape[::-1])

    @property
    def extent(self) -> np.ndarray:
        """(3,) physical size in mm along i, j, k, from voxel edge to voxel edge."""
        return self.size * self.spacing

    @property
    def centre(self) -> np.ndarray:
        """(3,) LPS mm of the middle of the grid."""
        return self.index_to_point((self.size - 1) / 2)

    def index_to_point(self, index: np.ndarray) -> np.ndarray:
        """Continuous indices (..., 3) as (i, j, k) to LPS mm (..., 3)."""
        return turned(np.asarray(index, dtype=np.float64), self.axes) + self.origin

    def point_to_index(self, points: np.ndarray) -> np.ndarray:
        """LPS mm (..., 3) to continuous indices (..., 3) as (i, j, k)."""
        return turned(np.asarray(points, dtype=np.float64) - self.origin, np.linalg.inv(self.axes))

    def points(self) -> np.ndarray:
        """(D, H, W, 3) LPS mm of every voxel centre."""
        k, j, i = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in self.shape), indexing="ij")
        return self.index_to_point(np.stack([i, j, k], axis=-1))

    def corners(self) -> np.ndarray:
        """(8, 3) LPS mm of the outer corners (voxel edges)."""
        ends = np.stack([np.full(3, -0.5), self.size - 0.5])
        pick = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1).reshape(-1, 3)
        return self.index_to_point(ends[pick, np.arange(3)])

    def contains(self, points: np.ndarray) -> np.ndarray:
        """(...) bool: whether LPS points (..., 3) lie inside the outer voxel edges."""
        index = self.point_to_index(points)
        return ((index >= -0.5) & (index <= self.size - 0.5)).all(axis=-1)

    def isotropic(self, spacing: float, margin: float = 0.0) -> Grid:
        """A grid of equal spacing (mm) along the same axes, centred on this one, that covers it plus `margin` mm."""
        size = np.maximum(np.ceil((self.extent + 2 * margin) / spacing - 1e-6).astype(int), 1)
        origin = self.centre - self.direction @ ((size - 1) / 2 * spacing)
        return Grid(tuple(size[::-1]), np.full(3, spacing), origin, self.direction)

    def canonical_axes(self) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
        """Which array axes (k, j, i) to take, and which of them to flip, so that i, j, k run as nearly as
        possible along +x, +y, +z in LPS."""
        left = list(range(3))
        order = []
        for world in range(3):
            best = max(left, key=lambda axis: abs(self.direction[world, axis]))
            left.remove(best)
            order.append(best)
        flips = [self.direction[world, axis] < 0 for world, axis in enumerate(order)]
        return tuple(2 - axis for axis in order[::-1]), tuple(flips[::-1])

    def same_as(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """Whether every voxel centre of the other grid lies within `tolerance` mm of this one's."""
        return self.shape == other.shape and bool(np.abs(self.corners() - other.corners()).max() < tolerance)

    def describe(self) -> str:
        """One line for logs and error reports: size, spacing, origin."""
        size, spacing, origin = self.size, np.round(self.spacing, 3), np.round(self.origin, 1)
        voxels, steps = "x".join(map(str, size)), "x".join(f"{step:g}" for step in spacing)
        return f"{voxels} voxels of {steps} mm at {origin.tolist()}"


def turned(vectors: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """`matrix` (3, 3) times every vector of (..., 3).

    einsum, because a threaded BLAS takes many times as long for products this thin on a busy machine.
    """
    return np.einsum("ij,...j->...i", matrix, vectors)
