"""Checks of volumes before they are registered, the same for files, Slicer nodes and arrays."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..core.grid import Grid
from ..core.hounsfield import PADDING_HU
from ..core.image import Image
from ..core.intensity import shows_air
from ..errors import InputError

SMALLEST_EXTENT = 16.0  # mm; about one control-point spacing: below it there is nothing to deform
_PROBES_PER_AXIS = 13  # of the fixed volume, to see whether it meets the moving one


def check_volume(image: Image, name: str, *, smallest: float = SMALLEST_EXTENT) -> tuple[Image, list[str]]:
    """Check that a volume can be registered, and replace voxels that are not finite.

    Args:
        image: any scalar volume; it is not changed.
        name: how the user knows it (a path or 'fixed volume').
        smallest: mm, the least extent along every axis; the caller's control-point spacing.

    Returns:
        the volume, and warnings about what had to be replaced.

    Raises:
        InputError: the volume is empty, flat (one slice), complex, too small, constant, or without any finite voxel.
    """
    if image.array.size == 0:
        raise InputError(f"{name}: the volume is empty (0 voxels); choose another one")
    if np.iscomplexobj(image.array):
        raise InputError(f"{name}: the voxels are complex numbers; convert them to magnitudes first")
    if min(image.array.shape) < 2:
        raise InputError(f"{name}: this is a single slice, not a volume; give a 3-D scan")
    if image.grid.extent.min() < smallest:
        size = " x ".join(f"{extent:.3g}" for extent in image.grid.extent)
        raise InputError(
            f"{name}: the volume is only {size} mm large; it must measure at least {smallest:g} mm along every axis"
        )
    image, warnings = _replace_non_finite(image, name)
    low, high = image.array.min(), image.array.max()
    if low == high:
        raise InputError(f"{name}: every voxel has the same value ({low:g}); choose a volume that shows something")
    return image, warnings


def _replace_non_finite(image: Image, name: str) -> tuple[Image, list[str]]:
    if image.array.dtype.kind != "f":
        return image, []
    finite = np.isfinite(image.array)
    missing = finite.size - int(np.count_nonzero(finite))
    if not missing:
        return image, []
    if missing == finite.size:
        raise InputError(f"{name}: no voxel has a finite value (all NaN or infinite); export the volume again")
    low = float(image.array[finite].min())
    fill = min(low, PADDING_HU) if shows_air(image.array) else low
    share = 100 * missing / finite.size
    cleaned = np.where(finite, image.array, image.array.dtype.type(fill))
    return Image(cleaned, image.grid), [
        f"{name}: {missing} NaN or infinite voxels ({share:.2g} %) were replaced by {fill:g}"
    ]


def check_overlap(fixed: Grid, moving: Grid, transform: sitk.Transform | None = None) -> None:
    """Refuse a start from which the two volumes do not meet at all; only where no alignment will bring them together.

    transform: the initial transform, fixed to moving points (LPS mm); None for the identity.

    Raises:
        InputError: no point of the fixed volume lands in the moving one.
    """
    along = np.linspace(0, 1, _PROBES_PER_AXIS)
    shares = np.stack(np.meshgrid(along, along, along, indexing="ij"), axis=-1).reshape(-1, 3)
    points = fixed.index_to_point(shares * (fixed.size - 1))
    if transform is not None:
        points = np.array([transform.TransformPoint(point) for point in points.tolist()])
    if moving.contains(points).any():
        return
    if transform is None:
        raise InputError("the two volumes do not overlap in space; allow the alignment or give an initial transform")
    raise InputError(
        "under the initial transform the two volumes do not overlap; correct it or leave it to the alignment"
    )
