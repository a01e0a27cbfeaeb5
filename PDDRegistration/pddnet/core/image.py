"""`Image`: an array with its geometry; resampling, HU clipping, body mask and view mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .grid import Grid

AIR = -1024.0


@dataclass(frozen=True, eq=False)
class Image:
    """A scalar volume (D, H, W), indexed [k, j, i], on a `Grid` in LPS mm. The array is never changed."""

    array: np.ndarray
    grid: Grid

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            raise ValueError(f"array of shape {self.array.shape} on a grid of shape {self.grid.shape}")

    @classmethod
    def from_sitk(cls, image: sitk.Image) -> Image:
        """From a 3-D scalar SimpleITK image; the voxels are copied."""
        if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
            raise InputError("the volume is not a single 3-D scalar volume; extract one volume first")
        return cls(sitk.GetArrayFromImage(image), Grid.of(image))

    def to_sitk(self) -> sitk.Image:
        """The same volume for SimpleITK; the voxels are copied."""
        array = self.array.astype(np.uint8) if self.array.dtype == bool else self.array
        image = sitk.GetImageFromArray(np.ascontiguousarray(array))
        image.SetSpacing(self.grid.spacing.tolist())
        image.SetOrigin(self.grid.origin.tolist())
        image.SetDirection(self.grid.direction.ravel().tolist())
        return image

    def canonical(self) -> Image:
        """The same physical content with array axes flipped and permuted to run along +x, +y, +z (LPS).

        How a scan happens to be stored must not change the result, so the pipeline starts here.
        """
        axes, flips = self.grid.canonical_axes()
        shape, start = self.array.shape, np.zeros(3)
        spacing, direction = np.empty(3), np.empty((3, 3))
        for new, (axis, flip) in enumerate(zip(axes, flips, strict=True)):
            old = 2 - axis  # ITK's axis i, j, k of array axis
            spacing[2 - new] = self.grid.spacing[old]
            direction[:, 2 - new] = self.grid.direction[:, old] * (-1 if flip else 1)
            if flip:
                start[old] = shape[axis] - 1
        array = np.flip(self.array.transpose(axes), [axis for axis, flip in enumerate(flips) if flip])
        return Image(array, Grid(array.shape, spacing, self.grid.index_to_point(start), direction))

    def clip(self, low: float, high: float) -> Image:
        """Values limited to [low, high], as float32."""
        return Image(np.clip(self.array.astype(np.float32, copy=False), low, high), self.grid)

    def coarsen(self, spacing: float) -> Image:
        """Averaged over whole blocks of voxels until no axis is finer than `spacing` mm allows (anti-aliasing)."""
        factors = np.maximum(np.floor(spacing / self.grid.spacing + 1e-3), 1).astype(int)
        factors = np.minimum(factors, self.grid.size)
        if (factors == 1).all():
            return self
        return Image.from_sitk(sitk.BinShrink(self.to_sitk(), factors.tolist()))

    def resample(
        self, grid: Grid, transform: sitk.Transform | None = None, *, fill: float = 0, labels: bool = False
    ) -> Image:
        """The image at `transform(x)` for every voxel centre x of `grid`, in this image's scalar type.

        The transform maps points of `grid` to points of this image (LPS mm, ITK's direction). Linear, or the nearest
        voxel for label maps and masks, so that labels never mix; `fill` outside the image, as far as the type holds it.
        """
        kind = self.array.dtype
        nearest, whole = labels or kind.kind == "b", np.issubdtype(kind, np.integer)
        resampler = sitk.ResampleImageFilter()
        resampler.SetSize(grid.size.tolist())
        resampler.SetOutputSpacing(grid.spacing.tolist())
        resampler.SetOutputOrigin(grid.origin.tolist())
        resampler.SetOutputDirection(grid.direction.ravel().tolist())
        resampler.SetDefaultPixelValue(float(np.clip(fill, np.iinfo(kind).min, np.iinfo(kind).max) if whole else fill))
        resampler.SetInterpolator(sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear)
        if transform is not None:
            resampler.SetTransform(transform)
        if whole and not nearest:  # ITK cuts fractions off, which shifts every value towards zero
            resampler.SetOutputPixelType(sitk.sitkFloat32 if kind.itemsize <= 2 else sitk.sitkFloat64)
        array = sitk.GetArrayFromImage(resampler.Execute(self.to_sitk()))
        return Image((np.rint(array) if whole and not nearest else array).astype(kind, copy=False), grid)
