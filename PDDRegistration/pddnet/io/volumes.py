"""Volumes, label maps and masks: reads and checks their files. Errors are one sentence. torch-free."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..core.grid import Grid
from ..core.image import Image
from ..errors import InputError
from . import dicom
from .checksums import check_checksum
from .frames import one_frame
from .memory import check_memory
from .nifti_forms import check_forms
from .nifti_headers import NIFTI_ENDINGS, check_header, non_finite_voxels
from .paths import check_path, itk_name
from .quiet import quiet
from .segment_headers import read_segments
from .unreadable import reason
from .validation import SMALLEST_EXTENT, check_volume

_NO_IMAGE = "Unable to determine ImageIO"  # ITK's words
LARGEST_LABEL = 65535  # what unsigned 16-bit integers hold


def check_readable(path: str | Path) -> Path:
    """Check that there is a file with content, or a folder, that may be read; returns its path.

    Raises:
        InputError: it is missing, empty, no regular file, may not be read, or has a name that ITK cannot open.
    """
    path = check_path(path)
    if path.is_dir():
        return path
    itk_name(path)
    try:
        with path.open("rb") as file:
            first = file.read(1)
    except OSError as error:
        raise InputError(f"{path}: the file may not be read ({error.strerror}); check its permissions") from error
    if not first:
        raise InputError(f"{path}: the file is empty (0 bytes); copy or export it again")
    return path


def check_whole(path: Path) -> None:
    """Check an image that was just written: ITK truncates NIfTI files silently when the disk is full.

    Raises:
        InputError: the file is empty or truncated.
    """
    check_readable(path)
    check_header(path)


def read_volume(
    path: str | Path, *, smallest: float = SMALLEST_EXTENT, series: str | None = None
) -> tuple[Image, list[str]]:
    """Read a scan from anything that SimpleITK reads, or from a folder of DICOM slices.

    Args:
        smallest: mm, the least extent along every axis.
        series: of a folder of DICOM slices the series to take: its number, its UID, or words of its description.

    Returns:
        the volume in its own scalar type, and warnings.

    Raises:
        InputError: the file cannot be read or is not a volume fit to be registered; see `check_volume`.
    """
    image, warnings = _read_image(path, series)
    image, more = check_volume(image, str(path), smallest=smallest)
    return image, warnings + more


def read_labels(path: str | Path, grid: Grid | None = None) -> tuple[Image, list[str]]:
    """Read a label map (integers; 0 is background) on `grid` (default: its own), and return it with warnings.

    On another grid it is resampled to the nearest voxel. Whole numbers stored as floats are accepted. An empty map is
    a warning, not an error: an organ may be missing on one side.

    Raises:
        InputError: the file cannot be read, its values are not whole numbers, or its segments lie in several layers,
            which `label_layers` reads.
    """
    (image, *others), warnings = read_layers(path)
    if others:
        raise InputError(f"{path}: its segments overlap ({len(others) + 1} layers); export those that do not")
    image, more = fit_labels(image, grid or image.grid, str(path))
    return image, warnings + more


def fit_labels(image: Image, grid: Grid, name: str) -> tuple[Image, list[str]]:
    """Turn an image into a label map on `grid`, with warnings; see `read_labels`. name: how the user knows it.

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
    """Read a mask (bool, true where the file is above zero) on `grid`, and return it with warnings.

    Raises:
        InputError: the file cannot be read, or nothing of the mask lies inside the grid.
    """
    layers, warnings = read_layers(path)
    image = layers[0]
    for layer in layers[1:]:
        image = Image((image.array > 0) | (layer.array > 0), image.grid)
    image, more = fit_mask(image, grid, str(path))
    return image, warnings + more


