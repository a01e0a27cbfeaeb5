"""Represent a volume with its geometry (`Image`): resample, coarsen, clip, and bring it to canonical axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .grid import Grid


@dataclass(frozen=True, eq=False)
class Image:
    """Scalar volume (D, H, W), indexed [k, j, i], on a `Grid` in LPS mm. The array is never changed."""

    array: np.ndarray
    grid: Grid

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            raise ValueError(f"array of shape {self.array.shape} on a grid of shape {self.grid.shape}")

    @classmethod
    def from_sitk(cls, image: sitk.Image) -> Image:
        """Convert a 3-D scalar SimpleITK image; the voxels are copied.

        Raises:
            InputError: the image is not 3-D, or has several values per voxel.
        """
        if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
            raise InputError("the volume is not a single 3-D scalar volume; extract one volume first")
        return cls(sitk.GetArrayFromImage(image), Grid.of(image))

    def to_sitk(self) -> sitk.Image:
        """Convert to a SimpleITK image; the voxels are copied. A bool array becomes uint8."""
        array = self.array.astype(np.uint8) if self.array.dtype == bool else self.array
        image = sitk.GetImageFromArray(np.ascontiguousarray(array))
        image.SetSpacing(self.grid.spacing.tolist())
        image.SetOrigin(self.grid.origin.tolist())
        image.SetDirection(self.grid.direction.ravel().tolist())
        return image

    def canonical(self) -> Image:
        """Flip and permute the array axes to run along +x, +y, +z (LPS); the physical content stays the same.

        The pipeline starts with it, because the storage order of a scan must not change the result.
        """
        axes, flips = self.grid.canonical_axes()
        start = np.zeros(3)  # index of the voxel that becomes the first one
        spacing, direction = np.empty(3), np.empty((3, 3))
        for new, (axis, flip) in enumerate(zip(axes, flips, strict=True)):
            old = 2 - axis  # ITK's axis i, j, k of array axis
            spacing[2 - new] = self.grid.spacing[old]
            direction[:, 2 - new] = self.grid.direction[:, old] * (-1 if flip else 1)
            if flip:
                start[old] = self.array.shape[axis] - 1
        flipped = tuple(axis for axis, flip in enumerate(flips) if flip)
        array = np.flip(self.array.transpose(axes), flipped)
        return Image(array, Grid(array.shape, spacing, self.grid.index_to_point(start), direction))

    def clip(self, low: float, high: float) -> Image:
        """Clip the values to [low, high]; float32."""
        return Image(np.clip(self.array.astype(np.float32, copy=False), low, high), self.grid)

    def coarsen(self, spacing: float) -> Image:
        """Average over whole blocks of voxels, as large as fit into `spacing` mm (anti-aliasing)."""
        factors = np.maximum(np.floor(spacing / self.grid.spacing + 1e-3), 1).astype(int)
        factors = np.minimum(factors, self.grid.size)
        if (factors == 1).all():
            return self
        return Image.from_sitk(sitk.BinShrink(self.to_sitk(), factors.tolist()))

    def resample(
        self, grid: Grid, transform: sitk.Transform | None = None, *, fill: float = 0, labels: bool = False
    ) -> Image:
        """Warp the image: take its value at `transform(x)` for every voxel centre x of `grid`, in its scalar type.

        The transform maps points of `grid` to points of this image (LPS mm, ITK's direction). Interpolation is linear,
        or takes the nearest voxel for label maps and masks, so that labels never mix. Outside the image the value is
        `fill`, as far as the type holds it.
        """
        kind = self.array.dtype
        integer = np.issubdtype(kind, np.integer)
        nearest = labels or kind.kind == "b"
        if integer:
            fill = np.clip(fill, np.iinfo(kind).min, np.iinfo(kind).max)
        resampler = sitk.ResampleImageFilter()
        resampler.SetSize(grid.size.tolist())
        resampler.SetOutputSpacing(grid.spacing.tolist())
        resampler.SetOutputOrigin(grid.origin.tolist())
        resampler.SetOutputDirection(grid.direction.ravel().tolist())
        resampler.SetDefaultPixelValue(float(fill))
        resampler.SetInterpolator(sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear)
        if transform is not None:
            resampler.SetTransform(transform)
        rounded = integer and not nearest  # ITK truncates fractions, which would shift every value towards zero
        if rounded:
            resampler.SetOutputPixelType(sitk.sitkFloat32 if kind.itemsize <= 2 else sitk.sitkFloat64)
        array = sitk.GetArrayFromImage(resampler.Execute(self.to_sitk()))
        if rounded:
            array = np.rint(array)
        return Image(array.astype(kind, copy=False), grid)
