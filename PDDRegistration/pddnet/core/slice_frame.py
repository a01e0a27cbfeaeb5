"""Give a slice's plane coordinates (`SliceFrame`): slices become 2-D, and what is found there returns to space.

Two slices of space are registered in the coordinates of the fixed one. Where the moving one lies in another plane, the
coordinates are carried there rigidly by the shortest way: turned by the angle between the planes, and shifted along the
moving one's normal. Within one plane that is the identity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .affine import Affine
from .field import DisplacementField
from .grid import Grid
from .image import Image

MOST_TILT_DEGREES = 45.0  # between two slices: beyond it no way to turn one to the other is the shortest for certain
IN_PLANE = 0.1  # of a pixel: a slice that leaves a plane by less lies in it
LAYERS = 3  # of nodes across the plane of a transform in space, so that it holds around the plane, too


def is_slice(grid: Grid) -> bool:
    """Tell whether exactly one axis is one voxel long."""
    return int((grid.size == 1).sum()) == 1


def flat_axis(grid: Grid) -> int:
    """Return the last of the axes i, j, k along which there is one voxel."""
    return max(axis for axis in range(3) if grid.size[axis] == 1)


@dataclass(frozen=True, eq=False)
class SliceFrame:
    """Coordinates (x, y, w) in mm of a plane, and the distance w from it: point = origin + x a + y b + w n, LPS mm.

    Attributes:
        axes: (3, 3), the columns are the unit vectors a, b and the normal n; right-handed.
        origin: (3,) LPS mm.
    """

    axes: np.ndarray
    origin: np.ndarray

    @classmethod
    def of(cls, grid: Grid) -> SliceFrame:
        """Make the coordinates of a slice, see `plane.Plane`: those of space where its axes run along two of them."""
        shown = shown_axes(grid)
        a, b = (np.eye(3) if _lies_along_space(grid) else grid.direction)[:, shown].T
        normal = np.cross(a, b)
        return cls(np.column_stack([a, b, normal]), normal * (normal @ grid.origin))

    def carried_to(self, grid: Grid) -> SliceFrame:
        """Carry the coordinates rigidly onto the plane of another slice by the shortest way.

        The point of this plane whose coordinates are those of the slice's middle keeps its place as far as it can.

        Raises:
            InputError: the planes are tilted by more than MOST_TILT_DEGREES.
        """
        here, there = self.axes[:, 2], SliceFrame.of(grid).axes[:, 2]
        there = there if here @ there >= 0 else -there
        tilt = float(np.degrees(np.arccos(min(here @ there, 1.0))))
        if tilt > MOST_TILT_DEGREES:
            raise InputError(
                f"the two slices are tilted by {tilt:.0f} degrees against each other, and {MOST_TILT_DEGREES:.0f} is "
                "the most; turn one of them by a transform first"
            )
        turn = _turn(here, there)
        middle = self.points(self.coordinates(grid.centre) * [1.0, 1.0, 0.0])  # in this plane, nearest to the slice
        landed = middle + there * (there @ (grid.origin - middle))
        return SliceFrame(turn @ self.axes, landed + turn @ (self.origin - middle))

    def points(self, coordinates: npt.ArrayLike) -> np.ndarray:
        """Convert coordinates (..., 3) to points (..., 3) in LPS mm."""
        return np.asarray(coordinates, float) @ self.axes.T + self.origin

    def coordinates(self, points: npt.ArrayLike) -> np.ndarray:
        """Convert points (..., 3) in LPS mm to coordinates (..., 3)."""
        return (np.asarray(points, float) - self.origin) @ self.axes

    def map_to(self, other: SliceFrame) -> Affine:
        """Return the rigid map of this frame's points to those of the other with the same coordinates, LPS mm."""
        matrix = other.axes @ self.axes.T
        return Affine(matrix, other.origin - matrix @ self.origin)

    def flat_image(self, image: Image) -> Image:
        """Lay a slice of this plane on its grid at z = 0 in these coordinates: (1, H, W)."""
        grid, shown = image.grid, shown_axes(image.grid)
        array = image.array.reshape([n for axis, n in enumerate(image.array.shape) if axis != 2 - flat_axis(grid)])
        return Image(array[None], self._flat_grid(array.shape, grid, shown))

    def _flat_grid(self, shape: tuple[int, ...], grid: Grid, shown: list[int]) -> Grid:
        direction = np.eye(3)
        direction[:2, :2] = (self.axes.T @ grid.direction[:, shown])[:2]
        x, y, _ = self.coordinates(grid.origin)
        return Grid((1, *shape[:2]), [*grid.spacing[shown], 1.0], [x, y, 0.0], direction)

    def grid_in_space(self, flat: Grid, half_depth_mm: float = 0.0) -> Grid:
        """Place a grid at z = 0 in space; LAYERS deep from -half_depth_mm to half_depth_mm, or one for zero."""
        layers = LAYERS if half_depth_mm else 1
        step = 2 * half_depth_mm / (LAYERS - 1) if half_depth_mm else 1.0
        origin = self.points([*flat.origin[:2], -half_depth_mm])
        return Grid((layers, *flat.shape[1:]), [*flat.spacing[:2], step], origin, self.axes @ flat.direction)

    def lifted(self, field: DisplacementField, to: SliceFrame, half_depth_mm: float) -> DisplacementField:
        """Turn displacements at z = 0 into a field of space: it maps points of this frame to points of another.

        The point with the coordinates (x, y, w) is mapped to that of the frame `to` at (x + u, y + v, w): the distance
        from the plane stays. half_depth_mm: how far the field's grid reaches to both sides of the plane.
        """
        grid = self.grid_in_space(field.grid, half_depth_mm)
        points = grid.points()
        moved = self.map_to(to).points(points) + field.array.astype(np.float64) @ to.axes.T
        return DisplacementField((moved - points).astype(np.float32), grid)

    def flattened(self, field: DisplacementField, flat: Grid, to: SliceFrame) -> DisplacementField:
        """Take of displacements in space, at `grid_in_space(flat)`, what they do in the plane: a field at z = 0."""
        points = field.grid.points()
        moved = to.coordinates(points + field.array) - self.coordinates(points)
        moved[..., 2] = 0.0
        return DisplacementField(moved.astype(np.float32), flat)


def shown_axes(grid: Grid) -> list[int]:
    """Return the two of the axes i, j, k that span a slice."""
    return [axis for axis in range(3) if axis != flat_axis(grid)]


def _lies_along_space(grid: Grid) -> bool:
    """Tell whether all pixels of a slice lie in a plane along two axes of space, but for rounding in its header."""
    shown = shown_axes(grid)
    leaves_mm = np.abs(grid.direction[flat_axis(grid), shown]) @ ((grid.size[shown] - 1) * grid.spacing[shown])
    return bool(leaves_mm < IN_PLANE * grid.spacing[shown].min())


def _turn(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) by the smallest angle that takes one unit vector to another, at most 90 degrees away.

    Rodrigues' formula with the axis here x there.
    """
    x, y, z = np.cross(here, there)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + cross + cross @ cross / (1.0 + here @ there)
