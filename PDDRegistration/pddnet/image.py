"""`Image`: an array with its geometry; resampling, HU clipping, body mask and view mask."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from .errors import InputError
from .grid import Grid

AIR = -1024.0
CLEAN_AIR = 0.9  # share of the air that has one value
BODY_THRESHOLD = -350.0  # HU: fat and muscle lie above, air and lung below


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


def view_mask(image: Image) -> Image:
    """Where the scan really shows something: all voxels but the scanner's padding.

    Padding is a region of the volume's exact minimum, at most -1000 HU, connected to the sides. Measured air is noisy:
    where nearly all air has that one value it was cleaned, and is air.
    """
    array = image.array
    low = array.min()
    padding = array <= low
    if low > -1000 or padding.sum() > CLEAN_AIR * (array < -900).sum():
        return Image(np.ones(array.shape, bool), image.grid)
    return Image(~_reaching(padding, (1, 2)), image.grid)  # in-plane: a reconstruction circle, a tilted stack


def body_mask(image: Image, threshold: float = BODY_THRESHOLD) -> Image:
    """The patient without table and air around: the largest connected part above `threshold`, holes filled.

    Meant for grids of 2-6 mm. Lungs and gas count as body. Empty where nothing exceeds the threshold.
    """
    radius = max(round(6.0 / float(image.grid.spacing.min())), 1)
    above = image.array > threshold
    core = ndimage.binary_erosion(above, iterations=radius, border_value=1)
    parts, count = ndimage.label(core)
    if count == 0:
        return Image(above, image.grid)
    largest = parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1
    body = ndimage.binary_dilation(largest, iterations=radius + 1) & above
    axial = int(np.argmax(np.abs(image.grid.direction[2, ::-1])))  # the array axis nearest to head-foot
    in_plane = np.zeros((3, 3, 3), bool)
    np.moveaxis(in_plane, axial, 0)[1] = ndimage.generate_binary_structure(2, 1)
    return Image(~_reaching(~body, {0, 1, 2} - {axial}, in_plane), image.grid)


def _reaching(mask: np.ndarray, axes: Iterable[int], neighbours: np.ndarray | None = None) -> np.ndarray:
    """The parts of a mask, connected by `neighbours` (3, 3, 3), that reach either end of one of the axes."""
    parts, count = ndimage.label(mask, neighbours)
    reaches = np.zeros(count + 1, bool)
    for axis in axes:
        for end in (0, -1):
            reaches[parts.take(end, axis)] = True
    reaches[0] = False  # what is not in the mask
    return reaches[parts]
