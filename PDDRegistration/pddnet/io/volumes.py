"""Volumes, label maps, masks and transforms from files, with every complaint in one sentence. torch-free."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..core.grid import Grid
from ..core.image import Image
from ..errors import InputError
from . import dicom
from .nifti_headers import check_header, non_finite_voxels
from .quiet import quiet
from .validation import SMALLEST_EXTENT, check_volume

LARGEST_LABEL = 65535


def check_readable(path: str | Path) -> Path:
    """The path, if there is a file with content or a folder that may be read.

    Raises:
        InputError: it is missing, empty, or may not be read.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; correct the path")
    if path.is_dir():
        return path
    try:
        with path.open("rb") as file:
            first = file.read(1)
    except OSError as error:
        raise InputError(f"{path}: the file may not be read ({error.strerror}); check its permissions") from error
    if not first:
        raise InputError(f"{path}: the file is empty (0 bytes); copy or export it again")
    return path


def read_volume(path: str | Path, *, smallest: float = SMALLEST_EXTENT) -> tuple[Image, list[str]]:
    """A scan from anything that SimpleITK reads, or from a folder of DICOM slices, and warnings.

    smallest: mm, the least extent along every axis. The scalar type is kept.

    Raises:
        InputError: the file cannot be read or is not a volume fit to be registered; see `check_volume`.
    """
    image, warnings = _read_image(path)
    image, more = check_volume(image, str(path), smallest=smallest)
    return image, warnings + more


def read_labels(path: str | Path, grid: Grid | None = None) -> tuple[Image, list[str]]:
    """A label map (integers; 0 is background) on `grid` (default: its own), and warnings.

    On another grid it is resampled to the nearest voxel. Whole numbers stored as floats are accepted. An empty map is
    a warning, not an error: an organ may be missing on one side.

    Raises:
        InputError: the file cannot be read, or its values are not whole numbers.
    """
    image, warnings = _read_image(path)
    image, more = fit_labels(image, grid or image.grid, str(path))
    return image, warnings + more


def fit_labels(image: Image, grid: Grid, name: str) -> tuple[Image, list[str]]:
    """An image as a label map on `grid`, and warnings. name: how the user knows it. See `read_labels`.

    Raises:
        InputError: its values are not whole numbers.
    """
    warnings = []
    if np.iscomplexobj(image.array) or not _is_label_map(image.array):
        raise InputError(
            f"{name}: this is no label map (whole numbers from 0 to {LARGEST_LABEL}); export the segmentation as labels"
        )
    if image.array.dtype.kind == "f":
        image = Image(image.array.astype(np.uint16), image.grid)
    empty = not image.array.any()
    if not image.grid.same_as(grid):
        warnings.append(f"{name}: the label map lies on another grid than its scan; it was resampled")
        image = image.resample(grid, labels=True)
        if not empty and not image.array.any():
            warnings.append(f"{name}: no label lies inside the scan")
    if empty:
        warnings.append(f"{name}: the label map is empty")
    return image, warnings


def read_mask(path: str | Path, grid: Grid) -> tuple[Image, list[str]]:
    """A mask (bool, true where the file is above zero) on `grid`, and warnings.

    Raises:
        InputError: the file cannot be read, or nothing of the mask lies inside the grid.
    """
    image, warnings = _read_image(path)
    image, more = fit_mask(image, grid, str(path))
    return image, warnings + more


def fit_mask(image: Image, grid: Grid, name: str) -> tuple[Image, list[str]]:
    """An image as a mask (bool, true above zero) on `grid`, and warnings. name: how the user knows it.

    Raises:
        InputError: nothing of it lies inside the grid.
    """
    warnings = []
    image = Image((image.array > 0).astype(np.uint8), image.grid)
    if not image.grid.same_as(grid):
        warnings.append(f"{name}: the mask lies on another grid than its scan; it was resampled")
        image = image.resample(grid, labels=True)
    if not image.array.any():
        raise InputError(f"{name}: the mask is empty inside the scan; draw it again or leave it out")
    return Image(image.array.astype(bool), grid), warnings


def _is_label_map(array: np.ndarray) -> bool:
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and np.array_equal(np.rint(array), array)):
        return False
    return array.size == 0 or (array.min() >= 0 and array.max() <= LARGEST_LABEL)


def _read_image(path: str | Path) -> tuple[Image, list[str]]:
    """A scalar 3-D image, whatever its values, and warnings."""
    path = check_readable(path)
    with quiet():
        if path.is_dir():
            files, warnings = dicom.find_series(path)
        else:
            files, warnings = [path], check_header(path)
        try:
            if path.is_dir():
                image = sitk.ReadImage([str(file) for file in files])
            else:
                _check_kind(path)
                image = sitk.ReadImage(str(path))
        except (RuntimeError, MemoryError) as error:
            raise InputError(f"{path}: {_translate(str(error))}") from error
    try:
        volume = Image.from_sitk(image)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    missing = None if path.is_dir() else non_finite_voxels(path)
    if missing is not None and missing.shape == volume.array.shape:
        volume = Image(np.where(missing, volume.array.dtype.type(np.nan), volume.array), volume.grid)
    return volume, warnings


def _check_kind(path: Path) -> None:
    """Whether the file holds one 3-D scalar volume, before its voxels are read (a 4-D file can be large)."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    size, components = reader.GetSize(), reader.GetNumberOfComponents()
    count = "x".join(str(n) for n in size)
    if 0 in size:
        raise InputError(f"{path}: the volume is empty ({count} voxels); choose another one")
    if reader.GetPixelID() in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        raise InputError(f"{path}: the voxels are complex numbers; convert them to magnitudes first")
    if components > 1:
        raise InputError(
            f"{path}: the volume has {components} values per voxel (vectors or colour); give a volume with one"
        )
    if len([n for n in size[3:] if n > 1]):
        raise InputError(f"{path}: the volume is {len(size)}-D ({count}); extract one 3-D volume first")
    if len(size) < 3 or min(size[:3]) < 2:
        raise InputError(
            f"{path}: this is a single slice ({count}), not a volume; give a 3-D scan, or the folder of a DICOM series"
        )


def _translate(message: str) -> str:
    """An exception of ITK as what is wrong and what to do."""
    if "Unable to determine ImageIO" in message:
        return "this is not an image in a format that can be read; convert it to NIfTI, NRRD or MetaImage"
    if "orthonormal" in message or "Bad direction" in message:
        return "the direction matrix is not orthogonal (a sheared or tilted grid); resample the scan first"
    if "spacing" in message:
        return "the voxel spacing is not positive; correct the header"
    if "alloc" in message or "memory" in message:
        return "the volume does not fit into memory; crop or coarsen it"
    return "the file cannot be read, it is damaged or truncated; copy or export it again"
