"""Label maps of 2-D images and of volumes of one slice. Errors are one sentence. torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..core.grid import Grid
from ..core.image import Image
from ..core.plane import Plane
from ..core.slice_frame import SliceFrame, flat_axis
from ..errors import InputError
from .planes import is_plane, read_flat
from .volumes import LARGEST_LABEL, check_readable

_SAME_PLANE = 1e-3  # from 1: cosine of the angle between two slices in one plane


def read_plane_labels(
    path: str | Path, scan: Plane, spacing_mm: Sequence[float] | None = None
) -> tuple[Plane, list[str]]:
    """Read a label map, resampled to the pixels of its scan where it has others, and return it with warnings.

    Raises:
        InputError: it cannot be read, is no slice or one in another plane, or its values are not whole numbers.
    """
    if not is_plane(check_readable(path)):
        raise InputError(f"{path}: the label map of a 2-D image must be 2-D, too")
    image, warnings = read_flat(path, spacing_mm)
    array = sitk.GetArrayViewFromImage(image)
    whole = image.GetNumberOfComponentsPerPixel() == 1 and np.array_equal(np.rint(array), array)
    if not whole or array.min() < 0 or array.max() > LARGEST_LABEL:
        raise InputError(f"{path}: this is no label map (whole numbers from 0 to {LARGEST_LABEL}); export it as labels")
    found, more = _beside(str(path), sitk.Cast(image, sitk.sitkUInt16), scan)
    if found.grid.same_as(scan.grid):
        return Plane(found.image, scan.volume), warnings + more
    more.append(f"{path}: the label map lies on another grid than its scan; it was resampled")
    fitted = found.resample(scan, sitk.Transform(2, sitk.sitkIdentity), labels=True)
    if found.image.array.any() and not fitted.image.array.any():
        more.append(f"{path}: no label lies inside the scan")
    return fitted, warnings + more


def _beside(name: str, image: sitk.Image, scan: Plane) -> tuple[Plane, list[str]]:
    """Lay a label map into the coordinates of its scan's slice, with warnings."""
    found = Plane.from_sitk(image)
    if found.volume is None or scan.volume is None:
        return found, []
    normal = _normal(scan.volume)
    if abs(normal @ _normal(found.volume)) < 1 - _SAME_PLANE:
        raise InputError(f"{name}: the label map is a slice in another plane than its scan; take the scan's own plane")
    laid = Plane(SliceFrame.of(scan.volume).flat_image(Image.from_sitk(image)), found.volume)
    return laid, _far_warning(name, found.volume, scan.volume, normal)


def _normal(slice_grid: Grid) -> np.ndarray:
    return slice_grid.direction[:, flat_axis(slice_grid)]


def _far_warning(name: str, labels: Grid, scan: Grid, normal: np.ndarray) -> list[str]:
    away_mm = abs(float(normal @ (labels.centre - scan.centre)))
    if away_mm <= scan.spacing[flat_axis(scan)] / 2:
        return []
    return [f"{name}: the label map lies in another slice than its scan, {away_mm:.1f} mm away"]
