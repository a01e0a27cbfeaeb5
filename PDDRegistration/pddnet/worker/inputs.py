"""Inputs of requests: transforms of several kinds, and volumes that are checked before they are used. torch-free."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import SimpleITK as sitk

from ..core.field import DisplacementField
from ..core.image import Image
from ..errors import InputError
from ..io.landmark_init import affine_transform
from ..io.validation import check_volume
from ..run.registration import RunInputs

Transform: TypeAlias = "sitk.Transform | DisplacementField | np.ndarray"
"""What maps fixed to moving points in LPS mm; an array is a (4, 4) matrix."""


def as_transform(value: Transform | None) -> sitk.Transform | None:
    """Convert a transform, a displacement field, or a (4, 4) matrix in LPS mm to ITK's transform.

    Raises:
        InputError: the matrix has another shape.
    """
    if isinstance(value, DisplacementField):
        return value.to_sitk()
    if not isinstance(value, np.ndarray):
        return value
    if value.shape != (4, 4):
        raise InputError(f"a linear transform is a 4 x 4 matrix, this array has shape {value.shape}; correct it")
    return affine_transform(value)


def checked(fixed: Image, moving: Image) -> RunInputs:
    """Check the two volumes, and return them fit to be registered, with warnings about what had to be replaced."""
    moving, warnings = check_volume(moving, "moving volume")
    fixed, more = check_volume(fixed, "fixed volume")
    return RunInputs(fixed, moving, warnings=warnings + more)
