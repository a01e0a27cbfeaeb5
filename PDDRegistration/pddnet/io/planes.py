"""2-D images and volumes of one slice: finds and reads their files. Errors are one sentence. torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..core.grid import Grid
from ..core.plane import Plane
from ..errors import InputError
from .checksums import check_checksum
from .frames import one_frame
from .memory import check_memory
from .nifti_forms import check_forms
from .nifti_headers import NIFTI_ENDINGS, check_header, count_non_finite, non_finite_voxels
from .paths import itk_name
from .quiet import quiet
from .volumes import check_readable, translated

PICTURES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
"""Files that hold no spacing in mm that can be relied on."""
FEWEST_PIXELS = 16  # along either axis: with fewer there is nothing to deform
_GREY = np.array([0.299, 0.587, 0.114])  # of red, green and blue: ITU-R BT.601


def is_picture(path: str | Path) -> bool:
    """Tell by its name whether a file needs a spacing from the user."""
    return str(path).lower().endswith(PICTURES)


def is_plane(path: str | Path) -> bool:
    """Tell whether a file is a 2-D image or a volume of one slice; False where its header cannot be read.

    A folder counts as what its only file is.
    """
    size = _size(path)
    while len(size) > 2 and size[-1] == 1:
        del size[-1]
    return bool(size) and min(size) > 0 and (len(size) == 2 or (len(size) == 3 and size.count(1) == 1))


def check_both_planes(paths: Sequence[str | Path]) -> bool:
    """Tell whether all scans are 2-D, or none.

    Raises:
        InputError: some are.
    """
    flat = [is_plane(path) for path in paths]
    if any(flat) and not all(flat):
        plane, volume = paths[flat.index(True)], paths[flat.index(False)]
        raise InputError(f"{plane}: this is a single slice, and {volume} is none; give two volumes, or two 2-D images")
    return all(flat)


def read_plane(path: str | Path, spacing_mm: Sequence[float] | None = None) -> tuple[Plane, list[str]]:
    """Read a grey-value image that is to be registered, and return it with warnings.

    Args:
        spacing_mm: one or two numbers along x and y, of a PNG, TIFF or JPEG; ignored of other files.

    Raises:
        InputError: it cannot be read, a picture has no spacing, or there is nothing to register in it.
    """
    image, warnings = read_flat(path, spacing_mm)
    if image.GetNumberOfComponentsPerPixel() > 1:
        image, warnings = _grey(image), [*warnings, f"{path}: colours were turned into grey values"]
    plane, more = check_plane(Plane.from_sitk(image), str(path))
    return plane, warnings + more


def check_plane(plane: Plane, name: str) -> tuple[Plane, list[str]]:
    """Check that an image can be registered, and set pixels that are not finite to the lowest value.

    name: how the user knows it (a path or 'fixed volume').

    Raises:
        InputError: there is nothing to register in it.
    """
    values, warnings = plane.image.array, []
    if min(values.shape[1:]) < FEWEST_PIXELS:
        count = " x ".join(str(n) for n in values.shape[:0:-1])
        raise InputError(f"{name}: the image has only {count} pixels; it must have {FEWEST_PIXELS} along either axis")
    finite = np.isfinite(values)
    if not finite.all():
        if not finite.any():
            raise InputError(f"{name}: no pixel has a finite value (all NaN or infinite); export the image again")
        warnings.append(
            f"{name}: {int((~finite).sum())} pixels that are no finite numbers were set to the lowest value"
        )
        values = np.where(finite, values, values[finite].min())
        plane = plane.with_values(values)
    if values.min() == values.max():
        raise InputError(
            f"{name}: every pixel has the same value ({values.min():g}); choose an image that shows something"
        )
    return plane, warnings


def are_plane_frames(paths: Sequence[str | Path]) -> bool:
    """Tell whether the frames of a sequence are 2-D: files of one slice each, or one NIfTI file of x, y, 1, t.

    Raises:
        InputError: some are, and others not.
    """
    for path in paths:
        check_readable(path)
    if len(paths) == 1:
        size = _size(paths[0])
        return len(size) == 4 and size[2] == 1
    return check_both_planes(paths)


def read_plane_frames(
    paths: Sequence[str | Path], spacing_mm: Sequence[float] | None = None
) -> tuple[list[Plane], list[str]]:
    """Read the frames that `are_plane_frames` found, in order, with warnings; as `read_plane` does."""
    if len(paths) > 1:
        found = [read_plane(path, spacing_mm) for path in paths]
        return [plane for plane, _ in found], [text for _, texts in found for text in texts]
    image, warnings = read_flat(paths[0], None)
    if missing := count_non_finite(file_of(Path(paths[0]))):
        raise InputError(f"{paths[0]}: {missing} pixels are no finite numbers; correct them, or give 2-D files")
    frames = []
    for n in range(image.GetSize()[3]):
        frame, more = check_plane(Plane.from_sitk(image[:, :, :, n]), f"{paths[0]}, frame {n}")
        frames.append(frame)
        warnings += more
    return frames, warnings


def _size(path: str | Path) -> list[int]:
    """Read the number of pixels along every axis; empty where the header cannot be read."""
    reader = sitk.ImageFileReader()
    with quiet():
        try:
            reader.SetFileName(itk_name(file_of(Path(path))))
            reader.ReadImageInformation()
        except (RuntimeError, InputError, OSError):
            return []
    return list(reader.GetSize())


def file_of(path: Path) -> Path:
    """Return the file itself, or the only file of a folder. Raise InputError where the folder holds several."""
    if not path.is_dir():
        return path
    files = [each for each in sorted(path.iterdir()) if each.is_file() and not each.name.startswith(".")]
    if len(files) != 1:
        raise InputError(f"{path}: the folder holds {len(files)} files; give that of one slice")
    return files[0]


def read_flat(path: str | Path, spacing_mm: Sequence[float] | None) -> tuple[sitk.Image, list[str]]:
    """Read what `is_plane` or `are_plane_frames` found as it is, and return it with warnings.

    Raises:
        InputError: it cannot be read, or a picture has no spacing.
    """
    path = file_of(check_readable(path))
    if is_picture(path) and not spacing_mm:
        raise InputError(f"{path}: this kind of file holds no spacing in mm; give it by --spacing")
    warnings = check_header(path)
    with quiet() as heard:
        try:
            reader = sitk.ImageFileReader()
            reader.SetFileName(itk_name(path))
            reader.ReadImageInformation()
            check_memory(path, reader)
            image = reader.Execute()
        except RuntimeError as error:
            raise InputError(f"{path}: {translated(str(error))}") from None
        check_checksum(path, image)
    image = one_frame(image)
    if is_picture(path) and spacing_mm:
        x, y = (*spacing_mm, *spacing_mm)[:2]
        image.SetSpacing([float(x), float(y), 1.0][: image.GetDimension()])
        image.SetOrigin([0.0] * image.GetDimension())
    if path.name.lower().endswith(NIFTI_ENDINGS):
        image, more = _as_stored(path, image)
        warnings += more
    return image, warnings + heard.sentences(str(path))


def _as_stored(path: Path, image: sitk.Image) -> tuple[sitk.Image, list[str]]:
    """Mark the pixels of a NIfTI file that are NaN, which ITK reads as 0, and check where its header places it."""
    if image.GetDimension() == 4:
        return image, check_forms(path, Grid.of(image[:, :, :, 0]))
    missing = non_finite_voxels(path)
    if missing is not None:
        array = sitk.GetArrayFromImage(image)
        array[missing.reshape(array.shape)] = np.nan
        marked = sitk.GetImageFromArray(array)
        marked.CopyInformation(image)
        image = marked
    return image, check_forms(path, Grid.of(image)) if image.GetDimension() == 3 else []


def _grey(image: sitk.Image) -> sitk.Image:
    """Weigh red, green and blue; grey with transparency keeps its grey."""
    array = sitk.GetArrayViewFromImage(image).astype(np.float32)
    grey = array[..., :3] @ _GREY.astype(np.float32) if array.shape[-1] >= 3 else array[..., 0]
    found = sitk.GetImageFromArray(grey)
    found.CopyInformation(image)
    return found
