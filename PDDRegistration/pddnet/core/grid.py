"""Place voxel centres in LPS millimetres and convert between indices and points: `Grid`; nothing else does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..errors import InputError

if TYPE_CHECKING:
    import SimpleITK as sitk


LEAST_SPACING_MM, LARGEST_SPACING_MM = 1e-6, 1e5
FARTHEST_ORIGIN_MM = 1e7  # 10 km: beyond, no coordinate is exact to a micrometre in single precision
ORTHOGONAL = 2e-3  # tolerance of direction^T direction to the identity: headers store few digits


@dataclass(frozen=True, eq=False, init=False)
class Grid:
    """Regular lattice of voxel centres.

    point = origin + direction @ (spacing * index), index = (i, j, k), point = (x, y, z) in LPS mm.
    Arrays on the grid have shape (D, H, W), indexed [k, j, i].
    """

    shape: tuple[int, int, int]
    spacing: np.ndarray  # (3,) mm along i, j, k
    origin: np.ndarray  # (3,) LPS mm of index (0, 0, 0)
    direction: np.ndarray  # (3, 3), columns are the unit vectors of i, j, k in LPS

    def __init__(
        self, shape: Sequence[int], spacing: npt.ArrayLike, origin: npt.ArrayLike, direction: npt.ArrayLike
    ) -> None:
        """Convert and check the attributes of a grid; the direction may be given flat, by rows.

        Raises:
            InputError: the spacing is not positive, a number is not finite, or the axes are not orthogonal.
        """
        depth, height, width = (int(n) for n in shape)
        object.__setattr__(self, "shape", (depth, height, width))
        object.__setattr__(self, "spacing", np.asarray(spacing, dtype=np.float64).reshape(3))
        object.__setattr__(self, "origin", np.asarray(origin, dtype=np.float64).reshape(3))
        object.__setattr__(self, "direction", np.asarray(direction, dtype=np.float64).reshape(3, 3))
        self._check()

    def _check(self) -> None:
        if not np.isfinite(self.spacing).all() or (self.spacing <= 0).any():
            raise InputError(f"the voxel spacing {self.spacing.tolist()} mm is not positive; correct the header")
        if not np.isfinite(self.origin).all():
            raise InputError(f"the origin {self.origin.tolist()} is not finite; correct the header")
        if (self.spacing > LARGEST_SPACING_MM).any() or (self.spacing < LEAST_SPACING_MM).any():
            raise InputError(f"the voxel spacing {self.spacing.tolist()} mm is none of a scan; correct the header")
        if (np.abs(self.origin) > FARTHEST_ORIGIN_MM).any():
            raise InputError(f"the origin {self.origin.tolist()} mm is none of a scan; correct the header")
        if not np.allclose(self.direction.T @ self.direction, np.eye(3), atol=ORTHOGONAL):
            raise InputError(
                "the direction matrix is not orthogonal (a sheared or tilted grid); resample the scan first"
            )

    @classmethod
    def of(cls, image: sitk.Image) -> Grid:
        """Read the grid of a 3-D SimpleITK image."""
        return cls(image.GetSize()[::-1], image.GetSpacing(), image.GetOrigin(), image.GetDirection())

    @property
    def axes(self) -> np.ndarray:
        """Return the matrix (3, 3) whose columns are the steps in LPS mm from one voxel to the next along i, j, k."""
        return self.direction * self.spacing

    @property
    def size(self) -> np.ndarray:
        """Return the number of voxels along i, j, k, (3,)."""
        return np.array(self.shape[::-1])

    @property
    def extent(self) -> np.ndarray:
        """Return the physical size (3,) in mm along i, j, k, from voxel edge to voxel edge."""
        return self.size * self.spacing

    @property
    def centre(self) -> np.ndarray:
        """Return the middle of the grid, (3,) LPS mm."""
        return self.index_to_point((self.size - 1) / 2)

    def index_to_point(self, index: npt.ArrayLike) -> np.ndarray:
        """Convert continuous indices (..., 3) as (i, j, k) to points (..., 3) in LPS mm."""
        return turned(np.asarray(index, dtype=np.float64), self.axes) + self.origin

    def point_to_index(self, points: npt.ArrayLike) -> np.ndarray:
        """Convert points (..., 3) in LPS mm to continuous indices (..., 3) as (i, j, k)."""
        return turned(np.asarray(points, dtype=np.float64) - self.origin, np.linalg.inv(self.axes))

    def points(self) -> np.ndarray:
        """Return every voxel centre, (D, H, W, 3) LPS mm."""
        k, j, i = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in self.shape), indexing="ij")
        return self.index_to_point(np.stack([i, j, k], axis=-1))

    def corners(self) -> np.ndarray:
        """Return the outer corners (voxel edges), (8, 3) LPS mm."""
        ends = np.stack([np.full(3, -0.5), self.size - 0.5])
        pick = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1).reshape(-1, 3)
        return self.index_to_point(ends[pick, np.arange(3)])

    def contains(self, points: npt.ArrayLike) -> np.ndarray:
        """Test which LPS points (..., 3) lie inside the outer voxel edges: (...) bool."""
        index = self.point_to_index(points)
        inside = (index >= -0.5) & (index <= self.size - 0.5)
        return np.all(inside, axis=-1)

    def isotropic(self, spacing: float, margin: float = 0.0) -> Grid:
        """Make a grid of equal spacing (mm) with the same axes and centre, wider by `margin` mm on each side."""
        voxels = (self.extent + 2 * margin) / spacing
        size = np.maximum(np.ceil(voxels - 1e-6).astype(int), 1)  # 1e-6: 40.0000001 voxels are 40
        origin = self.centre - self.direction @ ((size - 1) / 2 * spacing)
        return Grid(tuple(size[::-1]), np.full(3, spacing), origin, self.direction)

    def canonical_axes(self) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
        """Find the permutation and the flips after which i, j, k run as nearly as possible along +x, +y, +z in LPS.

        Returns:
            for the new array axes k, j, i: which array axis to take, and whether to flip it.
        """
        left = [0, 1, 2]
        nearest = []  # grid axis (0 for i) of x, y and z
        for world in range(3):
            best = max(left, key=lambda axis: abs(self.direction[world, axis]))
            left.remove(best)
            nearest.append(best)
        x, y, z = nearest
        flip_x, flip_y, flip_z = (bool(self.direction[world, axis] < 0) for world, axis in enumerate(nearest))
        return (2 - z, 2 - y, 2 - x), (flip_z, flip_y, flip_x)

    def same_as(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """Test whether every voxel centre of the other grid lies within `tolerance` mm of this one's."""
        return self.shape == other.shape and bool(np.abs(self.corners() - other.corners()).max() < tolerance)


def turned(vectors: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Multiply every vector of (..., 3) by `matrix` (3, 3).

    einsum, because a threaded BLAS takes many times as long for products this thin on a busy machine.
    """
    return np.einsum("ij,...j->...i", matrix, vectors)
