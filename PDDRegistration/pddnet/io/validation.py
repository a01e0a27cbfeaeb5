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
LARGEST_EXTENT = 5000.0  # mm; no scanner holds more
FINEST_CT_MM = 0.12  # the finest voxels of a clinical CT scanner are larger
_DOUBTFUL_EXTENT = 40.0  # mm; a crop may be so small, and a whole scan in cm is
_SMALL_BODY_MM, _LARGE_BODY_MM = 60.0, 2500.0  # sizes of a scan of a body
_MOSTLY_MISSING, _MUCH_MISSING = 0.95, 0.25  # shares of voxels: a scan with more is none, or deserves a closer look
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
            + _hint_of_unit(image)
        )
    if image.grid.extent.max() > LARGEST_EXTENT:
        size = " x ".join(f"{extent / 1000:.3g}" for extent in image.grid.extent)
        raise InputError(f"{name}: the volume is {size} m large; correct the spacing or its unit in the header")
    image, warnings = _replace_non_finite(image, name)
    if image.grid.spacing.min() < FINEST_CT_MM:
        spacing = " x ".join(f"{value:.3g}" for value in image.grid.spacing)
        warnings.append(
            f"{name}: voxels of {spacing} mm are finer than a CT scanner's; if the header is in cm or m, correct it"
        )
    elif image.grid.extent.max() < _DOUBTFUL_EXTENT and (hint := _hint_of_unit(image)):
        size = " x ".join(f"{extent:.3g}" for extent in image.grid.extent)
        warnings.append(f"{name}: the volume is only {size} mm large{hint}")
    low, high = image.array.min(), image.array.max()
    if low == high:
        raise InputError(f"{name}: every voxel has the same value ({low:g}); choose a volume that shows something")
    return image, warnings


def _hint_of_unit(image: Image) -> str:
    """Return the end of a sentence on a small volume: the unit in which it would be as large as a body."""
    for unit, factor in (("cm", 10.0), ("m", 1000.0)):
        low, high = factor * image.grid.extent.min(), factor * image.grid.extent.max()
        if low > _SMALL_BODY_MM and high < _LARGE_BODY_MM:
            return f", so correct the header if it is in {unit}"
    return ""


def _replace_non_finite(image: Image, name: str) -> tuple[Image, list[str]]:
    if image.array.dtype.kind != "f":
        return image, []
    finite = np.isfinite(image.array)
    missing = finite.size - int(np.count_nonzero(finite))
    if not missing:
        return image, []
    if missing == finite.size:
        raise InputError(f"{name}: no voxel has a finite value (all NaN or infinite); export the volume again")
    if missing > _MOSTLY_MISSING * finite.size:
        raise InputError(
            f"{name}: {100 * missing / finite.size:.0f} % of the voxels are NaN or infinite; export the volume again"
        )
    low = float(image.array[finite].min())
    fill = min(low, PADDING_HU) if shows_air(image.array) else low
    share = 100 * missing / finite.size
    cleaned = np.where(finite, image.array, image.array.dtype.type(fill))
    return Image(cleaned, image.grid), [
        f"{name}: {missing} NaN or infinite voxels ({share:.2g} %) were replaced by {fill:g}"
        + (
            "; what lies there is not registered, so export the volume again if it was more than background"
            if missing > _MUCH_MISSING * finite.size
            else ""
        )
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
