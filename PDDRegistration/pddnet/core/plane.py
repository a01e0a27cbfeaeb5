"""Place a 2-D image in space (`Plane`): a grid one voxel deep at z = 0, so that it is registered as a volume is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .field import DisplacementField
from .grid import Grid
from .image import Image
from .slice_frame import SliceFrame


@dataclass(frozen=True, eq=False)
class Plane:
    """2-D image, or a volume of one slice, with the coordinates (x, y) in mm in which it is registered.

    Those of a 2-D image are its own. A slice whose axes run along two axes of space, such as an axial one, keeps the
    coordinates of these, as `image[:, :, 0]` does in SimpleITK. In any other slice they run along its own axes:
    a point p of space has the coordinates (p . a, p . b), where a and b are the unit vectors of the slice's axes.

    Attributes:
        image: values (1, H, W) on a grid one voxel deep at z = 0.
        volume: the grid of the one-slice volume that it was, as it was stored; None of a 2-D image.
    """

    image: Image
    volume: Grid | None = None

    @classmethod
    def from_sitk(cls, image: sitk.Image) -> Plane:
        """Convert a scalar 2-D image, or a 3-D one of which one axis is one voxel long.

        Raises:
            InputError: it is neither.
        """
        if image.GetDimension() == 2:
            direction = np.array(image.GetDirection()).reshape(2, 2)
            grid = _flat_grid(image.GetSize()[::-1], image.GetSpacing(), image.GetOrigin(), direction)
            return cls(Image(sitk.GetArrayFromImage(image)[None], grid))
        if image.GetDimension() != 3 or 1 not in image.GetSize():
            raise InputError("the image is neither 2-D nor a volume of one slice; take one slice out of it first")
        volume = Image.from_sitk(image)
        return cls(SliceFrame.of(volume.grid).flat_image(volume), volume.grid)

    @property
    def grid(self) -> Grid:
        """Return the grid at z = 0."""
        return self.image.grid

    def with_values(self, array: np.ndarray) -> Plane:
        """Return an image (1, H, W) at the same place."""
        return Plane(Image(array, self.grid), self.volume)

    def flat(self) -> sitk.Image:
        """Convert to a 2-D SimpleITK image in the coordinates in which it is registered; the pixels are copied."""
        array = self.image.array[0]
        return _with_grid(sitk.GetImageFromArray(np.ascontiguousarray(_storable(array))), self.grid)

    def as_stored(self) -> sitk.Image:
        """Convert to the kind of image that it was made from: 2-D, or a volume of one slice at its place."""
        if self.volume is None:
            return self.flat()
        return Image(_storable(self.image.array).reshape(self.volume.shape), self.volume).to_sitk()

    def resample(self, target: Plane, transform: sitk.Transform, *, fill: float = 0, labels: bool = False) -> Plane:
        """Warp this image: take its value at `transform(x)`, 2-D, for every pixel centre x of `target`.

        Interpolation is linear, or takes the nearest pixel for label maps. The result lies where `target` does.
        """
        kind = self.image.array.dtype
        source = self.flat() if labels else sitk.Cast(self.flat(), sitk.sitkFloat64)
        how = sitk.sitkNearestNeighbor if labels else sitk.sitkLinear
        array = sitk.GetArrayFromImage(sitk.Resample(source, target.flat(), transform, how, float(fill)))
        if not labels and kind.kind in "iu":
            array = np.rint(array)
        return Plane(Image(array.astype(kind)[None], target.grid), target.volume)


def to_transform(field: DisplacementField) -> sitk.DisplacementFieldTransform:
    """Convert a field on a grid at z = 0 to ITK's 2-D transform."""
    return sitk.DisplacementFieldTransform(to_displacements(field))


def to_displacements(field: DisplacementField) -> sitk.Image:
    """Convert a field on a grid at z = 0 to a 2-D image of vectors (x, y) in mm, float64."""
    array = np.ascontiguousarray(field.array[0, ..., :2].astype(np.float64))
    return _with_grid(sitk.GetImageFromArray(array, isVector=True), field.grid)


def sampled(transform: sitk.Transform, grid: Grid) -> DisplacementField:
    """Sample a 2-D transform at the nodes of a grid at z = 0.

    Raises:
        InputError: it is not 2-D.
    """
    if transform.GetDimension() != 2:
        raise InputError(f"the transform is {transform.GetDimension()}-D, and two 2-D images need a 2-D one")
    image = _with_grid(sitk.Image(grid.size[:2].tolist(), sitk.sitkUInt8), grid)
    convert = sitk.TransformToDisplacementFieldFilter()
    convert.SetReferenceImage(image)
    array = np.zeros((*grid.shape, 3), np.float32)
    array[0, ..., :2] = sitk.GetArrayFromImage(convert.Execute(transform))
    return DisplacementField(array, grid)


def inverted(field: DisplacementField, grid: Grid, iterations: int = 100) -> DisplacementField:
    """Invert a field at z = 0 at the nodes of a grid: solve x + u(x) = y for each node y by fixed-point steps.

    Steps that hardly reduce the residual are halved, as where space is stretched. A node that nothing within the
    field's grid is mapped to keeps the displacement of the nearest that is.
    """
    target = grid.points()
    matrix, shift = _affine(field)
    back = np.linalg.inv(matrix)
    landed = (target - shift) @ back.T
    residual = _residual(field, matrix, landed, target)
    step = np.ones((*grid.shape, 1))
    for _ in range(iterations):
        tried = landed - step * (residual @ back.T)
        left = _residual(field, matrix, tried, target)
        before, after = (np.linalg.norm(each, axis=-1, keepdims=True) for each in (residual, left))
        landed, residual = np.where(after < before, tried, landed), np.where(after < before, left, residual)
        step = np.where(after < 0.5 * before, np.minimum(2 * step, 1.0), np.where(after < 0.9 * before, step, step / 2))
    return DisplacementField((landed - target).astype(np.float32), grid)


def _residual(field: DisplacementField, matrix: np.ndarray, points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Compute x + u(x) - y; beyond the field's grid u goes on by the affine map."""
    inside = field.grid.index_to_point(np.clip(field.grid.point_to_index(points), 0, field.grid.size - 1))
    return inside + field.sample(inside) + (points - inside) @ matrix.T - target


def _affine(field: DisplacementField) -> tuple[np.ndarray, np.ndarray]:
    """Fit A and t of x -> A x + t to a field at z = 0 by least squares; z stays."""
    points = field.grid.points().reshape(-1, 3)
    moved = points + field.array.reshape(-1, 3)
    solution = np.linalg.lstsq(np.c_[points[:, :2], np.ones(len(points))], moved[:, :2], rcond=None)[0]
    matrix, shift = np.eye(3), np.zeros(3)
    matrix[:2, :2], shift[:2] = solution[:2].T, solution[2]
    return matrix, shift


def _with_grid(image: sitk.Image, grid: Grid) -> sitk.Image:
    image.SetSpacing(grid.spacing[:2].tolist())
    image.SetOrigin(grid.origin[:2].tolist())
    image.SetDirection(grid.direction[:2, :2].ravel().tolist())
    return image


def _storable(array: np.ndarray) -> np.ndarray:
    return array.astype(np.uint8) if array.dtype == bool else array


def _flat_grid(shape: tuple[int, ...], spacing: np.ndarray, origin: np.ndarray, direction: np.ndarray) -> Grid:
    """Make the grid at z = 0 of a 2-D image (H, W)."""
    whole = np.eye(3)
    whole[:2, :2] = direction
    return Grid((1, *shape[:2]), [*spacing, 1.0], [*origin, 0.0], whole)