def fit_mask(image: Image, grid: Grid, name: str) -> tuple[Image, list[str]]:
    """Turn an image into a mask (bool, true above zero) on `grid`, with warnings. name: how the user knows it.

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


def read_layers(path: str | Path) -> tuple[list[Image], list[str]]:
    """Read a label map or mask as it is: one image, or one for each layer of a segmentation that overlaps.

    Raises:
        InputError: the file cannot be read.
    """
    path = check_readable(path)
    count = max((each.layer for each in read_segments(path)), default=0) + 1
    if count == 1:
        image, warnings = _read_image(path)
        return [image], warnings
    check_header(path)
    with quiet() as heard:
        try:
            image = sitk.ReadImage(itk_name(path))
        except (RuntimeError, MemoryError) as error:
            raise InputError(f"{path}: {translated(str(error))}") from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != count:
        raise InputError(f"{path}: the header names {count} layers of segments, which are not there; export it again")
    layers = [Image.from_sitk(sitk.VectorIndexSelectionCast(image, index)) for index in range(count)]
    return layers, heard.sentences(str(path))


def _read_image(path: str | Path, series: str | None = None) -> tuple[Image, list[str]]:
    """Read a scalar 3-D image, whatever its values, and return it with warnings."""
    path = check_readable(path)
    if series is not None and not path.is_dir():
        raise InputError(f"{path}: this is a file, not a folder of DICOM series; name no series")
    with quiet() as heard:
        try:
            first = path if _is_dicom(path) else None
            if path.is_dir():
                image, warnings, first = _read_folder(path, series)
            else:
                image, warnings = _read_file(path)
        except (RuntimeError, MemoryError) as error:
            no_image = _NO_IMAGE in str(error) and path.is_file()
            raise InputError(f"{path}: {reason(path) if no_image else translated(str(error))}") from error
    try:
        volume = Image.from_sitk(image)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if first is not None:
        with quiet():
            volume, more = dicom.decide_polarity(path, first, volume)
        warnings += more
    if path.name.lower().endswith(NIFTI_ENDINGS):
        warnings += check_forms(path, volume.grid)
    warnings += heard.sentences(str(path))
    missing = None if path.is_dir() else non_finite_voxels(path)
    if missing is not None and missing.shape == volume.array.shape:
        nan = volume.array.dtype.type(np.nan)
        volume = Image(np.where(missing, nan, volume.array), volume.grid)
    return volume, warnings


def _read_folder(path: Path, series: str | None) -> tuple[sitk.Image, list[str], Path]:
    """Read the series of a folder; return it with warnings and its first file."""
    files, warnings = dicom.find_series(path, series)
    if len(files) == 1:
        image, more = _read_file(files[0])
        return image, warnings + more, files[0]
    return sitk.ReadImage([itk_name(file) for file in files]), warnings, files[0]


def _is_dicom(path: Path) -> bool:
    if path.is_dir():
        return False
    with path.open("rb") as file:
        return file.read(132).endswith(b"DICM")


def _read_file(path: Path) -> tuple[sitk.Image, list[str]]:
    warnings = check_header(path)
    _check_kind(path)
    image = sitk.ReadImage(itk_name(path))
    check_checksum(path, image)
    if _is_dicom(path):
        image, more = dicom.arrange_frames(path, image)
        return image, warnings + more
    return one_frame(image), warnings


def _check_kind(path: Path) -> None:
    """Refuse a file that holds no 3-D scalar volume, before its voxels are read (a 4-D file can be large)."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(itk_name(path))
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
    if any(n > 1 for n in size[3:]):
        raise InputError(f"{path}: the volume is {len(size)}-D ({count}); extract one 3-D volume first")
    if len(size) < 3 or min(size[:3]) < 2:
        raise InputError(
            f"{path}: this is a single slice ({count}), not a volume; give a 3-D scan, or the folder of a DICOM series"
        )
    check_memory(path, reader)


def translated(message: str) -> str:
    """Translate what an exception of ITK says into what is wrong and what to do."""
    if _NO_IMAGE in message:
        return "this is not an image in a format that can be read; convert it to NIfTI, NRRD or MetaImage"
    if "orthonormal" in message or "Bad direction" in message:
        return "the direction matrix is not orthogonal (a sheared or tilted grid); resample the scan first"
    if "spacing" in message:
        return "the voxel spacing is not positive; correct the header"
    if "alloc" in message or "memory" in message:
        return "the volume does not fit into memory; crop or coarsen it"
    return "the file cannot be read, it is damaged or truncated; copy or export it again"
