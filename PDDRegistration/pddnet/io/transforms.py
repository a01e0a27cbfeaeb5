"""Transforms from files, with every complaint in one sentence."""

from __future__ import annotations

import re
from pathlib import Path

import SimpleITK as sitk

from ..errors import InputError
from .nifti_headers import check_header
from .quiet import quiet
from .volumes import check_readable


def read_transform(path: str | Path) -> sitk.Transform:
    """Any 3-D ITK transform file, or a displacement image; fixed to moving points, LPS mm.

    Raises:
        InputError: the file is missing, truncated, not a transform, or not 3-D.
    """
    path = check_readable(path)
    with quiet():
        if path.name.lower().endswith((".nii", ".nii.gz")):
            check_header(path)
        elif path.name.lower().endswith((".tfm", ".txt")):
            _check_text_transform(path)
        transform = _read(path)
    if transform.GetDimension() != 3:
        raise InputError(f"{path}: the transform is {transform.GetDimension()}-D; give a 3-D transform")
    return transform


def _read(path: str | Path) -> sitk.Transform:
    """Any ITK transform file, or a displacement image (fixed -> moving, LPS mm).

    Raises:
        InputError: the file is missing or not a transform.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such transform file")
    try:
        if path.name.lower().endswith((".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")):
            return sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))
        return sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise InputError(
            f"{path}: cannot be read as a 3-D transform; give an ITK transform or a displacement image"
        ) from error


def _check_text_transform(path: Path) -> None:
    """ITK reads a truncated text file as if the missing numbers did not matter; the fixed parameters come last."""
    text = path.read_text(encoding="utf-8", errors="replace")
    wanted = len(re.findall(r"^Transform: (?!Composite)", text, re.MULTILINE))
    if len(re.findall(r"^FixedParameters:.*\n", text, re.MULTILINE)) < wanted:
        raise InputError(f"{path}: the file is truncated, parameters of the transform are missing; copy it again")
