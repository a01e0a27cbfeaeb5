"""Transform files: reads any ITK transform, writes and checks displacement fields and linear maps.

Errors are one sentence.
"""

from __future__ import annotations

import errno
import math
import os
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..core.composite import leaves
from ..core.field import IMAGE_ENDINGS, DisplacementField
from ..core.linear import LinearTransform
from ..errors import InputError
from .checksums import check_unpacks
from .dicom_objects import is_dicom
from .dicom_reg_reader import read_registration
from .displacement_images import non_finite, read_displacements
from .nifti_headers import NIFTI_ENDINGS, check_header
from .paths import itk_name
from .quiet import quiet
from .transform_checks import HDF5_ENDINGS, check_binary, check_map, check_text, has_end
from .volumes import check_readable, check_whole

_ONLY_THE_FIRST = "more than one transform in the file"  # SimpleITK's warning
_HDF5_HEADER_BYTES = 65536  # more than ITK needs beside the values


def read_transform(path: str | Path) -> sitk.Transform:
    """Read any 3-D transform file, as `load_transform` does, without its warnings."""
    return load_transform(path)[0]


def load_transform(path: str | Path, dimension: int = 3) -> tuple[sitk.Transform, list[str]]:
    """Read any ITK transform file, a displacement image or a DICOM registration; fixed to moving points, LPS mm.

    Args:
        dimension: of space: 3, or 2 for the coordinates of a `plane.Plane`.

    Returns:
        the transform, and warnings: what had to be converted, and what ITK says of the file.

    Raises:
        InputError: the file is missing, truncated, not a transform of this dimension, singular, holds several
            transforms that are not composed, or numbers that are not finite.
    """
    path = check_readable(path)
    if path.is_dir():
        raise InputError(f"{path}: this is a folder; give a transform file or a displacement image")
    with quiet() as heard:
        if path.name.lower().endswith(NIFTI_ENDINGS):
            check_header(path)
        elif path.name.lower().endswith((".tfm", ".txt")):
            _check_text_transform(path)
        else:
            check_binary(path)
        check_unpacks(path)
        transform, warnings = _parse(path, dimension)
    if transform.GetDimension() != dimension:
        raise InputError(f"{path}: the transform is {transform.GetDimension()}-D; give a {dimension}-D transform")
    if any(_ONLY_THE_FIRST in text for text in heard.warnings):
        raise InputError(
            f"{path}: the file holds several transforms that are not composed, and ITK would use only the first; "
            "write them as one composite transform, or give a file with just one"
        )
    if missing := _count_non_finite(transform):
        raise non_finite(path, missing)
    check_map(path, transform)
    return transform, warnings + heard.sentences(str(path))


def write_field(field: DisplacementField, path: Path) -> None:
    """Write a displacement field as a transform or a displacement image, if the disk holds it.

    Raises:
        OSError, RuntimeError: it cannot be written.
    """
    if path.name.endswith(HDF5_ENDINGS):
        doubles = 3 * math.prod(field.grid.shape)
        _reserve(path, 8 * doubles + _HDF5_HEADER_BYTES)
    field.write(itk_name(path))


def check_field(path: Path, field: DisplacementField) -> None:
    """Read a field back that was just written: ITK's transform writers report nothing when the disk is full.

    Raises:
        InputError: the file differs from the field.
    """
    if path.name.endswith(IMAGE_ENDINGS):
        check_whole(path)
        return
    transform = sitk.DisplacementFieldTransform(sitk.ReadTransform(itk_name(path)))
    written = sitk.GetArrayViewFromImage(transform.GetDisplacementField())
    if written.shape != field.array.shape or not np.allclose(written, field.array, atol=1e-3, equal_nan=True):
        raise InputError(f"{path}: what was written differs")


def write_linear(linear: LinearTransform, path: Path) -> None:
    """Write a linear transform as ITK's transform of its kind, if the disk holds it.

    Raises:
        OSError, RuntimeError: it cannot be written.
    """
    if path.name.endswith(HDF5_ENDINGS):
        _reserve(path, _HDF5_HEADER_BYTES)
    sitk.WriteTransform(linear.to_sitk(), itk_name(path))


def check_linear(path: Path, linear: LinearTransform) -> None:
    """Read a linear transform back that was just written, see `check_field`.

    Raises:
        InputError: the file differs from the transform.
    """
    written = sitk.ReadTransform(itk_name(path))
    corners = linear.centre + 100.0 * np.vstack([np.zeros(3), np.eye(3)])  # mm
    moved = [written.TransformPoint(point) for point in corners.tolist()]
    if not np.allclose(moved, linear.affine.points(corners), atol=1e-3, equal_nan=True):
        raise InputError(f"{path}: what was written differs")


def _reserve(path: Path, size: int) -> None:
    """Make sure that a file of so many bytes fits; OSError if not. HDF5 crashes at exit where a disk filled up."""
    try:
        if hasattr(os, "posix_fallocate"):
            with path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        elif shutil.disk_usage(path.parent).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)):
            raise
    finally:
        path.unlink(missing_ok=True)


def _count_non_finite(transform: sitk.Transform) -> int:
    """Count the parameters of a transform, or of its parts, that are NaN or infinite."""
    return sum(map(_count_in_leaf, leaves(transform)))


def _count_in_leaf(transform: sitk.Transform) -> int:
    if (
        transform.GetName() == "DisplacementFieldTransform"
    ):  # its parameters as a tuple would take many times the memory
        values = sitk.GetArrayViewFromImage(sitk.DisplacementFieldTransform(transform).GetDisplacementField())
    else:
        values = np.array([*transform.GetParameters(), *transform.GetFixedParameters()])
    return int(np.count_nonzero(~np.isfinite(values)))


def _parse(path: Path, dimension: int) -> tuple[sitk.Transform, list[str]]:
    if not path.is_file():
        raise InputError(f"{path}: no such transform file")
    if is_dicom(path):
        return read_registration(path), []
    try:
        if path.name.lower().endswith((*IMAGE_ENDINGS, *NIFTI_ENDINGS)):
            return read_displacements(path)
        return _read_itk(path), []
    except RuntimeError as error:
        raise InputError(
            f"{path}: cannot be read as a {dimension}-D transform; give an ITK transform or a displacement image"
        ) from error


def _read_itk(path: Path) -> sitk.Transform:
    if path.name.lower().endswith((".tfm", ".txt")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if text != _ended(text):
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / "transform.tfm"
                copy.write_text(_ended(text), encoding="utf-8")
                return sitk.ReadTransform(str(copy))
    return sitk.ReadTransform(itk_name(path))


def _ended(text: str) -> str:
    """End the last line of a text that is complete: ITK ignores a line without end."""
    return text if text.endswith("\n") or not has_end(text) else text + "\n"


def _check_text_transform(path: Path) -> None:
    """Refuse a truncated text file: ITK ignores missing numbers. The fixed parameters of a transform come last."""
    text = _ended(path.read_text(encoding="utf-8", errors="replace"))
    wanted = len(re.findall(r"^Transform: (?!Composite)", text, re.MULTILINE))
    if len(re.findall(r"^FixedParameters:.*\n", text, re.MULTILINE)) < wanted:
        raise InputError(f"{path}: the file is truncated, parameters of the transform are missing; copy it again")
    check_text(path, text)
